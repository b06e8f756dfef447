"""The adversarial autoencoder."""

import keras
import tensorflow as tf

from aelib import priors
from aelib.layers.sampling import seed_generators
from aelib.models import batches, checks
from aelib.models.autoencoder import PACKAGE
from aelib.models.several_optimizers import SeveralOptimizers


@keras.saving.register_keras_serializable(package=PACKAGE)
class AdversarialAutoencoder(SeveralOptimizers):
    """An autoencoder whose codes, all together, take the distribution of a prior.

    A discriminator `D` gives a logit for "drawn from the prior, not encoded". A training step has two phases:

    1. reconstruction: the encoder and the decoder lower the loss given to `compile`, `optimizer`'s step;
    2. regularization: first the discriminator lowers
       `discriminator_loss = (mean_n softplus(-D(z_prior_n)) + mean_n softplus(D(z_n))) / 2`, in nats, which is
       `log 2 - JSD(prior, codes)` at best and `log 2 = 0.69` for one that cannot tell; then the encoder lowers
       `encoder_loss = mean_n softplus(-D(z_n))` against the new discriminator.

    `fit` and `evaluate` log `reconstruction`, `discriminator_loss`, `encoder_loss` and `discriminator_accuracy`, the
    share of codes and prior samples that it tells apart, 0.5 for chance. `loss` is what the reconstruction phase
    lowers, `reconstruction` and what the layers add: the three losses add up to nothing, and the other two do not fall
    when training goes well. So a callback that monitors `val_loss` watches the reconstruction.

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
        seed: Seed of the prior's samples, drawn anew at each step, and the same at every call of `evaluate`; random
            unless given. Its state is not saved. Replicas of a distributed strategy draw the same samples.
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

    _parts = ("encoder", "decoder", "discriminator", "prior")

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
        self.seed_generator, self.evaluation_seed_generator = seed_generators(seed)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.discriminator_tracker = keras.metrics.Mean(name="discriminator_loss")
        self.encoder_tracker = keras.metrics.Mean(name="encoder_loss")
        self.accuracy_tracker = keras.metrics.Mean(name="discriminator_accuracy")
        self.discriminator = discriminator
        super().__init__(encoder, decoder, **kwargs)
        self.prior = prior
        self.num_labels = num_labels
        self.seed = seed
        checks.check_discriminator(encoder, discriminator, num_labels)
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
        self._set_optimizers(discriminator_optimizer=discriminator_optimizer, encoder_optimizer=encoder_optimizer)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **fit_options):
        """Trains the model as `Autoencoder.fit` does.

        A callback that moves the learning rate of `optimizer`, such as `keras.callbacks.ReduceLROnPlateau`, moves those
        of the other two in the same proportion, that of `compile`.

        Args:
            x: Inputs, as for `Autoencoder.fit`.
            y: The labels, whole numbers, shape `(n,)`, of a label-conditioned prior, and then needed; otherwise
                optional targets.
            batch_size: Number of examples in a batch, 32 unless given.
            epochs: Number of epochs.
            verbose: As for `Autoencoder.fit`.
            callbacks: As for Keras's `fit`.
            **fit_options: As for `Autoencoder.fit`. With labels, `class_weight` weighs examples by their label.

        Returns:
            Keras's `History`.

        Raises:
            ValueError: As `Autoencoder.fit`; if there are no labels although the prior is label-conditioned; or if a
                callback moves the learning rate and another optimizer has a schedule, which cannot be moved.
        """
        return super().fit(x, y, batch_size, epochs, verbose, self._with_learning_rates(callbacks), **fit_options)

    def _check_class_weight(self, class_weight):
        if self.num_labels is None:
            super()._check_class_weight(class_weight)

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
        z = self.encoder(x, training=False)
        z_prior = self._draw(tf.shape(x)[0], labels, self.evaluation_seed_generator)
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
        z = self._draw(n, labels, seed)
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
        return None if self.num_labels is None else checks.check_labels(y, self.num_labels)

    def _reconstruction_loss(self, x, y, reconstruction, sample_weight, training):
        checks.one_weight_an_example(sample_weight)
        loss = self.compute_loss(x, y, reconstruction, sample_weight, training)
        self._log_reconstruction(loss, sum(self.losses), x)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas, sample_weight=tf.shape(x)[0])
        return loss

    def _discriminator_loss(self, z, z_prior, labels, sample_weight, training):
        n = tf.shape(z)[0]
        halves = tf.concat([tf.cast(z_prior, z.dtype), z], axis=0)
        logits = self._logits(halves, None if labels is None else tf.concat([labels, labels], axis=0), training)
        from_prior = tf.concat([tf.ones(n), tf.zeros(n)], axis=0)
        self.accuracy_tracker.update_state(tf.cast((logits > 0) == (from_prior > 0), "float32"))
        weights = None if sample_weight is None else tf.concat([sample_weight, sample_weight], axis=0)
        loss = _cross_entropy(from_prior, logits, weights)
        self.discriminator_tracker.update_state(loss, sample_weight=n)
        return batches.per_replica(loss + sum(self.discriminator.losses))

    def _encoder_loss(self, z, labels, sample_weight, training):
        logits = self._logits(z, labels, training)
        loss = _cross_entropy(tf.ones_like(logits), logits, sample_weight)
        self.encoder_tracker.update_state(loss, sample_weight=tf.shape(z)[0])
        return batches.per_replica(loss)

    def _logits(self, z, labels, training):
        if labels is not None:
            z = tf.concat([z, tf.one_hot(labels, self.num_labels, dtype=z.dtype)], axis=1)
        return tf.cast(self.discriminator(z, training=training)[:, 0], "float32")

    def get_config(self):
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "seed": self.seed,
        }


def _cross_entropy(truth, logits, sample_weight):
    return batches.mean_over_batch(tf.nn.sigmoid_cross_entropy_with_logits(truth, logits), sample_weight)
