import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

from aelib import layers, losses, metrics, networks, priors
from aelib.models import AdversarialAutoencoder
from tests import fresh_process

FEATURES, LABELS = 6, 3
RATES = 0.02, 0.5, 0.3  # of the autoencoder, the discriminator, and the encoder in the regularization phase


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(64, FEATURES)).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, LABELS, size=64)


def linear(inputs, outputs, name=None):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs, use_bias=False)], name=name)


def fixed_prior(n, latent_dim, labels=None, num_labels=None, seed=None):
    """Without a draw, because XLA draws other numbers from the same seed."""
    z = tf.sin(tf.reshape(tf.range(128.0), (64, 2)))[:n]
    return z if labels is None else z + tf.cast(labels, "float32")[:, None]


def linear_model(num_labels=None, rates=RATES, seed=3, prior=None, **compile_options):
    """Three matrices: what a step does to them can be written down."""
    keras.utils.set_random_seed(0)
    prior = prior or (priors.gaussian_prior if num_labels is None else priors.gaussian_mixture_prior)
    model = AdversarialAutoencoder(
        linear(FEATURES, 2), linear(2, FEATURES), linear(2 + (num_labels or 0), 1), prior, num_labels, seed
    )
    first, second, third = (keras.optimizers.SGD(rate) for rate in rates)
    model.compile(
        first, losses.SumSquaredError(), discriminator_optimizer=second, encoder_optimizer=third, **compile_options
    )
    return model


def softplus(logits):
    return np.logaddexp(0, logits)


