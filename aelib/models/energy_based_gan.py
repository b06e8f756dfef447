"""The energy-based generative adversarial network."""

import keras
import tensorflow as tf

from aelib import losses
from aelib.layers.sampling import seed_generators
from aelib.models import batches, checks
from aelib.models.autoencoder import PACKAGE, Autoencoder
from aelib.models.several_optimizers import SeveralOptimizers


@keras.saving.register_keras_serializable(package=PACKAGE)
class EnergyBasedGAN(SeveralOptimizers):
    """A generator of images, and an autoencoder as its judge, trained against each other.

    The discriminator is an autoencoder, and an image's energy is the squared error of its reconstruction, summed over
    the features, `D(x) = sum_j (x_j - decoder(encoder(x))_j)^2`. The generator makes images `G(z)` of noise
    `z ~ N(0, I)`. With a batch of `N` images and as many of noise, a training step has two updates:

    1. the discriminator lowers `discriminator_loss = mean_n D(x_n) + mean_n max(0, margin - D(G(z_n)))`, by
       `optimizer`: it rebuilds images, and rebuilds samples badly, until their energy has reached the margin;
    2. the generator lowers `generator_loss = sample_energy + pulling_away * PT` against the new discriminator, with
       `sample_energy = mean_n D(G(z_n))` of the same noise, and the pulling-away term of the samples' codes `s`,
       `PT = 1 / (N (N - 1)) sum_(n != m) (s_n . s_m / (|s_n| |s_m|))^2`, between 0 and 1: the mean squared cosine of
       two samples, small where the codes point in many directions, 1 where all samples are one.

    `fit` and `evaluate` log `energy`, the mean of the images' `D(x_n)`, both losses, `sample_energy`, and PT as
    `pulling_away`, before its weight. `loss` is `energy` and what the discriminator's layers add, so that a callback
    that monitors `val_loss` watches how well images are rebuilt; no number here says how good the samples are.

    Args:
        generator: A built Keras model from noise, shape `(batch, latent_dim)`, to images of the shape of `x`, such as
            `networks.mlp_decoder(latent_dim, [128], 784)`.
        discriminator: A `models.Autoencoder`, new or trained before. It is changed in place.
        margin: The energy up to which the discriminator raises that of samples, in the unit of the energy, squared
            units of the data summed over the features: a number, 0 or more. At 0 it ignores the samples. To change it,
            set `model.margin` and compile again.
        pulling_away: Weight of the pulling-away term, in the unit of the energy; 0 or more.
        seed: Seed of the noise, drawn anew at each step, and the same at every call of `evaluate`; random unless given.
            Its state is not saved. Replicas of a distributed strategy draw the same noise.
        name: The model's name.

    Call arguments:
        inputs: `x`, shape `(batch, ...)`.
        training: Passed on to the discriminator.

    Output shape:
        That of the input: the discriminator's reconstruction.

    Raises:
        ValueError: If the discriminator is no autoencoder, or one with terms of its own in its loss, which would be
            ignored; the generator does not give images that it takes, takes noise of no fixed shape, or shares weights
            with it; or the margin or the weight is not a number, 0 or more.

    Example:

    >>> from aelib import networks
    >>> from aelib.models import Autoencoder
    >>> x = np.random.default_rng(0).uniform(size=(64, 784)).astype("float32")
    >>> judge = Autoencoder(networks.mlp_encoder(784, [64], 8), networks.mlp_decoder(8, [64], 784))
    >>> model = EnergyBasedGAN(networks.mlp_decoder(16, [64], 784), judge, margin=20.0, pulling_away=0.1)
    >>> model.compile("adam", generator_optimizer="adam")
    >>> sorted(model.fit(x, epochs=1, verbose=0).history)
    ['discriminator_loss', 'energy', 'generator_loss', 'loss', 'pulling_away', 'sample_energy']
    >>> model.sample(5).shape, model.energy(x).shape
    ((5, 784), (64,))

    Reference:
        J. Zhao, M. Mathieu and Y. LeCun, "Energy-based generative adversarial network", ICLR 2017, arXiv:1609.03126,
        sections 2.1 to 2.4. The energy there is not squared.
    """

    _parts = ("generator", "discriminator")

    def __init__(self, generator, discriminator, margin, pulling_away=0.0, seed=None, **kwargs):
        checks.check_weight("margin", margin)
        checks.check_weight("pulling_away", pulling_away)
        _check_players(generator, discriminator)
        # State comes first: the base class builds the model, and a built model takes no more.
        self.seed_generator, self.evaluation_seed_generator = seed_generators(seed)
        self.energy_tracker = keras.metrics.Mean(name="energy")
        self.sample_energy_tracker = keras.metrics.Mean(name="sample_energy")
        self.pulling_away_tracker = keras.metrics.Mean(name="pulling_away")
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator_loss")
        self.generator_tracker = keras.metrics.Mean(name="generator_loss")
        self.generator, self.discriminator = generator, discriminator
        super().__init__(discriminator.encoder, discriminator.decoder, discriminator.corruption, **kwargs)
        self.margin = margin
        self.pulling_away = pulling_away
        self.seed = seed
        self._squared_error = losses.SumSquaredError(reduction="none")

    def compile(self, optimizer="adam", loss=None, generator_optimizer="adam", **compile_options):
        """Configures training, with one optimizer for each of the two updates of a step.

        Args:
            optimizer: That of the discriminator.
            loss: Must be `None`: the energy is the squared error, summed over the features.
            generator_optimizer: That of the generator.
            **compile_options: As Keras's `compile`.

        Raises:
            ValueError: If one optimizer object is given twice: each keeps the moments of its own gradients; or if a
                loss is given.
        """
        if loss is not None:
            raise ValueError(
                "The energy of this model is the squared error, summed over the features, in which the margin is "
                "given: leave the loss out."
            )
        super().compile(optimizer=optimizer, **compile_options)
        self._set_optimizers(generator_optimizer=generator_optimizer)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **fit_options):
        """Trains the model as `Autoencoder.fit` does.

        A callback that moves the learning rate of `optimizer`, such as `keras.callbacks.ReduceLROnPlateau`, moves that
        of the generator's in the same proportion, that of `compile`.

        Args:
            x: Inputs, as for `Autoencoder.fit`.
            y: Optional targets of the discriminator's reconstruction of `x`, for those whose target is not the input
                itself.
            batch_size: Number of examples in a batch, 32 unless given, and of samples beside them.
            epochs: Number of epochs.
            verbose: As for `Autoencoder.fit`.
            callbacks: As for Keras's `fit`.
            **fit_options: As for `Autoencoder.fit`. `sample_weight` weighs the energies of the examples; samples, which
                belong to none, have the weight 1.

        Returns:
            Keras's `History`.

        Raises:
            ValueError: As `Autoencoder.fit`; or if a callback moves the learning rate and the other optimizer has a
                schedule, which cannot be moved.
        """
        return super().fit(x, y, batch_size, epochs, verbose, self._with_learning_rates(callbacks), **fit_options)

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        of_discriminator, of_generator = self._weights_of_updates()
        z = self._draw(tf.shape(x)[0], self.seed_generator)

        # The discriminator learns to rebuild images, and not to rebuild samples ...
        samples = self.generator(z, training=True)
        with tf.GradientTape() as tape:
            loss, reconstruction = self._discriminator_loss(x, y, samples, sample_weight, training=True)
            loss = self.optimizer.scale_loss(loss)
        self.optimizer.apply(tape.gradient(loss, of_discriminator), of_discriminator)

        # ... and the generator learns to make samples that it rebuilds.
        with tf.GradientTape() as tape:
            loss = self._generator_loss(self.generator(z, training=True), training=True)
            loss = self.generator_optimizer.scale_loss(loss)
        self.generator_optimizer.apply(tape.gradient(loss, of_generator), of_generator)
        return self.compute_metrics(x, y, reconstruction, sample_weight)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        samples = self.generator(self._draw(tf.shape(x)[0], self.evaluation_seed_generator), training=False)
        _, reconstruction = self._discriminator_loss(x, y, samples, sample_weight, training=False)
        self._generator_loss(samples, training=False)
        return self.compute_metrics(x, y, reconstruction, sample_weight)

    def energy(self, x, batch_size=1024):
        """Returns the energies of inputs, `D(x)`, as a NumPy array, shape `(n,)`: small for what looks like training.

        Args:
            x: Inputs, shape `(n, ...)`.
            batch_size: Number of inputs passed through at once, for the memory's sake.
        """
        x = batches.as_array("The input", x)
        return keras.ops.convert_to_numpy(self._squared_error(x, self.reconstruct(x, batch_size)))

    def sample(self, n, seed=None, batch_size=1024):
        """Returns `n` images that the generator makes of noise as a NumPy array, shape `(n, ...)`.

        Args:
            n: Number of images.
            seed: A whole number gives the same images at every call; new ones unless given.
            batch_size: Number of images made at once, for the memory's sake.
        """
        return batches.in_batches(self.generator, self._draw(n, seed), batch_size)

    def _weights_of_updates(self):
        return self.discriminator.trainable_variables, self.generator.trainable_variables

    def _draw(self, n, seed):
        return keras.random.normal((n, *self.generator.input_shape[1:]), seed=seed)

    def _judge(self, x, training):
        """The codes and the reconstructions of a batch: the discriminator, in its two parts."""
        if self.corruption is not None:
            x = self.corruption(keras.ops.cast(x, self.compute_dtype), training=training)
        codes = self.encoder(x, training=training)
        return codes, self.decoder(codes, training=training)

    def _discriminator_loss(self, x, y, samples, sample_weight, training):
        n = tf.shape(x)[0]
        _, reconstruction = self._judge(x, training)
        energy = batches.mean_over_batch(self._squared_error(x if y is None else y, reconstruction), sample_weight)
        # Now, because the second pass replaces the losses that the layers have recorded.
        added = sum(self.discriminator.losses)
        _, of_samples = self._judge(samples, training)
        hinge = batches.mean_over_batch(tf.nn.relu(self.margin - self._squared_error(samples, of_samples)), None)
        self.energy_tracker.update_state(energy, sample_weight=n)
        self.discriminator_tracker.update_state(energy + hinge, sample_weight=n)
        self._loss_tracker.update_state(energy + added, sample_weight=n)
        return batches.per_replica(energy + hinge + added), reconstruction

    def _generator_loss(self, samples, training):
        n = tf.shape(samples)[0]
        added = sum(self.generator.losses)
        codes, reconstruction = self._judge(samples, training)
        sample_energy = batches.mean_over_batch(self._squared_error(samples, reconstruction), None)
        similarity = _pulling_away(codes)
        loss = sample_energy + self.pulling_away * similarity
        self.sample_energy_tracker.update_state(sample_energy, sample_weight=n)
        self.pulling_away_tracker.update_state(similarity, sample_weight=n)
        self.generator_tracker.update_state(loss, sample_weight=n)
        return batches.per_replica(loss + added)

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "pulling_away": self.pulling_away,
            "seed": self.seed,
        }


