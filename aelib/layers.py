"""Layers: corruptions of the input, sparse, tied and sampled codes."""

import numbers

import keras
from keras import ops

PACKAGE = "aelib"


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


@keras.saving.register_keras_serializable(package=PACKAGE)
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


@keras.saving.register_keras_serializable(package=PACKAGE)
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


@keras.saving.register_keras_serializable(package=PACKAGE)
class SparsityPenalty(keras.layers.Layer):
    """Passes a code on unchanged and adds a penalty on its activity to the model's loss.

    Without a target, L1: `weight * mean_n sum_j |z_nj|`. With a target `rho`, the Kullback-Leibler divergence from it
    to each unit's mean activation over the batch, `r_j = mean_n z_nj`, summed over units:
    `weight * sum_j (rho log(rho / r_j) + (1 - rho) log((1 - rho) / (1 - r_j)))`, in nats.

    Neither is divided by the batch size, unlike a penalty given as `activity_regularizer` from Keras 3.14 on. But the
    mean of a batch of `N` scatters: a unit whose true mean is the target still pays about
    `weight * var(z_j) / (2 N rho (1 - rho))` on average, so a large weight with small batches flattens the code.

    `fit` and `evaluate` log the penalty before the weight under the layer's name, `sparsity` unless told. It is part of
    the validation loss too, and sample weights do not weigh it.

    Under a distributed strategy a replica averages over its own part of the batch. For L1 the result is that of one
    device; for the divergence, which is not linear in the mean, it is the mean of the replicas' divergences, which is
    never smaller.

    Args:
        weight: Weight of the penalty, 0 or more.
        sparsity_target: The mean activation wanted of every unit, inside (0, 1), for a code inside (0, 1), such as a
            sigmoid's; `None` for L1. A mean outside `[1e-7, 1 - 1e-7]` counts as the nearest end of that range, and
            has no gradient there: a code of another activation is not pushed to the target.
        name: The layer's name, and that of the logged value.

    Call arguments:
        inputs: The code `z`, shape `(batch, ...)`.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the weight is negative, the target is outside (0, 1), or the code has no axis but the batch's.

    Example:

    >>> penalty = SparsityPenalty(0.5)
    >>> z = penalty(np.array([[1.0, -2.0], [0.0, 3.0]]))
    >>> float(penalty.losses[0])
    1.5

    Reference:
        A. Ng, "Sparse autoencoder", CS294A lecture notes, Stanford University, 2011 (the divergence).
    """

    def __init__(self, weight, sparsity_target=None, name="sparsity", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= weight < float("inf"):
            raise ValueError(f"The weight must be a number, 0 or more, but it is {weight}.")
        if sparsity_target is not None and not 0 < sparsity_target < 1:
            raise ValueError(
                f"The sparsity target is a mean activation between 0 and 1, both excluded, not {sparsity_target}. "
                "Leave it out for an L1 penalty."
            )
        self.weight = weight
        self.sparsity_target = sparsity_target
        self.supports_masking = True
        self.tracker = keras.metrics.Mean(name=name)

    def build(self, input_shape):
        if len(input_shape) < 2:
            raise ValueError(f"A code has the shape (batch, units), but this one has {tuple(input_shape)}.")

    def call(self, inputs):
        z = ops.cast(inputs, self.variable_dtype)
        # A replica's share of a small batch may be empty.
        count = ops.cast(ops.shape(z)[0], z.dtype)
        if self.sparsity_target is None:
            penalty = ops.sum(ops.divide_no_nan(ops.sum(ops.abs(z), axis=0), count))
        else:
            target, mean = self.sparsity_target, ops.divide_no_nan(ops.sum(z, axis=0), count)
            mean = ops.clip(mean, 1e-7, 1 - 1e-7)
            penalty = ops.sum(
                target * ops.log(target / mean) + (1 - target) * ops.log((1 - target) / (1 - mean)),
            )
            penalty *= ops.minimum(count, 1)
        self.add_loss(self.weight * penalty)
        self.tracker.update_state(penalty, sample_weight=ops.shape(z)[0])
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "sparsity_target": self.sparsity_target}


@keras.saving.register_keras_serializable(package=PACKAGE)
class KSparse(keras.layers.Layer):
    """Keeps the k largest values of each code and sets the others to zero.

    `z_j = a_j if a_j >= a_(k), else 0`, with `a_(k)` the k-th largest of one example's values along the last axis.
    Largest by value, not by magnitude. The gradient flows through the values kept, unchanged, and through no other.
    Values tied with the k-th are kept too.

    Outside training `encoding_k` values are kept. A wider code than was trained on is better for a classifier, but
    decoding it adds up more than the decoder has learned to: to reconstruct, call the model with `training=True`, or
    leave `encoding_k` out.

    Args:
        k: Number of values kept in training.
        encoding_k: Number of values kept otherwise; `k` unless told. The paper's best classifier uses `3 * k`.
        name: The layer's name.

    Call arguments:
        inputs: Linear activations, shape `(..., units)`.
        training: Whether to keep `k` or `encoding_k` values.

    Output shape:
        That of the input.

    Raises:
        ValueError: If a number is not a positive whole number, or is larger than the number of units.

    Example:

    >>> KSparse(2)(np.array([[1.0, -4.0, 3.0, 2.0]])).numpy().tolist()
    [[0.0, 0.0, 3.0, 2.0]]

    Reference:
        A. Makhzani and B. Frey, "k-sparse autoencoders", ICLR 2014, arXiv:1312.5663, section 2.1.
    """

    def __init__(self, k, encoding_k=None, **kwargs):
        super().__init__(**kwargs)
        for value in (k, k if encoding_k is None else encoding_k):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"The number of values to keep must be a positive whole number, not {value!r}.")
        self.k = k
        self.encoding_k = encoding_k
        self.supports_masking = True

    def build(self, input_shape):
        largest = max(self.k, self.encoding_k or self.k)
        if largest > input_shape[-1]:
            raise ValueError(
                f"{largest} values cannot be kept of {input_shape[-1]}: lower k and encoding_k, or widen the code."
            )

    def call(self, inputs, training=None):
        k = self.k if training or self.encoding_k is None else self.encoding_k
        smallest_kept = ops.top_k(inputs, k)[0][..., -1:]
        return ops.where(inputs < smallest_kept, ops.zeros_like(inputs), inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "k": self.k, "encoding_k": self.encoding_k}