class ByHand:
    """The linear model in NumPy, in float64, with the gradients derived by hand."""

    def __init__(self, model):
        parts = (model.encoder, model.decoder, model.discriminator)
        self.encoder, self.decoder, self.discriminator = (part.get_weights()[0].astype("float64") for part in parts)
        self.prior, self.num_labels = model.prior, model.num_labels
        self.seeds, self.evaluation_seeds = (keras.random.SeedGenerator(model.seed + more) for more in (0, 1))

    def draw(self, x, labels, seed):
        if labels is None:
            return np.asarray(self.prior(len(x), 2, seed=seed)), np.zeros((len(x), 0))
        z_prior = self.prior(len(x), 2, labels=labels, num_labels=self.num_labels, seed=seed)
        return np.asarray(z_prior), np.eye(self.num_labels)[labels]

    def losses(self, x, labels=None, weight=1.0):
        z_prior, one_hot = self.draw(x, labels, self.evaluation_seeds)
        z = x @ self.encoder
        logits, prior_logits = (np.hstack([codes, one_hot]) @ self.discriminator for codes in (z, z_prior))
        logits, prior_logits = logits[:, 0], prior_logits[:, 0]
        return {
            "reconstruction": np.mean(weight * np.square(x - z @ self.decoder).sum(axis=1)),
            "discriminator_loss": np.mean(weight * (softplus(-prior_logits) + softplus(logits))) / 2,
            "encoder_loss": np.mean(weight * softplus(-logits)),
            "loss": np.mean(weight * np.square(x - z @ self.decoder).sum(axis=1)),
            "discriminator_accuracy": (np.mean(prior_logits > 0) + np.mean(logits <= 0)) / 2,
        }

    def step(self, x, labels=None, rates=RATES):
        n = len(x)
        z = x @ self.encoder
        residual = x - z @ self.decoder
        before = self.encoder, self.decoder
        self.encoder = before[0] + rates[0] * 2 / n * x.T @ residual @ before[1].T
        self.decoder = before[1] + rates[0] * 2 / n * z.T @ residual
        z_prior, one_hot = self.draw(x, labels, self.seeds)
        seen, seen_prior = np.hstack([x @ self.encoder, one_hot]), np.hstack([z_prior, one_hot])
        slope = seen.T @ expit(seen @ self.discriminator) - seen_prior.T @ expit(-seen_prior @ self.discriminator)
        self.discriminator = self.discriminator - rates[1] * slope / (2 * n)
        of_codes = self.discriminator[:2]
        self.encoder = self.encoder + rates[2] / n * x.T @ expit(-seen @ self.discriminator) @ of_codes.T


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("num_labels", [None, LABELS])
def test_steps_are_those_of_the_two_phases(x, labels, num_labels, jit_compile):
    labels = labels if num_labels else None
    model = linear_model(num_labels, prior=fixed_prior if jit_compile else None, jit_compile=jit_compile)
    expected = ByHand(model)
    for _ in range(3):
        model.train_on_batch(x, labels)
        expected.step(x, labels)
    for name in ("encoder", "decoder", "discriminator"):
        found = getattr(model, name).get_weights()[0]
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("num_labels", [None, LABELS])
def test_losses_and_accuracy_are_logged_under_their_names(x, labels, num_labels):
    labels, weight = labels if num_labels else None, np.random.default_rng(2).uniform(size=64).astype("float32")
    target = x if labels is None else labels
    logged = linear_model(num_labels).evaluate(x, labels, batch_size=64, verbose=0, return_dict=True)
    assert logged == pytest.approx(ByHand(linear_model(num_labels)).losses(x, labels), rel=1e-4)
    weighted = linear_model(num_labels).evaluate(
        x, target, sample_weight=weight, batch_size=64, verbose=0, return_dict=True
    )
    assert weighted == pytest.approx(ByHand(linear_model(num_labels)).losses(x, labels, weight), rel=1e-4)
    model = linear_model(num_labels, rates=(0.0, 0.0, 0.0), seed=4)
    history = model.fit(
        x, target, batch_size=24, epochs=1, validation_data=(x, target), validation_batch_size=40, verbose=0
    ).history
    assert set(history) == {prefix + name for prefix in ("", "val_") for name in logged}
    for prefix in ("", "val_"):  # the last batch is partial, and without learning the mean is that of all
        assert history[prefix + "reconstruction"][0] == pytest.approx(logged["reconstruction"], rel=1e-5)
        assert history[prefix + "encoder_loss"][0] == pytest.approx(logged["encoder_loss"], rel=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_prior_is_drawn_anew_at_every_step(x, jit_compile):
    model = linear_model(rates=(0.0, 0.0, 0.0), jit_compile=jit_compile)
    logged = model.fit(x, batch_size=64, epochs=4, shuffle=False, verbose=0).history
    assert len(set(logged["discriminator_loss"])) == 4
    assert len(set(logged["encoder_loss"])) == 1


def test_what_layers_add_is_counted_once_and_where_it_belongs(x):
    def regularized(inputs, outputs, strength):
        regularizer = keras.regularizers.L2(strength)
        dense = keras.layers.Dense(outputs, use_bias=False, kernel_regularizer=regularizer)
        return keras.Sequential([keras.Input((inputs,)), dense])

    keras.utils.set_random_seed(0)
    model = AdversarialAutoencoder(regularized(FEATURES, 2, 0.7), linear(2, FEATURES), regularized(2, 1, 0.9), seed=3)
    rates = (0.1, 0.2, 0.0)
    first, second, third = (keras.optimizers.SGD(rate) for rate in rates)
    model.compile(first, losses.SumSquaredError(), discriminator_optimizer=second, encoder_optimizer=third)
    plain = linear_model(rates=rates)
    plain.set_weights(model.get_weights())
    before = model.encoder.get_weights()[0], model.discriminator.get_weights()[0]
    logged = [each.train_on_batch(x, return_dict=True)["reconstruction"] for each in (model, plain)]
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)
    difference = plain.encoder.get_weights()[0] - model.encoder.get_weights()[0]
    np.testing.assert_allclose(difference, 0.1 * 2 * 0.7 * before[0], atol=1e-5)
    # The discriminator's own gradient differs a little: it looks at the codes of another encoder.
    difference = plain.discriminator.get_weights()[0] - model.discriminator.get_weights()[0]
    np.testing.assert_allclose(difference, 0.2 * 2 * 0.9 * before[1], atol=0.02)


