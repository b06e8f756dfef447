"""Corruptions of the input, for denoising autoencoders."""

import numbers

import keras
from keras import ops


class _Corruption(keras.layers.Layer):
    """What the corruptions share: a rate, and noise of their own that is drawn anew at every call in training."""

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(rate, bool) or not isinstance(rate, numbers.Real) or not 0 <= rate < 1:
            raise ValueError(
                f"{type(self).__name__}: rate must be a number from 0 up to, not including, 1: the share of features "
                f"to damage. It is {rate!r}."
            )
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs, training=False):
        if not training:
            return inputs
        return self._damage(inputs, keras.random.uniform(ops.shape(inputs), seed=self.seed_generator))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="aelib")
class MaskingNoise(_Corruption):
    """Sets each feature to 0 with probability `rate`, in training only; what survives is unchanged.

    `x_tilde_j = m_j x_j` with independent `m_j ~ Bernoulli(1 - rate)`. `keras.layers.Dropout` also divides what
    survives by `1 - rate`, so that a network trained on its output has never seen an undamaged stroke.

    Args:
        rate: Probability that a feature is set to 0, from 0 up to, not including, 1.
        seed: Seed of the noise; random unless given. It differs between examples and from call to call. Replicas of a
            distributed strategy draw the same noise, each for its own part of the batch.
        name: The layer's name.

    Call arguments:
        inputs: `x`, any shape.
        training: Whether to damage the input. Outside training the layer returns it as it is: call it with
            `training=True` to damage images for an evaluation.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the rate is not a number in [0, 1).

    Example:

    >>> damaged = MaskingNoise(0.3, seed=0)(ops.full((1000, 10), 0.5), training=True)
    >>> [round(float(ops.mean(damaged == value)), 1) for value in (0.0, 0.5)]
    [0.3, 0.7]

    Reference:
        P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol, "Stacked denoising autoencoders",
        JMLR 11, 2010, section 3.3.
    """

    def _damage(self, inputs, uniform):
        return ops.where(uniform < self.rate, ops.zeros_like(inputs), inputs)


@keras.saving.register_keras_serializable(package="aelib")
class SaltAndPepperNoise(_Corruption):
    """Sets each feature to 0 or to 1, each with probability `rate / 2`, in training only.

    `x_tilde_j = 0` with probability `rate / 2`, `1` with probability `rate / 2`, and `x_j` otherwise, independently:
    for data in [0, 1], such as pixels, their smallest and their largest value.

    Args:
        rate: Probability that a feature is replaced, from 0 up to, not including, 1.
        seed: Seed of the noise; random unless given. It differs between examples and from call to call. Replicas of a
            distributed strategy draw the same noise, each for its own part of the batch.
        name: The layer's name.

    Call arguments:
        inputs: `x`, any shape, values in [0, 1].
        training: Whether to damage the input. Outside training the layer returns it as it is: call it with
            `training=True` to damage images for an evaluation.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the rate is not a number in [0, 1).

    Example:

    >>> damaged = SaltAndPepperNoise(0.2, seed=0)(ops.full((1000, 10), 0.5), training=True)
    >>> [round(float(ops.mean(damaged == value)), 1) for value in (0.0, 0.5, 1.0)]
    [0.1, 0.8, 0.1]

    Reference:
        P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol, "Stacked denoising autoencoders",
        JMLR 11, 2010, section 3.3.
    """

    def _damage(self, inputs, uniform):
        damaged = ops.where(uniform < self.rate / 2, ops.zeros_like(inputs), ops.ones_like(inputs))
        return ops.where(uniform < self.rate, damaged, inputs)
