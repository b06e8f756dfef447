"""Draws of a code from the distribution that an encoder describes."""

import keras
from keras import ops


def seed_generators(seed):
    """Returns the generator of training's draws and, beside it, that of evaluation's: neither moves the other."""
    training = keras.random.SeedGenerator(seed)
    return training, keras.random.SeedGenerator(int(training.state[0]) + 1)


@keras.saving.register_keras_serializable(package="aelib")
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
        self.seed_generator, self.evaluation_seed_generator = seed_generators(seed)

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