def test_shared_weights_get_one_update():
    encoder = networks.mlp_encoder(FEATURES, [], 2)
    decoder = keras.Sequential([keras.Input((2,)), layers.DenseTranspose(encoder.layers[0])])
    model = AdversarialAutoencoder(encoder, decoder, linear(2, 1))
    model.compile("sgd", losses.SumSquaredError())
    both, discriminator, only_encoder = model._weights_of_updates()
    assert len({id(weight) for weight in both}) == len(both) == 3
    assert len(discriminator) == 1 and len(only_encoder) == 2


def test_codes_take_the_distribution_of_the_prior():
    rng = np.random.default_rng(0)
    x = (rng.uniform(-1, 1, size=(2000, 2)) @ rng.normal(size=(2, FEATURES))).astype("float32")
    keras.utils.set_random_seed(1)
    discriminator = networks.mlp_encoder(2, [32, 32], 1, activation="tanh", name="discriminator")
    encoder, decoder = networks.mlp_encoder(FEATURES, [32], 2), networks.mlp_decoder(2, [32], FEATURES, "relu", None)
    model = AdversarialAutoencoder(encoder, decoder, discriminator, seed=1)
    adam = keras.optimizers.Adam
    model.compile(
        adam(2e-3), losses.SumSquaredError(), discriminator_optimizer=adam(4e-3), encoder_optimizer=adam(2e-3)
    )
    z_prior = np.asarray(priors.gaussian_prior(500, seed=5))

    def distance():
        return metrics.mmd(model.encode(x[:500]), z_prior, bandwidth=1.5)

    before = distance()
    error = model.fit(x, batch_size=100, epochs=16, verbose=0).history["reconstruction"]
    assert distance() < before / 4  # a sixth at most, with five seeds
    assert error[-1] < error[0] / 10


def test_samples_are_decoded_prior_codes():
    model = linear_model(LABELS)
    wanted = np.array([0, 2, 2, 1])
    z = np.asarray(priors.gaussian_mixture_prior(4, 2, wanted, LABELS, seed=9))
    np.testing.assert_allclose(model.sample(4, labels=wanted, seed=9), model.decode(z), rtol=1e-6)
    assert model.sample(7).shape == (7, FEATURES)
    assert np.abs(model.sample(7) - model.sample(7)).max() > 0
    np.testing.assert_array_equal(model.sample(7, seed=2), model.sample(7, seed=2))
    with pytest.raises(ValueError, match="prior has no labels"):
        linear_model().sample(4, labels=wanted)


def adam_model():
    keras.utils.set_random_seed(0)
    model = AdversarialAutoencoder(
        networks.mlp_encoder(FEATURES, [8], 2),
        networks.mlp_decoder(2, [8], FEATURES),
        networks.mlp_encoder(2 + LABELS, [8], 1, name="discriminator"),
        priors.swiss_roll_prior,
        num_labels=LABELS,
        seed=5,
    )
    decay = keras.optimizers.schedules.CosineDecay(0.02, 100)
    model.compile(
        keras.optimizers.Adam(decay),
        losses.SumSquaredError(),
        discriminator_optimizer=keras.optimizers.Adam(0.03, beta_1=0.5),
        encoder_optimizer=keras.optimizers.RMSprop(0.01),
    )
    return model


def one_more_step(model, x, labels):
    model.seed_generator.state.assign([17, 0])
    model.fit(x, labels, batch_size=64, epochs=1, shuffle=False, verbose=0)