def _pulling_away(codes):
    """The mean squared cosine of the codes of two different examples of a batch; 0 for a single one."""
    n = tf.shape(codes)[0]
    directions = tf.math.l2_normalize(tf.cast(tf.reshape(codes, (n, -1)), "float32"), axis=1)
    cosines = tf.matmul(directions, directions, transpose_b=True)
    squares = tf.square(tf.linalg.set_diag(cosines, tf.zeros(n)))
    return tf.math.divide_no_nan(tf.reduce_sum(squares), tf.cast(n * (n - 1), "float32"))


def _check_players(generator, discriminator):
    if not isinstance(discriminator, Autoencoder):
        raise ValueError(
            f"The discriminator must be an autoencoder, models.Autoencoder(encoder, decoder), but it is a "
            f"{type(discriminator).__name__}."
        )
    if type(discriminator).compute_loss is not Autoencoder.compute_loss:
        raise ValueError(
            f"The loss of the discriminator, a {type(discriminator).__name__}, has terms of its own, which the energy "
            "has not: give a plain models.Autoencoder."
        )
    if not getattr(generator, "built", False):
        raise ValueError("Give a built generator: start it with keras.Input, or call it once.")
    if None in generator.input_shape[1:]:
        raise ValueError(f"The generator takes noise of shape {generator.input_shape[1:]}: give every axis a size.")
    if not checks.fits(generator.output_shape, discriminator.encoder.input_shape):
        raise ValueError(
            f"The generator gives images of shape {generator.output_shape[1:]}, but the discriminator takes "
            f"{discriminator.encoder.input_shape[1:]}."
        )
    of_discriminator = {id(weight) for weight in discriminator.weights}
    if shared := [weight.path for weight in generator.weights if id(weight) in of_discriminator]:
        raise ValueError(
            f"The generator shares {', '.join(shared)} with the discriminator, and each would undo the other's "
            "updates: build a network of its own for it."
        )
