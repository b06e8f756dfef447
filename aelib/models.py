"""Autoencoders as Keras models: `compile`, `fit(x)` without a target, `evaluate`, `save`."""

import keras

PACKAGE = "aelib"


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
        return self.encoder.predict(x, batch_size=batch_size, verbose=0)

    def decode(self, z, batch_size=1024):
        """Returns the reconstructions of codes as a NumPy array, shape `(n, ...)`, in one call for a whole grid."""
        return self.decoder.predict(z, batch_size=batch_size, verbose=0)

    def reconstruct(self, x, batch_size=1024):
        """Returns `decode(encode(x))` of clean inputs as a NumPy array."""
        return self.decode(self.encode(x, batch_size), batch_size)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "corruption": serialize(self.corruption),
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder", "corruption")
        }
        return cls(**{**config, **parts})


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