@keras.saving.register_keras_serializable(package=PACKAGE)
class DenseTranspose(keras.layers.Layer):
    """The mirror of a dense layer, with the same kernel: the decoder's half of tied weights.

    `y = activation(z W^T + b)`, where `W` is the kernel of `dense` itself, not a copy, and `b` a bias of this layer.
    The gradient of `W` is the sum of what both layers contribute, and a model that has both saves and loads one kernel.

    Args:
        dense: The built `keras.layers.Dense` whose kernel, shape `(features, units)`, is shared.
        activation: Activation of the output; linear unless told.
        name: The layer's name.

    Call arguments:
        inputs: `z`, shape `(..., units)`.

    Input shape:
        `(..., units)`, what `dense` gives.

    Output shape:
        `(..., features)`, what `dense` takes.

    Raises:
        ValueError: If `dense` is not a built `Dense`, or the inputs do not have its number of units.

    The weights listed under this layer are its bias and those of `dense`. To freeze it freezes `dense`; a copy of a
    decoder alone, by `keras.models.clone_model` or by saving and loading it, has a kernel of its own.

    Example:

    >>> dense = keras.layers.Dense(2, activation="relu")
    >>> dense.build((None, 3))
    >>> mirror = DenseTranspose(dense, activation="sigmoid")
    >>> mirror(dense(ops.ones((4, 3)))).shape
    TensorShape([4, 3])
    >>> sum(weight is dense.kernel for weight in mirror.weights)
    1

    Reference:
        P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol, "Stacked denoising autoencoders",
        JMLR 11, 2010, section 2.2 (tied weights, W' = W^T).
    """

    def __init__(self, dense, activation=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(dense, keras.layers.Dense) or not dense.built:
            kind = "one that is not built" if isinstance(dense, keras.layers.Dense) else repr(dense)
            raise ValueError(
                f"DenseTranspose shares the kernel of a built keras.layers.Dense, but got {kind}. Build it first: put "
                "it into a model that starts with keras.Input, or call it once."
            )
        self.dense = dense
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape):
        features, units = self.dense.kernel.shape
        if input_shape[-1] != units:
            raise ValueError(
                f"{self.name} mirrors a Dense of {units} units, so it takes inputs of shape (..., {units}), not "
                f"{tuple(input_shape)}."
            )
        self.bias = self.add_weight(name="bias", shape=(features,), initializer="zeros")

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, ops.transpose(self.dense.kernel)) + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dense.kernel.shape[0])

    def get_config(self):
        return {
            **super().get_config(),
            "dense": keras.saving.serialize_keras_object(self.dense),
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "dense": keras.saving.deserialize_keras_object(config["dense"])})


@keras.saving.register_keras_serializable(package=PACKAGE)
class Sampling(keras.layers.Layer):
    """Draws a code from the Gaussian that an encoder describes, so that the gradient reaches the encoder.

    `z = z_mean + exp(z_log_var / 2) * noise` with standard normal `noise`, drawn anew for each example and each number
    of the code, at every call. The draw does not depend on the encoder, so `dz/dz_mean = 1` and
    `dz/dz_log_var = exp(z_log_var / 2) * noise / 2`: the reparameterization.

    It draws outside training too, because the evidence lower bound is an average over draws, but from a generator of
    their own: how often a model is evaluated, and in batches of what size, does not change what it is trained with. For
    one fixed code an image, take `z_mean`.

    Args:
        seed: Seed of the noise; random unless given. Replicas of a distributed strategy draw the same noise, each for
            its own part of the batch.
        name: The layer's name.

    Call arguments:
        inputs: The pair `(z_mean, z_log_var)` of equal shape, `(batch, ...)`: mean and logarithm of the variance.
        training: Which of the two generators to draw from.

    Output shape:
        That of `z_mean`.

    Raises:
        ValueError: If the input is not a pair of tensors of equal shape.

    Example:

    >>> z = Sampling(seed=0)((ops.full((10000, 1), 3.0), ops.full((10000, 1), np.log(0.25))))
    >>> round(float(ops.mean(z)), 1), round(float(ops.std(z)), 1)
    (3.0, 0.5)

    Reference:
        D. P. Kingma and M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114, section 2.4.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.evaluation_seed_generator = keras.random.SeedGenerator(int(self.seed_generator.state[0]) + 1)

    def build(self, input_shape):
        shapes = [tuple(shape) for shape in input_shape] if isinstance(input_shape[0], list | tuple) else [input_shape]
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            raise ValueError(
                "Sampling takes the pair (z_mean, z_log_var), two tensors of one shape, but got "
                f"{' and '.join(map(str, shapes))}."
            )

    def call(self, inputs, training=False):
        z_mean, z_log_var = inputs
        generator = self.seed_generator if training else self.evaluation_seed_generator
        noise = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=generator)
        return z_mean + ops.exp(z_log_var / 2) * noise

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
