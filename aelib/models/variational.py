"""The variational autoencoder."""

import keras
import tensorflow as tf

from aelib import layers, losses
from aelib.models import batches, checks
from aelib.models.autoencoder import PACKAGE, Autoencoder

LOG_VAR_LIMIT = 10.0


@keras.saving.register_keras_serializable(package=PACKAGE)
class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose code is a Gaussian for each input, held near a standard normal, from which it can sample.

    The encoder gives `z_mean` and `z_log_var` of `q(z | x) = N(z_mean, diag(exp(z_log_var)))`, the decoder the
    parameters of `p(x | z)`, and the prior is `p(z) = N(0, I)`. With one draw `z` from `q` an example,
    `loss = mean_n [-log p(x_n | z_n) + kl_weight * KL(q(z | x_n) || p(z))]`, plus what the layers add themselves. With
    `kl_weight` 1 it is the negative evidence lower bound, an upper bound of `-log p(x)`. `fit` and `evaluate` log its
    terms, `reconstruction` and `kl`, before the weight: their sum is the bound, whatever the weight.

    Compile it with a loss that is `-log p(x | z)`, a sum over an example's features, such as
    `aelib.losses.BernoulliNLL()`, for which the decoder gives logits.

    Args:
        encoder: A built Keras model from `x` to `z_mean` and `z_log_var` side by side along the last axis, such as
            `networks.mlp_encoder(784, [200], 2 * latent_dim)`.
        decoder: A built Keras model from the code, shape `(batch, latent_dim)`, to logits of the shape of `x`.
        kl_weight: Weight of the divergence at the start, 0 or more. It is a variable, saved with the weights: a
            callback moves it with `model.kl_weight.assign(0.5)`.
        output_activation: What turns the decoder's output into the image that `decode`, `reconstruct` and `sample`
            return: the sigmoid, for logits; `None` where the decoder gives the image itself.
        seed: Seed of the draws; see `aelib.layers.Sampling`.
        name: The model's name.

    Call arguments:
        inputs: `x`, shape `(batch, ...)`.
        training: Passed on to the encoder and the decoder. The code is drawn outside training too: only so is the
            validation loss a bound. `evaluate` has draws of its own, the same at every call.

    Output shape:
        That of the input: the decoder's output for one draw, what the loss takes. For images, use `reconstruct`, which
        decodes the mean.

    Raises:
        ValueError: If the encoder's output is not two equal parts, each as wide as what the decoder takes; the decoder
            does not give back the input's shape, or ends in a sigmoid that `output_activation` would repeat; or the
            weight is not a number, 0 or more.

    The logarithm of the variance is kept in `[-10, 10]`, where its exponential is harmless; beyond, it has no gradient.

    Example:

    >>> from aelib import losses, networks
    >>> x = np.random.default_rng(0).uniform(size=(64, 784)).astype("float32")
    >>> decoder = networks.mlp_decoder(8, [64], 784, output_activation=None)
    >>> model = VariationalAutoencoder(networks.mlp_encoder(784, [64], 2 * 8), decoder)
    >>> model.compile(optimizer="adam", loss=losses.BernoulliNLL())
    >>> sorted(model.fit(x, epochs=1, verbose=0).history)
    ['kl', 'loss', 'reconstruction']
    >>> model.encode(x).shape, model.sample(5).shape
    ((64, 8), (5, 784))

    Reference:
        D. P. Kingma and M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114, section 3.
    """

    _parts = ("encoder", "decoder")

    def __init__(self, encoder, decoder, kl_weight=1.0, output_activation="sigmoid", seed=None, **kwargs):
        checks.check_weight("kl_weight", kl_weight)
        self.output_activation = keras.activations.get(output_activation)
        self.kl_weight = keras.Variable(kl_weight, trainable=False, autocast=False, name="kl_weight")
        self.sampling = layers.Sampling(seed)
        self.evaluation_seed_generator = self.sampling.evaluation_seed_generator
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.kl_tracker = keras.metrics.Mean(name="kl")
        super().__init__(encoder, decoder, **kwargs)
        self._initial_kl_weight = kl_weight

    def _check_parts(self, encoder, decoder):
        checks.check_built(encoder, decoder)
        both, code = encoder.output_shape, decoder.input_shape
        if tuple(both) != (*code[:-1], 2 * code[-1]) or not code[-1]:
            raise ValueError(
                f"The decoder takes a code of shape {code[1:]}, so the encoder must give z_mean and z_log_var of that "
                f"shape side by side, its last axis 2 * latent_dim, an even number; but it gives {both[1:]}."
            )
        activations = [getattr(layer, "activation", None) for layer in getattr(decoder, "layers", [decoder])]
        if self.output_activation is keras.activations.sigmoid and activations[-1] is keras.activations.sigmoid:
            raise ValueError(
                "The decoder ends in a sigmoid, and decode would apply another one. Let it give logits, with "
                "networks.mlp_decoder(..., output_activation=None), and train with losses.BernoulliNLL()."
            )

    def call(self, inputs, training=None):
        z_mean, z_log_var = self._split(self.encoder(inputs, training=training))
        z = self.sampling((z_mean, z_log_var), training=training)
        reconstruction = self.decoder(z, training=training)
        # For the loss, where the weights of the examples are known.
        reconstruction.kl = losses.gaussian_kl(z_mean, z_log_var)
        return reconstruction

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        checks.one_weight_an_example(sample_weight)
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        self._log_reconstruction(loss, sum(self.losses), x)
        if (kl := getattr(y_pred, "kl", None)) is None:
            kl = losses.gaussian_kl(*self._split(self.encoder(x, training=training)))
        kl = batches.mean_over_batch(kl, sample_weight)
        self.kl_tracker.update_state(kl, sample_weight=tf.shape(x)[0])
        return loss + batches.per_replica(self.kl_weight * tf.cast(kl, loss.dtype))

    def _split(self, parameters):
        z_mean, z_log_var = keras.ops.split(keras.ops.cast(parameters, self.variable_dtype), 2, axis=-1)
        return z_mean, keras.ops.clip(z_log_var, -LOG_VAR_LIMIT, LOG_VAR_LIMIT)

    def posterior(self, x, batch_size=1024):
        """Returns `z_mean` and `z_log_var` of inputs as two NumPy arrays, each of shape `(n, latent_dim)`.

        Args:
            x: Inputs, shape `(n, ...)`.
            batch_size: Number of inputs encoded at once, for the memory's sake.
        """
        return tuple(map(keras.ops.convert_to_numpy, self._split(batches.in_batches(self.encoder, x, batch_size))))

    def encode(self, x, batch_size=1024):
        """Returns the means of the codes, `z_mean`, as a NumPy array, shape `(n, latent_dim)`.

        Args:
            x: Inputs, shape `(n, ...)`.
            batch_size: Number of inputs encoded at once, for the memory's sake.
        """
        return self.posterior(x, batch_size)[0]

    def decode(self, z, batch_size=1024):
        """Returns the images of codes as a NumPy array, shape `(n, ...)`, in one call for a whole grid.

        Args:
            z: Codes, shape `(n, latent_dim)`.
            batch_size: Number of codes decoded at once, for the memory's sake.
        """
        return keras.ops.convert_to_numpy(self.output_activation(super().decode(z, batch_size)))

    def sample(self, n, seed=None, batch_size=1024):
        """Returns the images of `n` codes drawn from the prior as a NumPy array, shape `(n, ...)`.

        Args:
            n: Number of images.
            seed: A whole number gives the same images at every call; new ones unless given.
            batch_size: Number of codes decoded at once, for the memory's sake.
        """
        if None in self.decoder.input_shape[1:]:
            raise ValueError(
                f"The decoder takes codes of any size, {self.decoder.input_shape}: draw some from the standard normal "
                "distribution, and decode them."
            )
        z = keras.random.normal((n, *self.decoder.input_shape[1:]), seed=seed)
        return self.decode(z, batch_size)

    def get_config(self):
        return {
            **super().get_config(),
            "kl_weight": self._initial_kl_weight,
            "output_activation": keras.activations.serialize(self.output_activation),
            "seed": self.sampling.seed,
        }
