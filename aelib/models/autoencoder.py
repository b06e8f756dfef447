"""The autoencoder that the others build on: objective, `fit`, `evaluate`, encoding, decoding, saving."""

import keras
import tensorflow as tf

from aelib.callbacks import progress_in_notebook
from aelib.models import batches, checks

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

    # Evaluation has draws of its own: training does not depend on how often and in what batches it is evaluated.
    evaluation_seed_generator = None
    # The arguments that are objects of Keras, which a config holds in its own way.
    _parts = ("encoder", "decoder", "corruption")

    def __init__(self, encoder, decoder, corruption=None, **kwargs):
        super().__init__(**kwargs)
        self._check_parts(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.corruption = corruption
        self.build(encoder.input_shape)

    def _check_parts(self, encoder, decoder):
        checks.check_pair(encoder, decoder)

    def build(self, input_shape):
        if self.corruption is not None and not self.corruption.built:
            self.corruption.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        if self.corruption is not None:
            inputs = self.corruption(keras.ops.cast(inputs, self.compute_dtype), training=training)
        return self.decoder(self.encoder(inputs, training=training), training=training)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **fit_options):
        """Trains the model as Keras's `fit` does, and takes arrays in a fresh random order in every epoch.

        Args:
            x: Inputs, an array of shape `(n, ...)`, or a data set, whose order is its own affair. What NumPy makes an
                array of is one; a sparse matrix is made dense.
            y: Optional targets, for those whose target is not the input itself.
            batch_size: Number of examples in a batch, 32 unless given.
            epochs: Number of epochs.
            verbose: As for Keras's `fit`. Unless given, a notebook shows `aelib.callbacks.ProgressBar`, which goes away
                at the end, or nothing if the environment variable `TQDM_DISABLE` is set.
            callbacks: As for Keras's `fit`.
            **fit_options: As for Keras's `fit`. With `steps_per_epoch`, arrays are gone through again and again, and
                every batch is full. `sample_weight`, shape `(n,)`, weighs every term of the loss, and needs no target.

        Returns:
            Keras's `History`.

        Raises:
            ValueError: If the arrays do not have the encoder's shape, are empty, not numbers, not finite, or not of
                equal length; if `validation_split` leaves nothing to train on; if `class_weight` is given, because a
                target that is an image has no class; and as Keras's `fit`.
        """
        with progress_in_notebook(verbose, callbacks) as shown:
            return self._fit(x, y, batch_size, {"epochs": epochs, **shown, **fit_options})

    def _fit(self, x, y, batch_size, options):
        class_weight = options.get("class_weight")
        self._check_class_weight(class_weight)
        if class_weight is not None and batches.is_array(x):
            del options["class_weight"]
            options["sample_weight"] = batches.weights_of_classes(y, class_weight, options.get("sample_weight"))
        arrays = batches.as_examples(self, x, y, options.pop("sample_weight", None))
        if options.get("validation_data") is not None:
            validation = keras.utils.unpack_x_y_sample_weight(options["validation_data"])
            options["validation_data"] = batches.as_examples(self, *validation)
        x, y, sample_weight = arrays
        if not batches.is_array(x):
            # Keras warns that it cannot shuffle a data set unless told that nobody wants it to.
            if not isinstance(x, keras.utils.PyDataset):
                options.setdefault("shuffle", False)
            return super().fit(x, y, batch_size, sample_weight=sample_weight, **options)
        validation_split = options.pop("validation_split", 0)
        if validation_split and options.get("validation_data") is None:
            arrays, options["validation_data"] = batches.split(arrays, validation_split)
        if options.get("shuffle", True) is not True:
            x, y, sample_weight = arrays
            return super().fit(x, y, batch_size, sample_weight=sample_weight, **options)
        options["shuffle"] = False
        options.setdefault("validation_batch_size", batch_size)
        shuffled = batches.shuffled(arrays, batch_size or 32, endless=options.get("steps_per_epoch") is not None)
        # Told their number, Keras makes one iterator an epoch, and otherwise two, of some milliseconds each.
        options.setdefault("steps_per_epoch", int(shuffled.cardinality()))
        return super().fit(shuffled, **options)

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, **evaluate_options):
        """Evaluates the loss and its terms as Keras's `evaluate` does, with the same draws every time.

        Args:
            x: Inputs, as for `fit`.
            y: Optional targets.
            batch_size: Number of examples in a batch, 32 unless given.
            verbose: As for Keras's `evaluate`.
            sample_weight: Optional weights of the examples, shape `(n,)`; they need no target.
            **evaluate_options: As for Keras's `evaluate`.

        Returns:
            The loss, or a list or dictionary of all that is logged, as Keras's `evaluate`.

        Raises:
            ValueError: If the arrays do not fit, as for `fit`.
        """
        if self.evaluation_seed_generator is not None:
            seed = self.evaluation_seed_generator.get_config()["seed"]
            self.evaluation_seed_generator.state.assign([seed, 0])
        x, y, sample_weight = batches.as_examples(self, x, y, sample_weight)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **evaluate_options)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        self._check_class_weight(class_weight)
        if class_weight is not None:
            sample_weight = batches.weights_of_classes(y, class_weight, sample_weight)
        return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def _check_class_weight(self, class_weight):
        if class_weight is not None:
            raise ValueError(
                "class_weight weighs examples by the class in y, and the target of this model has none: give "
                "sample_weight, one weight an example."
            )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(
            x=x, y=x if y is None else y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, x if y is None else y, y_pred, sample_weight)

    def _log_reconstruction(self, loss, layer_losses, x):
        # For the subclasses that log their terms apart; Keras's own loss is divided by the number of replicas already.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.reconstruction_tracker.update_state(loss * replicas - layer_losses, sample_weight=tf.shape(x)[0])

    def encode(self, x, batch_size=1024):
        """Returns the codes of clean inputs as a NumPy array, shape `(n, latent_dim)`.

        Args:
            x: Inputs, shape `(n, ...)`.
            batch_size: Number of inputs encoded at once, for the memory's sake.
        """
        return batches.in_batches(self.encoder, x, batch_size)

    def decode(self, z, batch_size=1024):
        """Returns the reconstructions of codes as a NumPy array, shape `(n, ...)`, in one call for a whole grid.

        Args:
            z: Codes, shape `(n, latent_dim)`.
            batch_size: Number of codes decoded at once, for the memory's sake.
        """
        return batches.in_batches(self.decoder, z, batch_size)

    def reconstruct(self, x, batch_size=1024):
        """Returns `decode(encode(x))` of clean inputs as a NumPy array.

        Args:
            x: Inputs, shape `(n, ...)`.
            batch_size: Number of inputs passed through at once, for the memory's sake.
        """
        return self.decode(self.encode(x, batch_size), batch_size)

    def get_config(self):
        # Keras marks an object as shared when it meets it again, and the encoder comes first: only in a second round is
        # a layer that the decoder shares with it, such as a tied one, marked in both.
        for _ in range(2):
            parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self._parts}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in cls._parts}
        return cls(**{**config, **parts})
