"""Autoencoders as Keras models: `compile`, `fit(x)` without a target, `evaluate`, `save`."""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from aelib import jacobian, layers, losses, priors
from aelib.callbacks import progress_in_notebook

PACKAGE = "aelib"
PENALTIES = ("closed_form", "exact", "projected", "stochastic")
LOG_VAR_LIMIT = 10.0


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
        self._check_parts(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.corruption = corruption
        self.build(encoder.input_shape)

    def _check_parts(self, encoder, decoder):
        _check_pair(encoder, decoder)

    def build(self, input_shape):
        if self.corruption is not None and not self.corruption.built:
            self.corruption.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        if self.corruption is not None:
            inputs = self.corruption(inputs, training=training)
        return self.decoder(self.encoder(inputs, training=training), training=training)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **fit_options):
        """Trains the model as Keras's `fit` does, and takes arrays in a fresh random order in every epoch.

        Args:
            x: Inputs, shape `(n, ...)`, or a data set, whose order is its own affair.
            y: Optional targets, for those whose target is not the input itself.
            batch_size: Number of examples in a batch, 32 unless given.
            epochs: Number of epochs.
            verbose: As for Keras's `fit`. Unless given, a notebook shows `aelib.callbacks.ProgressBar`, which goes away
                at the end, or nothing if the environment variable `TQDM_DISABLE` is set.
            callbacks: As for Keras's `fit`.
            **fit_options: As for Keras's `fit`. With `steps_per_epoch`, arrays are gone through again and again, and
                every batch is full.

        Returns:
            Keras's `History`.

        Raises:
            ValueError: If `validation_split` leaves nothing to train on, and as Keras's `fit`.
        """
        with progress_in_notebook(verbose, callbacks) as shown:
            return self._fit(x, y, batch_size, {"epochs": epochs, **shown, **fit_options})

    def _fit(self, x, y, batch_size, options):
        arrays = (x, y, options.get("sample_weight"))
        if options.get("shuffle", True) is not True or not _are_arrays_of_equal_length(arrays):
            return super().fit(x, y, batch_size, **options)
        if options.get("validation_split") and options.get("validation_data") is None:
            split = options.pop("validation_split")
            kept = int(len(x) * (1 - split))
            if not 0 < kept < len(x):
                raise ValueError(
                    f"validation_split must be between 0 and 1 and leave some of the {len(x)} examples to train on, "
                    f"but it is {split}."
                )
            options["validation_data"] = tuple(each if each is None else each[kept:] for each in arrays)
            arrays = tuple(each if each is None else each[:kept] for each in arrays)
        options |= {"sample_weight": None, "shuffle": False}
        options.setdefault("validation_batch_size", batch_size)
        batches = _shuffled_batches(arrays, batch_size or 32, endless=options.get("steps_per_epoch") is not None)
        return super().fit(batches, **options)

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


def _are_arrays_of_equal_length(values):
    given = [value for value in values if value is not None]
    are_arrays = all(isinstance(value, np.ndarray | tf.Tensor) and len(value.shape) > 0 for value in given)
    return are_arrays and len({value.shape[0] for value in given}) == 1 and len(given[0]) > 0


def _in_floatx(tensor):
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor


def _shuffled_batches(arrays, batch_size, endless):
    # Keras's own order of arrays is the same in every epoch where TensorFlow's global seed is set (Keras 3.15).
    with tf.device("CPU:0"):
        arrays = [each if each is None else _in_floatx(tf.convert_to_tensor(each)) for each in arrays]
    n = len(arrays[0])
    seeds = tf.data.Dataset.random(rerandomize_each_iteration=True).take(-1 if endless else 1)
    orders = seeds.map(lambda seed: tf.argsort(tf.random.stateless_uniform((n,), (seed, 0))))
    batches = orders.rebatch(batch_size).map(
        lambda rows: keras.utils.pack_x_y_sample_weight(
            *(each if each is None else tf.gather(each, rows) for each in arrays)
        )
    )
    number = tf.data.INFINITE_CARDINALITY if endless else math.ceil(n / batch_size)
    options = tf.data.Options()
    # There is nothing to tune here, and on two cores the tuner takes its time from the steps.
    options.autotune.enabled = False
    return batches.apply(tf.data.experimental.assert_cardinality(number)).with_options(options)


def _per_replica(loss):
    # A strategy sums the replicas' losses, and Keras divides only those that it computes itself.
    return loss / tf.distribute.get_strategy().num_replicas_in_sync


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
    _check_built(encoder, decoder)
    code, wanted = encoder.output_shape, decoder.input_shape
    if tuple(code[1:]) != tuple(wanted[1:]):
        raise ValueError(
            f"The encoder's code has shape {code[1:]}, but the decoder takes {wanted[1:]}. "
            "Give both the same latent_dim."
        )


