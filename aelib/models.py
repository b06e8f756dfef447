"""Autoencoders as Keras models: `compile`, `fit(x)` without a target, `evaluate`, `save`."""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from aelib import jacobian

PACKAGE = "aelib"
PENALTIES = ("closed_form", "exact", "projected", "stochastic")


@keras.saving.register_keras_serializable(package=PACKAGE)
class Autoencoder(keras.Model):
    """An encoder and a decoder, trained to rebuild the clean input.

    `z = encoder(corruption(x))` and `reconstruction = decoder(z)`; the loss compares `reconstruction` with the clean
    `x`. Without a corruption it is the plain autoencoder; with one, the denoising autoencoder.

    Args:
        encoder: A built Keras model from `x` to the code, shape `(batch, latent_dim)`.
        decoder: A built Keras model from the code to a reconstruction of the shape of `x`.
        corruption: Optional layer that damages `x`, such as `keras.layers.GaussianNoise(0.3)`. Keras's noise
            layers, and aelib's, work during training only: to see what the model makes of a damaged image, damage it
            yourself.
        name: The model's name.

    Call arguments:
        inputs: `x`, shape `(batch, ...)`.
        training: Whether to corrupt the input.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the decoder does not take the encoder's code, or does not give back the input's shape.

    Example:

    >>> from aelib import losses, networks
    >>> x = np.random.default_rng(0).uniform(size=(64, 784)).astype("float32")
    >>> model = Autoencoder(networks.mlp_encoder(784, [64], 8), networks.mlp_decoder(8, [64], 784))
    >>> model.compile(optimizer="adam", loss=losses.SumSquaredError())
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.decode(model.encode(x)).shape
    ((64, 8), (64, 784))

    Reference:
        P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol, "Stacked denoising autoencoders",
        JMLR 11, 2010, sections 2.2 and 3.1.
    """

    def __init__(self, encoder, decoder, corruption=None, **kwargs):
        super().__init__(**kwargs)
        _check_pair(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.corruption = corruption
        self.build(encoder.input_shape)

    def build(self, input_shape):
        if self.corruption is not None and not self.corruption.built:
            self.corruption.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        if self.corruption is not None:
            inputs = self.corruption(inputs, training=training)
        return self.decoder(self.encoder(inputs, training=training), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(
            x=x, y=x if y is None else y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, x if y is None else y, y_pred, sample_weight)

    def encode(self, x, batch_size=1024):
        """Returns the codes of clean inputs as a NumPy array, shape `(n, latent_dim)`."""
        return _in_batches(self.encoder, x, batch_size)

    def decode(self, z, batch_size=1024):
        """Returns the reconstructions of codes as a NumPy array, shape `(n, ...)`, in one call for a whole grid."""
        return _in_batches(self.decoder, z, batch_size)

    def reconstruct(self, x, batch_size=1024):
        """Returns `decode(encode(x))` of clean inputs as a NumPy array."""
        return self.decode(self.encode(x, batch_size), batch_size)

    def get_config(self):
        # Keras marks an object as shared when it meets it again, and the encoder comes first: only in a second round is
        # a layer that the decoder shares with it, such as a tied one, marked in both.
        for _ in range(2):
            parts = {
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in ("encoder", "decoder", "corruption")
            }
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder", "corruption")
        }
        return cls(**{**config, **parts})


def _in_batches(network, inputs, batch_size):
    # Keras's predict compiles anew for every model, which takes longer than the arithmetic of a small network, and
    # warns of retracing after the fifth.
    inputs = np.asarray(inputs)
    if inputs.shape[1:] != tuple(network.input_shape[1:]) or len(inputs) == 0:
        raise ValueError(
            f"The {network.name} takes an array of shape (n, {', '.join(map(str, network.input_shape[1:]))}) with n at "
            f"least 1, not {inputs.shape}."
        )
    batches = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    return np.concatenate([keras.ops.convert_to_numpy(network(batch, training=False)) for batch in batches])


def _check_pair(encoder, decoder):
    if not (encoder.built and decoder.built):
        raise ValueError("Give built models: start the encoder and the decoder with keras.Input, or call them once.")
    code, wanted = encoder.output_shape, decoder.input_shape
    if tuple(code[1:]) != tuple(wanted[1:]):
        raise ValueError(
            f"The encoder's code has shape {code[1:]}, but the decoder takes {wanted[1:]}. "
            "Give both the same latent_dim."
        )
    if tuple(decoder.output_shape[1:]) != tuple(encoder.input_shape[1:]):
        raise ValueError(
            f"The encoder takes inputs of shape {encoder.input_shape[1:]}, but the decoder gives back "
            f"{decoder.output_shape[1:]}. They must be equal: a reconstruction is compared with its input."
        )


@keras.saving.register_keras_serializable(package=PACKAGE)
class ContractiveAutoencoder(Autoencoder):
    """An autoencoder whose code is made to move little when its input does.

    `loss = reconstruction + contraction_weight * mean_n ||J(x_n)||^2` with `J = dz/dx` of the encoder, plus what the
    layers add themselves. `fit` and `evaluate` log `reconstruction` and `contraction`, the mean of `||J||^2` before
    the weight.

    Args:
        encoder: A built Keras model from `x` to the code, without batch normalization.
        decoder: A built Keras model from the code to a reconstruction of the shape of `x`.
        contraction_weight: Weight of the penalty, 0 or more.
        penalty: How `||J||^2` is computed, always on the same scale, so that the weight keeps its meaning:
            `"closed_form"`: exact and nearly free, for an encoder of one dense layer;
            `"exact"`: for any encoder, slow and large in memory: for checks and narrow codes;
            `"projected"`: unbiased estimate for any encoder, from `num_probes` random directions;
            `"stochastic"`: the stochastic contractive autoencoder: `||f(x + noise) - f(x)||^2 / stddev^2`. The term
            in its own loss is not divided: its weight is `contraction_weight / stddev^2`.
        num_probes: Number of random directions an example, for `"projected"`.
        stddev: Standard deviation of the noise in units of `x`, for `"stochastic"`.
        seed: Seed of the directions or the noise, drawn anew at each step. Replicas of a distributed strategy draw
            the same ones, each for its own part of the batch.
        name: The model's name.

    Call arguments:
        inputs: `x`, shape `(batch, ...)`.
        training: Passed on to the encoder and the decoder.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the parts do not fit together, the encoder has a batch normalization (an example's code then
            depends on the others and `J` is not defined), a number is out of its range, the penalty is unknown, or it
            is `"closed_form"` and the encoder is not one dense layer that has one.

    Example:

    >>> from aelib import losses, networks
    >>> x = np.random.default_rng(0).uniform(size=(64, 784)).astype("float32")
    >>> encoder = networks.mlp_encoder(784, [], 32, latent_activation="sigmoid")
    >>> model = ContractiveAutoencoder(encoder, networks.mlp_decoder(32, [], 784), contraction_weight=0.1)
    >>> model.compile(optimizer="adam", loss=losses.SumSquaredError())
    >>> sorted(model.fit(x, epochs=1, verbose=0).history)
    ['contraction', 'loss', 'reconstruction']

    Reference:
        S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio, "Contractive auto-encoders: explicit invariance during
        feature extraction", ICML 2011.
    """

    def __init__(
        self,
        encoder,
        decoder,
        contraction_weight,
        penalty="closed_form",
        num_probes=1,
        stddev=0.1,
        seed=None,
        **kwargs,
    ):
        # State comes first: the base class builds the model, and a built model takes no more.
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.contraction_tracker = keras.metrics.Mean(name="contraction")
        super().__init__(encoder, decoder, **kwargs)
        if not (isinstance(contraction_weight, numbers.Real) and 0 <= contraction_weight < math.inf):
            raise ValueError(f"contraction_weight must be a number, 0 or more, but it is {contraction_weight!r}.")
        if penalty not in PENALTIES:
            raise ValueError(f"penalty must be one of {', '.join(PENALTIES)}, but it is {penalty!r}.")
        _refuse_batch_normalization(encoder)
        self.contraction_weight = contraction_weight
        self.penalty = penalty
        self.num_probes = num_probes
        self.stddev = stddev
        self.seed = seed
        # What the penalty cannot be computed for is refused here, not in the first step of fit.
        self._contraction(tf.zeros((1, *encoder.input_shape[1:])), seed=0)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # First, because the penalty calls the encoder again, which replaces the losses its layers have recorded.
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        layer_losses = sum(self.losses)
        contraction = self._contraction(x, self.seed_generator)
        if sample_weight is not None:
            contraction *= tf.cast(tf.reshape(sample_weight, (-1,)), contraction.dtype)
        contraction = tf.cast(tf.reduce_mean(contraction), loss.dtype)
        # Replicas' losses are summed, and Keras has divided its own part by their number.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.reconstruction_tracker.update_state(loss * replicas - layer_losses, sample_weight=tf.shape(x)[0])
        self.contraction_tracker.update_state(contraction, sample_weight=tf.shape(x)[0])
        return loss + self.contraction_weight * contraction / replicas

    def _contraction(self, x, seed):
        if self.penalty == "closed_form":
            return jacobian.dense_jacobian_penalty(self.encoder, x)
        if self.penalty == "exact":
            return jacobian.jacobian_penalty(self.encoder, x)
        if self.penalty == "projected":
            return jacobian.projected_jacobian_penalty(self.encoder, x, self.num_probes, seed)
        return jacobian.stochastic_contraction_penalty(self.encoder, x, self.stddev, seed) / self.stddev**2

    def get_config(self):
        config = super().get_config()
        del config["corruption"]
        return {
            **config,
            "contraction_weight": self.contraction_weight,
            "penalty": self.penalty,
            "num_probes": self.num_probes,
            "stddev": self.stddev,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder")}
        return cls(**{**config, **parts})


def _refuse_batch_normalization(layer):
    if isinstance(layer, keras.layers.BatchNormalization):
        raise ValueError(
            f"The encoder has a batch normalization, {layer.name!r}: in training an example's code then depends on the "
            "whole batch, so dz/dx of one example is not its contraction. Leave it out, or use LayerNormalization."
        )
    for sublayer in getattr(layer, "layers", ()):
        _refuse_batch_normalization(sublayer)