def test_saved_and_trained_elsewhere(x, labels, tmp_path):
    """In a fresh process: the next step is that of the model that was never saved; two devices do as one."""
    model = adam_model()
    model.fit(x, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, labels=labels)
    reconstruction, samples = model.reconstruct(x), model.sample(5, labels=[0, 1, 2, 2, 1], seed=1)
    one_more_step(model, x, labels)
    code = """
import keras
import numpy as np
import tensorflow as tf

from aelib import losses, models

x, labels = np.load("data.npz").values()
model = keras.saving.load_model("model.keras", safe_mode=True)
np.savez("loaded.npz", model.reconstruct(x), model.sample(5, labels=[0, 1, 2, 2, 1], seed=1))
print(type(model).__name__, model.prior.__name__, model.num_labels, model.seed)
print([type(each).__name__ for each in (model.optimizer, model.discriminator_optimizer, model.encoder_optimizer)])
model.seed_generator.state.assign([17, 0])
model.fit(x, labels, batch_size=64, epochs=1, shuffle=False, verbose=0)
np.savez("next.npz", *model.get_weights())


def fixed(n, latent_dim, labels, num_labels, seed):
    return tf.gather(tf.constant([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), labels)


def train(scope):
    with scope:
        start = keras.saving.load_model("model.keras", safe_mode=True)
        start.prior = fixed
        logged = start.fit(x, labels, batch_size=32, epochs=3, shuffle=False, verbose=0).history
    return [*start.get_weights(), *[np.array(values) for values in logged.values()]]


one, two = train(tf.distribute.OneDeviceStrategy("CPU:0").scope()), train(strategy.scope())
print(max(np.abs(a - b).max() for a, b in zip(one, two, strict=True)) < 1e-4)
"""
    printed = fresh_process.run(code, tmp_path)
    assert printed.splitlines() == [
        f"AdversarialAutoencoder swiss_roll_prior {LABELS} 5",
        "['Adam', 'Adam', 'RMSprop']",
        "True",
    ]
    for found, expected in zip(np.load(tmp_path / "loaded.npz").values(), (reconstruction, samples), strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(np.load(tmp_path / "next.npz").values(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_model_that_was_not_compiled_can_be_saved(tmp_path):
    model = AdversarialAutoencoder(linear(FEATURES, 2), linear(2, FEATURES), linear(2, 1))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert not loaded.compiled and loaded.prior is priors.gaussian_prior


def test_parts_that_do_not_fit_are_refused():
    sigmoid = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    image_code = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    for parts, message in [
        ((linear(6, 3), linear(3, 6), linear(3, 1), priors.swiss_roll_prior), "latent_dim must be 2, but it is 3"),
        ((linear(6, 2), linear(2, 6), linear(2, 1), lambda n, *_, **__: tf.zeros((n, 5))), r"\(2, 5\).*the width 2"),
        ((linear(6, 2), linear(2, 6), linear(3, 1)), "must take 2 numbers"),
        ((linear(6, 2), linear(2, 6), linear(2, 2)), "give one"),
        ((linear(6, 2), linear(2, 6), sigmoid), "logit.*'sigmoid'"),
        ((linear(6, 2), linear(2, 6), linear(2, 1), priors.swiss_roll_prior, 10), "12 numbers .2 of the code and 10"),
        ((linear(6, 2), linear(2, 6), linear(12, 1), priors.gaussian_prior, 10), "no parts that labels could choose"),
        ((linear(6, 2), linear(2, 6), linear(2, 1), priors.swiss_roll_prior, 0), "num_labels.*0"),
        ((linear(6, 2), linear(2, 6), keras.Sequential([keras.layers.Dense(1)])), "built discriminator"),
        ((image_code, image_code, linear(16, 1)), "flatten"),
    ]:
        with pytest.raises(ValueError, match=message):
            AdversarialAutoencoder(*parts)
    with pytest.raises(ValueError, match="positive whole number"):
        networks.mlp_encoder(6, [], 0)
    adam = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="an optimizer of its own"):
        AdversarialAutoencoder(linear(6, 2), linear(2, 6), linear(2, 1)).compile(
            "adam", "mse", discriminator_optimizer=adam, encoder_optimizer=adam
        )


def test_labels_that_do_not_fit_are_refused(x, labels):
    for bad, message in [
        (None, "there are no labels"),
        (x, "not float32"),
        (np.eye(LABELS, dtype="int64")[labels], "One-hot"),
    ]:
        with pytest.raises(ValueError, match=message):
            linear_model(LABELS).fit(x, bad, verbose=0)
        with pytest.raises(ValueError, match=message):
            linear_model(LABELS).evaluate(x, bad, verbose=0)
    for wrong in (labels + 1, labels - 1):
        with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to num_labels - 1 = 2"):
            linear_model(LABELS).fit(x, wrong, verbose=0)


def test_labels_of_both_shapes_are_taken_one_after_the_other(x, labels):
    model = linear_model(LABELS, rates=(0.0, 0.0, 0.0))
    first, second = (
        model.test_on_batch(x, each, return_dict=True)["reconstruction"] for each in (labels, labels[:, None])
    )
    assert first == pytest.approx(second, rel=1e-6)


def test_pixels_outside_the_unit_interval_are_refused_where_the_loss_needs_them(x):
    model = AdversarialAutoencoder(linear(FEATURES, 2), linear(2, FEATURES), linear(2, 1))
    model.compile("adam", losses.BernoulliNLL())
    model.fit(x, verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="255"):
        model.fit(255 * x, verbose=0)


# Learning rates


def rates(model):
    optimizers = model.optimizer, model.discriminator_optimizer, model.encoder_optimizer
    return np.array([float(tf.convert_to_tensor(each.learning_rate)) for each in optimizers])


class WarmUp(keras.callbacks.Callback):
    """Raises the rate over the first steps, from 0, with the variable's own `assign`."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate.assign(RATES[0] * batch / 4)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(rates(self.model))


def test_a_warm_up_moves_the_rates_of_all_three_optimizers(x):
    model, warm_up = linear_model(run_eagerly=True), WarmUp()
    model.fit(x, batch_size=16, callbacks=warm_up, verbose=0)
    np.testing.assert_allclose(warm_up.seen, np.outer(np.arange(4) / 4, RATES), rtol=1e-6)


@pytest.mark.parametrize(
    ("callback", "factors"),
    [
        (lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: RATES[0] * [0, 1, 0.1][epoch]), [0, 1, 0.1]),
        (lambda: keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=0, min_delta=1e9), [1, 1, 0.5]),
        (lambda: keras.callbacks.LambdaCallback(), [1, 1, 1]),
    ],
    ids=["scheduler", "plateau", "none"],
)
def test_callbacks_move_the_rates_of_all_three_optimizers(x, callback, factors):
    """And the updates follow: three epochs are three fits with optimizers of those rates."""
    model = linear_model(run_eagerly=True, prior=fixed_prior)
    model.fit(x, batch_size=64, epochs=3, callbacks=[callback()], verbose=0, shuffle=False)
    by_hand = ByHand(linear_model(prior=fixed_prior))
    for factor in factors:
        by_hand.step(x, rates=factor * np.array(RATES))
    for name in ("encoder", "decoder", "discriminator"):
        np.testing.assert_allclose(getattr(model, name).get_weights()[0], getattr(by_hand, name), rtol=1e-4, atol=1e-5)


def test_the_proportion_outlives_several_fits_saving_and_a_rate_of_0(x, tmp_path):
    def scheduled(model, *factors):
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: RATES[0] * factors[epoch])
        model.fit(x, batch_size=64, epochs=len(factors), callbacks=[schedule], verbose=0)
        return rates(model) / RATES

    model = linear_model(run_eagerly=True)
    np.testing.assert_allclose(scheduled(model, 0.5, 0), 0)
    np.testing.assert_allclose(scheduled(model, 0.2), 0.2, rtol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(scheduled(loaded, 1.0, 0.3), 0.3, rtol=1e-6)
    model.discriminator_optimizer.learning_rate = 7.0  # by hand, one alone
    model.fit(x, verbose=0)
    np.testing.assert_allclose(rates(model), (0.2 * RATES[0], 7.0, 0.2 * RATES[2]), rtol=1e-6)


def test_a_list_of_callbacks_that_keras_made_moves_all_three_too(x):
    model = linear_model(run_eagerly=True)
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: RATES[0] / 2)
    made = keras.callbacks.CallbackList([schedule], add_history=True, model=model, epochs=1, steps=1)
    model.fit(x, batch_size=64, callbacks=made, verbose=0)
    np.testing.assert_allclose(rates(model), np.array(RATES) / 2, rtol=1e-6)


def test_a_rate_that_cannot_follow_is_refused(x):
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if rate else 0.1)
    decay = keras.optimizers.schedules.CosineDecay(0.1, 100)
    for given in ((0.1, decay, 0.1), (0.1, 0.1, decay), (0.0, 0.1, 0.1)):
        with pytest.raises(ValueError, match="follow in proportion, but one has a schedule of its own, or the first"):
            linear_model(rates=given, run_eagerly=True).fit(x, callbacks=[halve], verbose=0)
    with pytest.raises(TypeError, match="not settable"):
        linear_model(rates=(decay, 0.1, 0.1), run_eagerly=True).fit(x, callbacks=[halve], verbose=0)
    model = linear_model(rates=(0.1, decay, 0.2), run_eagerly=True)
    model.fit(x, batch_size=32, verbose=0)  # nothing moves the first
    np.testing.assert_allclose(rates(model), (0.1, float(decay(2)), 0.2), rtol=1e-6)


def test_early_stopping_watches_the_reconstruction(x):
    model, best = linear_model(run_eagerly=True), keras.callbacks.EarlyStopping(min_delta=1e9, patience=1)
    history = model.fit(x, batch_size=64, epochs=5, validation_data=(x,), callbacks=[best], verbose=0).history
    assert len(history["val_loss"]) == 2 and history["val_loss"] == history["val_reconstruction"]
    assert history["loss"] == history["reconstruction"]


# Settings of the model and of training


def test_the_loss_has_what_the_layers_add_and_the_reconstruction_has_not(x):
    dense = keras.layers.Dense(2, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.7))
    encoder = keras.Sequential([keras.Input((FEATURES,)), dense])
    model = AdversarialAutoencoder(encoder, linear(2, FEATURES), linear(2, 1))
    model.compile(loss=losses.SumSquaredError(), run_eagerly=True)
    logged = model.evaluate(x, batch_size=64, verbose=0, return_dict=True)
    added = 0.7 * np.square(dense.kernel.numpy()).sum()
    assert logged["loss"] - logged["reconstruction"] == pytest.approx(added, rel=1e-3)


@pytest.mark.parametrize("num_labels", [None, LABELS])
def test_compiled_metrics_compare_with_the_input(x, labels, num_labels):
    metrics = {"metrics": [keras.metrics.MeanSquaredError("mse")]}
    model = linear_model(num_labels, rates=(0.0, 0.0, 0.0), run_eagerly=True, **metrics)
    error = np.square(x - model.reconstruct(x)).mean()
    target = labels if num_labels else None
    assert model.evaluate(x, target, verbose=0, return_dict=True)["mse"] == pytest.approx(error, rel=1e-5)
    logged = model.fit(x, target, validation_data=(x, target), verbose=0).history
    assert logged["mse"][0] == pytest.approx(error, rel=1e-5) and logged["val_mse"][0] == logged["mse"][0]


def test_a_target_other_than_the_input_is_the_reconstructions(x):
    model = linear_model(run_eagerly=True, metrics=[keras.metrics.MeanSquaredError("mse")])
    logged = model.evaluate(x, 1 - x, verbose=0, return_dict=True)
    errors = np.square(1 - x - model.reconstruct(x))
    assert logged["reconstruction"] == pytest.approx(errors.sum(axis=1).mean(), rel=1e-5)
    assert logged["mse"] == pytest.approx(errors.mean(), rel=1e-5)


def test_in_float16_every_gradient_has_the_scale_of_its_own_optimizer(x):
    """A step is that in float32, whatever the three scales are."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = linear_model(prior=fixed_prior, run_eagerly=True)
    finally:
        keras.config.set_dtype_policy("float32")
    optimizers = model.optimizer, model.discriminator_optimizer, model.encoder_optimizer
    assert all(isinstance(each, keras.optimizers.LossScaleOptimizer) for each in optimizers)
    for each, scale in zip(optimizers, (2.0, 64.0, 1024.0), strict=True):
        each.dynamic_scale.assign(scale)
    plain = linear_model(prior=fixed_prior, run_eagerly=True)
    for each in (model, plain):
        each.train_on_batch(x)
    for found, expected in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-3)
    changed = [np.abs(weight - start).max() for weight, start in zip(plain.get_weights(), first_weights(), strict=True)]
    assert min(changed) > 0.01


def first_weights():
    return linear_model().get_weights()