def _check_built(encoder, decoder):
    if not (encoder.built and decoder.built):
        raise ValueError("Give built models: start the encoder and the decoder with keras.Input, or call them once.")
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

    def call(self, inputs, training=None):
        z = self.encoder(inputs, training=training)
        reconstruction = self.decoder(z, training=training)
        # For the closed form, which needs no more than the code: to encode again would cost two fifths of a step.
        reconstruction.code = z
        return reconstruction

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # First, because the penalty calls the encoder again, which replaces the losses its layers have recorded.
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        layer_losses = sum(self.losses)
        contraction = self._contraction(x, self.seed_generator, getattr(y_pred, "code", None))
        if sample_weight is not None:
            contraction *= tf.cast(tf.reshape(sample_weight, (-1,)), contraction.dtype)
        contraction = tf.cast(tf.reduce_mean(contraction), loss.dtype)
        self._log_reconstruction(loss, layer_losses, x)
        self.contraction_tracker.update_state(contraction, sample_weight=tf.shape(x)[0])
        return loss + _per_replica(self.contraction_weight * contraction)

    def _contraction(self, x, seed, z=None):
        if self.penalty == "closed_form":
            return jacobian.dense_jacobian_penalty(self.encoder, x, z)
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


@keras.saving.register_keras_serializable(package=PACKAGE)
class AdversarialAutoencoder(Autoencoder):
    """An autoencoder whose codes, all together, take the distribution of a prior.

    A discriminator `D` gives a logit for "drawn from the prior, not encoded". A training step has two phases:

    1. reconstruction: the encoder and the decoder lower the loss given to `compile`, `optimizer`'s step;
    2. regularization: first the discriminator lowers
       `discriminator_loss = (mean_n softplus(-D(z_prior_n)) + mean_n softplus(D(z_n))) / 2`, in nats, which is
       `log 2 - JSD(prior, codes)` at best and `log 2 = 0.69` for one that cannot tell; then the encoder lowers
       `encoder_loss = mean_n softplus(-D(z_n))` against the new discriminator.

    `fit` and `evaluate` log `reconstruction`, `discriminator_loss`, `encoder_loss` and `discriminator_accuracy`, the
    share of codes and prior samples that it tells apart, 0.5 for chance. They add up to nothing, so that no `loss` is
    logged: let callbacks monitor `val_reconstruction`.

    With `num_labels`, the prior is label-conditioned: `fit(x, labels)` needs a label for each image, the prior draws
    from that label's part, and the discriminator sees the label too, as `num_labels` numbers behind the code.

    Args:
        encoder: A built Keras model from `x` to the code, shape `(batch, latent_dim)`.
        decoder: A built Keras model from the code to a reconstruction of the shape of `x`.
        discriminator: A built Keras model from `latent_dim` numbers, or `latent_dim + num_labels`, to one logit:
            `networks.mlp_encoder(latent_dim, [64, 64], 1, name="discriminator")`.
        prior: A function of `aelib.priors`, or one with the same arguments. Register your own with
            `keras.saving.register_keras_serializable`, or a saved model cannot be loaded.
        num_labels: Number of labels of a label-conditioned prior; `None` for a prior without labels.
        seed: Seed of the prior's samples, drawn anew at each step; random unless given. Its state is not saved.
            Replicas of a distributed strategy draw the same samples.
        name: The model's name.

    Call arguments:
        inputs: `x`, shape `(batch, ...)`.
        training: Passed on to the encoder and the decoder.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the parts do not fit together, the prior gives codes of another width or takes no labels although
            `num_labels` is given, or the discriminator does not give one logit.

    Example:

    >>> from aelib import losses, networks, priors
    >>> encoder, decoder = networks.mlp_encoder(784, [32], 2), networks.mlp_decoder(2, [32], 784)
    >>> discriminator = networks.mlp_encoder(2, [32], 1, name="discriminator")
    >>> model = AdversarialAutoencoder(encoder, decoder, discriminator, priors.swiss_roll_prior)
    >>> model.compile("adam", losses.SumSquaredError(), discriminator_optimizer="adam", encoder_optimizer="adam")
    >>> model.sample(3).shape
    (3, 784)

    Reference:
        A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow and B. Frey, "Adversarial autoencoders", arXiv:1511.05644,
        2015. The encoder here is deterministic.
    """

    def __init__(
        self,
        encoder,
        decoder,
        discriminator,
        prior=priors.gaussian_prior,
        num_labels=None,
        seed=None,
        **kwargs,
    ):
        # State comes first: the base class builds the model, and a built model takes no more.
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator_loss")
        self.encoder_tracker = keras.metrics.Mean(name="encoder_loss")
        self.accuracy_tracker = keras.metrics.Mean(name="discriminator_accuracy")
        self.discriminator = discriminator
        super().__init__(encoder, decoder, **kwargs)
        self.prior = prior
        self.num_labels = num_labels
        self.seed = seed
        _check_discriminator(encoder, discriminator, num_labels)
        # A prior that does not fit is refused here, not in the first step of fit.
        z = self._draw(2, None if num_labels is None else [0, 1 % num_labels], seed=0)
        if tuple(z.shape) != (2, encoder.output_shape[1]):
            raise ValueError(
                f"The prior gives 2 codes as an array of shape {tuple(z.shape)}, but the encoder's codes have the "
                f"width {encoder.output_shape[1]}. Give both the same latent_dim."
            )

    def compile(
        self, optimizer="adam", loss=None, discriminator_optimizer="adam", encoder_optimizer="adam", **compile_options
    ):
        """Configures training, with one optimizer for each of the three updates of a step.

        Args:
            optimizer: That of the encoder and the decoder in the reconstruction phase.
            loss: The reconstruction loss.
            discriminator_optimizer: That of the discriminator.
            encoder_optimizer: That of the encoder in the regularization phase.
            **compile_options: As Keras's `compile`.

        Raises:
            ValueError: If one optimizer object is given twice: each keeps the moments of its own gradients.
        """
        super().compile(optimizer=optimizer, loss=loss, **compile_options)
        self.discriminator_optimizer = keras.optimizers.get(discriminator_optimizer)
        self.encoder_optimizer = keras.optimizers.get(encoder_optimizer)
        optimizers = (self.optimizer, self.discriminator_optimizer, self.encoder_optimizer)
        if len({id(each) for each in optimizers}) < 3:
            raise ValueError(
                "The three updates of a step need three optimizers, but one object is given twice: its moments would "
                "mix two gradients. Give names, or an object for each."
            )
        for each, weights in zip(optimizers, self._weights_of_updates(), strict=True):
            each.build(weights)

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return {
            **super().get_compile_config(),
            "discriminator_optimizer": keras.saving.serialize_keras_object(self.discriminator_optimizer),
            "encoder_optimizer": keras.saving.serialize_keras_object(self.encoder_optimizer),
        }

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self):
        return [metric for metric in super().metrics if metric.name != "loss"]

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        labels = self._labels(y)
        both, only_discriminator, only_encoder = self._weights_of_updates()

        # Phase 1, reconstruction: the encoder and the decoder learn to rebuild the input.
        with tf.GradientTape() as tape:
            reconstruction = self(x, training=True)
            loss = self._reconstruction_loss(x, y, reconstruction, sample_weight, training=True)
            loss = self.optimizer.scale_loss(loss)
        self.optimizer.apply(tape.gradient(loss, both), both)

        # Phase 2, regularization: the discriminator learns to tell prior samples from codes ...
        z, z_prior = self.encoder(x, training=True), self._draw(tf.shape(x)[0], labels, self.seed_generator)
        with tf.GradientTape() as tape:
            loss = self._discriminator_loss(z, z_prior, labels, sample_weight, training=True)
            loss = self.discriminator_optimizer.scale_loss(loss)
        self.discriminator_optimizer.apply(tape.gradient(loss, only_discriminator), only_discriminator)

        # ... and the encoder learns to make codes that it takes for prior samples.
        with tf.GradientTape() as tape:
            z = self.encoder(x, training=True)
            loss = self._encoder_loss(z, labels, sample_weight, training=True)
            loss = self.encoder_optimizer.scale_loss(loss)
        self.encoder_optimizer.apply(tape.gradient(loss, only_encoder), only_encoder)
        return self.compute_metrics(x, y, reconstruction, sample_weight)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        labels = self._labels(y)
        reconstruction = self(x, training=False)
        self._reconstruction_loss(x, y, reconstruction, sample_weight, training=False)
        z, z_prior = self.encoder(x, training=False), self._draw(tf.shape(x)[0], labels, self.seed_generator)
        self._discriminator_loss(z, z_prior, labels, sample_weight, training=False)
        self._encoder_loss(z, labels, sample_weight, training=False)
        return self.compute_metrics(x, y, reconstruction, sample_weight)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        target = y if self.num_labels is None else x
        return super().compute_loss(x, target, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y if self.num_labels is None else x, y_pred, sample_weight)

    def sample(self, n, labels=None, seed=None):
        """Returns `n` images decoded from the prior as a NumPy array, shape `(n, ...)`.

        Args:
            n: Number of images.
            labels: For a label-conditioned prior, the label wanted of each, shape `(n,)`; any unless given.
            seed: A whole number gives the same images at every call; new ones unless given.
        """
        if labels is not None and self.num_labels is None:
            raise ValueError("This model's prior has no labels: build it with num_labels, or leave the labels out.")
        z = self._draw(n, labels, self.seed_generator if seed is None else seed)
        return self.decode(keras.ops.convert_to_numpy(z))

    def _weights_of_updates(self):
        discriminator = self.discriminator.trainable_variables
        known = {id(weight) for weight in discriminator}
        both = [weight for weight in self.trainable_variables if id(weight) not in known]
        return both, discriminator, self.encoder.trainable_variables

    def _draw(self, n, labels, seed):
        if self.num_labels is None:
            return self.prior(n, self.encoder.output_shape[1], seed=seed)
        return self.prior(n, self.encoder.output_shape[1], labels=labels, num_labels=self.num_labels, seed=seed)

    def _labels(self, y):
        if self.num_labels is None:
            return None
        if y is None:
            raise ValueError(
                "The prior is label-conditioned (num_labels is given), but there are no labels: call fit(x, labels) "
                "and evaluate(x, labels), and give validation_data=(x_val, labels_val)."
            )
        if not y.dtype.is_integer or y.shape[1:] not in ((), (1,)):
            raise ValueError(
                f"The labels of a label-conditioned prior are whole numbers, shape (batch,), not {y.dtype.name} of "
                f"shape {tuple(y.shape)}. One-hot labels: take their argmax."
            )
        labels = tf.reshape(y, (-1,))
        message = f"The labels must be whole numbers from 0 to num_labels - 1 = {self.num_labels - 1}."
        tf.debugging.assert_non_negative(labels, message)
        tf.debugging.assert_less(labels, tf.cast(self.num_labels, labels.dtype), message)
        return labels

    def _reconstruction_loss(self, x, y, reconstruction, sample_weight, training):
        loss = self.compute_loss(x, y, reconstruction, sample_weight, training)
        self._log_reconstruction(loss, sum(self.losses), x)
        return loss

    def _discriminator_loss(self, z, z_prior, labels, sample_weight, training):
        n = tf.shape(z)[0]
        halves = tf.concat([tf.cast(z_prior, z.dtype), z], axis=0)
        logits = self._logits(halves, None if labels is None else tf.concat([labels, labels], axis=0), training)
        from_prior = tf.concat([tf.ones(n), tf.zeros(n)], axis=0)
        self.accuracy_tracker.update_state(tf.cast((logits > 0) == (from_prior > 0), "float32"))
        weights = None if sample_weight is None else tf.tile(tf.reshape(sample_weight, (-1,)), [2])
        loss = _cross_entropy(from_prior, logits, weights)
        self.discriminator_tracker.update_state(loss, sample_weight=n)
        return _per_replica(loss + sum(self.discriminator.losses))

    def _encoder_loss(self, z, labels, sample_weight, training):
        logits = self._logits(z, labels, training)
        loss = _cross_entropy(tf.ones_like(logits), logits, sample_weight)
        self.encoder_tracker.update_state(loss, sample_weight=tf.shape(z)[0])
        return _per_replica(loss)

    def _logits(self, z, labels, training):
        if labels is not None:
            z = tf.concat([z, tf.one_hot(labels, self.num_labels, dtype=z.dtype)], axis=1)
        return tf.cast(self.discriminator(z, training=training)[:, 0], "float32")

    def get_config(self):
        config = super().get_config()
        del config["corruption"]
        return {
            **config,
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "prior": keras.saving.serialize_keras_object(self.prior),
            "num_labels": self.num_labels,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("encoder", "decoder", "discriminator", "prior")
        }
        return cls(**{**config, **parts})


