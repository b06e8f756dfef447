"""The contractive autoencoder."""

import keras
import tensorflow as tf

from aelib import jacobian
from aelib.layers.sampling import seed_generators
from aelib.models import batches, checks
from aelib.models.autoencoder import PACKAGE, Autoencoder

PENALTIES = ("closed_form", "exact", "projected", "stochastic")


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
        seed: Seed of the directions or the noise, drawn anew at each step; `evaluate` draws the same at every call.
            Replicas of a distributed strategy draw the same ones, each for its own part of the batch.
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

    _parts = ("encoder", "decoder")

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
        self.seed_generator, self.evaluation_seed_generator = seed_generators(seed)
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction")
        self.contraction_tracker = keras.metrics.Mean(name="contraction")
        super().__init__(encoder, decoder, **kwargs)
        checks.check_weight("contraction_weight", contraction_weight)
        if penalty not in PENALTIES:
            raise ValueError(f"penalty must be one of {', '.join(PENALTIES)}, but it is {penalty!r}.")
        checks.refuse_batch_normalization(encoder)
        self.contraction_weight = contraction_weight
        self.penalty = penalty
        self.num_probes = num_probes
        self.stddev = stddev
        self.seed = seed
        # What the penalty cannot be computed for is refused here, not in the first step of fit.
        tf.function(self._contraction).get_concrete_function(tf.TensorSpec(encoder.input_shape), seed=0)

    def call(self, inputs, training=None):
        z = self.encoder(inputs, training=training)
        reconstruction = self.decoder(z, training=training)
        # For the closed form, which needs no more than the code: to encode again would cost two fifths of a step.
        reconstruction.code = z
        return reconstruction

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        checks.one_weight_an_example(sample_weight)
        # First, because the penalty calls the encoder again, which replaces the losses its layers have recorded.
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        layer_losses = sum(self.losses)
        seed = self.seed_generator if training else self.evaluation_seed_generator
        contraction = self._contraction(x, seed, getattr(y_pred, "code", None))
        contraction = tf.cast(batches.mean_over_batch(contraction, sample_weight), loss.dtype)
        self._log_reconstruction(loss, layer_losses, x)
        self.contraction_tracker.update_state(contraction, sample_weight=tf.shape(x)[0])
        return loss + batches.per_replica(self.contraction_weight * contraction)

    def _contraction(self, x, seed, z=None):
        if self.penalty == "closed_form":
            return jacobian.dense_jacobian_penalty(self.encoder, x, z)
        if self.penalty == "exact":
            return jacobian.jacobian_penalty(self.encoder, x)
        if self.penalty == "projected":
            return jacobian.projected_jacobian_penalty(self.encoder, x, self.num_probes, seed)
        return jacobian.stochastic_contraction_penalty(self.encoder, x, self.stddev, seed) / self.stddev**2

    def get_config(self):
        return {
            **super().get_config(),
            "contraction_weight": self.contraction_weight,
            "penalty": self.penalty,
            "num_probes": self.num_probes,
            "stddev": self.stddev,
            "seed": self.seed,
        }