def _cross_entropy(truth, logits, sample_weight):
    losses = tf.nn.sigmoid_cross_entropy_with_logits(truth, logits)
    if sample_weight is not None:
        losses *= tf.cast(tf.reshape(sample_weight, (-1,)), losses.dtype)
    return tf.reduce_mean(losses)


def _check_discriminator(encoder, discriminator, num_labels):
    if len(encoder.output_shape) != 2:
        raise ValueError(
            f"The code must have the shape (batch, latent_dim), but it has {encoder.output_shape}: flatten it."
        )
    if num_labels is not None and (isinstance(num_labels, bool) or not isinstance(num_labels, int) or num_labels < 1):
        raise ValueError(f"num_labels must be a whole number above 0, or None, but it is {num_labels!r}.")
    if not discriminator.built:
        raise ValueError("Give a built discriminator: start it with keras.Input, or call it once.")
    latent_dim = encoder.output_shape[1]
    width = latent_dim + (num_labels or 0)
    if tuple(discriminator.input_shape[1:]) != (width,) or tuple(discriminator.output_shape[1:]) != (1,):
        labels = "" if num_labels is None else f" and {num_labels} for the label"
        raise ValueError(
            f"The discriminator takes {discriminator.input_shape[1:]} and gives {discriminator.output_shape[1:]}; it "
            f"must take {width} numbers ({latent_dim} of the code{labels}) and give one."
        )
    last = discriminator.layers[-1]
    if getattr(last, "activation", keras.activations.linear) is not keras.activations.linear:
        raise ValueError(
            f"The discriminator must give a logit, any number, but its last layer has the activation "
            f"{last.activation.__name__!r}: leave it out."
        )


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
            validation loss a bound.

    Output shape:
        That of the input: the decoder's output for one draw, what the loss takes. For images, use `reconstruct`, which
        decodes the mean.

    Raises:
        ValueError: If the encoder's output is not two equal parts, each as wide as what the decoder takes; the decoder
            does not give back the input's shape, or ends in a sigmoid that `output_activation` would repeat; the weight
            is not a number, 0 or more; or `fit` is given sample weights, which would not weigh the divergence.

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

    def __init__(self, encoder, decoder, kl_weight=1.0, output_activation="sigmoid", seed=None, **kwargs):
        if not (isinstance(kl_weight, numbers.Real) and 0 <= kl_weight < math.inf):
            raise ValueError(f"kl_weight must be a number, 0 or more, but it is {kl_weight!r}.")
        self.output_activation = keras.activations.get(output_activation)
        self.kl_weight = keras.Variable(kl_weight, trainable=False, autocast=False, name="kl_weight")
        self.sampling = layers.Sampling(seed)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.kl_tracker = keras.metrics.Mean(name="kl")
        super().__init__(encoder, decoder, **kwargs)
        self._initial_kl_weight = kl_weight

    def _check_parts(self, encoder, decoder):
        _check_built(encoder, decoder)
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
        kl = losses.gaussian_kl(z_mean, z_log_var)
        self.kl_tracker.update_state(kl)
        self.add_loss(self.kl_weight * keras.ops.mean(kl))
        return self.decoder(self.sampling((z_mean, z_log_var)), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if sample_weight is not None:
            raise ValueError("Sample weights would weigh the reconstruction and not the divergence: repeat examples.")
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, training=training)
        self._log_reconstruction(loss, sum(self.losses), x)
        return loss

    def _split(self, parameters):
        z_mean, z_log_var = keras.ops.split(keras.ops.cast(parameters, self.variable_dtype), 2, axis=-1)
        return z_mean, keras.ops.clip(z_log_var, -LOG_VAR_LIMIT, LOG_VAR_LIMIT)

    def posterior(self, x, batch_size=1024):
        """Returns `z_mean` and `z_log_var` of inputs as two NumPy arrays, each of shape `(n, latent_dim)`."""
        return tuple(map(keras.ops.convert_to_numpy, self._split(_in_batches(self.encoder, x, batch_size))))

    def encode(self, x, batch_size=1024):
        """Returns the means of the codes, `z_mean`, as a NumPy array, shape `(n, latent_dim)`."""
        return self.posterior(x, batch_size)[0]

    def decode(self, z, batch_size=1024):
        """Returns the images of codes as a NumPy array, shape `(n, ...)`, in one call for a whole grid."""
        return keras.ops.convert_to_numpy(self.output_activation(super().decode(z, batch_size)))

    def sample(self, n, seed=None, batch_size=1024):
        """Returns the images of `n` codes drawn from the prior as a NumPy array, shape `(n, ...)`."""
        z = keras.random.normal((n, *self.decoder.input_shape[1:]), seed=seed)
        return self.decode(z, batch_size)

    def get_config(self):
        config = super().get_config()
        del config["corruption"]
        return {
            **config,
            "kl_weight": self._initial_kl_weight,
            "output_activation": keras.activations.serialize(self.output_activation),
            "seed": self.sampling.seed,
        }

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder")}
        return cls(**{**config, **parts})
