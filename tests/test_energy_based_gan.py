"""The energy-based GAN: both players' losses and steps against NumPy, where gradients are finite differences."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import layers, losses, metrics, networks
from aelib.models import Autoencoder, ContractiveAutoencoder, EnergyBasedGAN, VariationalAutoencoder
from tests import fresh_process

FEATURES, LATENT, CODE = 5, 3, 2
RATES = 0.02, 0.05  # of the discriminator and the generator
MARGIN, PULLING_AWAY = 4.0, 3.0


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(16, FEATURES)).astype("float32")


def linear(inputs, outputs, **options):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs, use_bias=False, **options)])


def fixed_noise(n, seed=None):
    """Without a draw, because XLA draws other numbers from the same seed; of a length to give energies about 4."""
    return 2 * tf.sin(tf.reshape(tf.range(48.0), (16, LATENT)))[:n]


def linear_model(rates=RATES, margin=MARGIN, pulling_away=PULLING_AWAY, seed=3, **compile_options):
    """Three matrices, and noise that is known."""
    keras.utils.set_random_seed(0)
    judge = Autoencoder(linear(FEATURES, CODE), linear(CODE, FEATURES))
    model = EnergyBasedGAN(linear(LATENT, FEATURES), judge, margin, pulling_away, seed)
    first, second = (keras.optimizers.SGD(rate) for rate in rates)
    model.compile(first, generator_optimizer=second, **compile_options)
    return model


def with_fixed_noise(model):
    model._draw = fixed_noise
    return model


class ByHand:
    """The linear model in NumPy, in float64: the losses as they are defined, with loops, and their differences."""

    def __init__(self, model):
        parts = model.encoder, model.decoder, model.generator
        self.weights = [part.get_weights()[0].astype("float64") for part in parts]
        self.margin, self.pulling_away = model.margin, model.pulling_away

    def energies(self, x, weights):
        return np.square(x - x @ weights[0] @ weights[1]).sum(axis=1)

    def losses(self, x, z, weights=None, sample_weight=1.0):
        weights = self.weights if weights is None else weights
        samples = z @ weights[2]
        energies, sample_energies = self.energies(x, weights), self.energies(samples, weights)
        codes = samples @ weights[0]
        squares = [(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) ** 2 for a, b in itertools.permutations(codes, 2)]
        energy, sample_energy, pulling_away = (
            np.mean(sample_weight * energies),
            sample_energies.mean(),
            np.mean(squares),
        )
        hinges = [max(0.0, self.margin - each) for each in sample_energies]
        return {
            "energy": energy,
            "sample_energy": sample_energy,
            "pulling_away": pulling_away,
            "discriminator_loss": energy + np.mean(hinges),
            "generator_loss": sample_energy + self.pulling_away * pulling_away,
            "loss": energy,
        }

    def gradient(self, name, index, x, z, step=1e-5):
        gradient = np.zeros_like(self.weights[index])
        for place in np.ndindex(gradient.shape):
            changed = [[weight.copy() for weight in self.weights] for _ in range(2)]
            for weights, sign in zip(changed, (1, -1), strict=True):
                weights[index][place] += sign * step
            up, down = (self.losses(x, z, weights)[name] for weights in changed)
            gradient[place] = (up - down) / (2 * step)
        return gradient

    def step(self, x, z, rates=RATES):
        of_discriminator = [self.gradient("discriminator_loss", index, x, z) for index in (0, 1)]
        for index in (0, 1):
            self.weights[index] = self.weights[index] - rates[0] * of_discriminator[index]
        self.weights[2] = self.weights[2] - rates[1] * self.gradient("generator_loss", 2, x, z)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_steps_are_those_of_the_two_players(x, jit_compile):
    model = with_fixed_noise(linear_model(jit_compile=jit_compile))
    z, expected, start = fixed_noise(16).numpy(), ByHand(model), ByHand(model)
    beyond = expected.energies(z @ expected.weights[2], expected.weights) > MARGIN
    assert 2 < beyond.sum() < 14  # the hinge is open for some samples and closed for others
    for _ in range(3):
        model.train_on_batch(x)
        expected.step(x, z)
    for index, part in enumerate((model.encoder, model.decoder, model.generator)):
        np.testing.assert_allclose(part.get_weights()[0], expected.weights[index], rtol=1e-3, atol=1e-4)
        assert np.abs(expected.weights[index] - start.weights[index]).max() > 0.02


@pytest.mark.parametrize("pulling_away", [0.0, 3.0])
@pytest.mark.parametrize("margin", [0.0, 4.0, 1e6])
def test_losses_and_energies_are_logged_under_their_names(x, margin, pulling_away):
    model = with_fixed_noise(linear_model(margin=margin, pulling_away=pulling_away))
    expected, z = ByHand(model), fixed_noise(16).numpy()
    logged = model.evaluate(x, verbose=0, return_dict=True)
    assert logged == pytest.approx(expected.losses(x, z), rel=1e-4)
    weights = np.random.default_rng(2).uniform(size=16).astype("float32")
    logged = model.evaluate(x, sample_weight=weights, verbose=0, return_dict=True)
    assert logged == pytest.approx(expected.losses(x, z, sample_weight=weights), rel=1e-4)
    logged = model.evaluate(x, 1 - x, verbose=0, return_dict=True)
    errors = np.square(1 - x - model.reconstruct(x)).sum(axis=1)
    assert logged["energy"] == pytest.approx(errors.mean(), rel=1e-4)


def test_validation_and_partial_batches_are_means_of_all_examples(x):
    model = linear_model(rates=(0.0, 0.0))
    expected = ByHand(model).losses(x, np.zeros((16, LATENT)) + 1)
    options = {"validation_data": (x,), "validation_batch_size": 5}
    logged = model.fit(x, batch_size=6, epochs=2, verbose=0, **options).history
    names = {"energy", "sample_energy", "pulling_away", "discriminator_loss", "generator_loss", "loss"}
    assert set(logged) == {prefix + name for prefix in ("", "val_") for name in names}
    for prefix in ("", "val_"):
        for epoch in range(2):
            assert logged[prefix + "energy"][epoch] == pytest.approx(expected["energy"], rel=1e-5)
            terms = logged[prefix + "sample_energy"][epoch] + PULLING_AWAY * logged[prefix + "pulling_away"][epoch]
            assert logged[prefix + "generator_loss"][epoch] == pytest.approx(terms, rel=1e-5)
    assert len(set(logged["sample_energy"])) == 2 and len(set(logged["val_sample_energy"])) == 1  # drawn anew


def test_the_generators_update_leaves_the_discriminator_alone_and_the_other_way_round(x):
    for rates, moved in (((0.0, 0.5), [False, False, True]), ((0.5, 0.0), [True, True, False])):
        model = linear_model(rates=rates)
        before = ByHand(model).weights
        model.fit(x, verbose=0)
        after = ByHand(model).weights
        assert [np.abs(a - b).max() > 1e-3 for a, b in zip(after, before, strict=True)] == moved


def test_at_margin_0_the_discriminator_is_a_plain_autoencoder(x):
    model, plain = linear_model(margin=0.0), Autoencoder(linear(FEATURES, CODE), linear(CODE, FEATURES))
    plain.set_weights([*model.encoder.get_weights(), *model.decoder.get_weights()])
    plain.compile(keras.optimizers.SGD(RATES[0]), losses.SumSquaredError())
    for each in (model, plain):
        each.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.reconstruct(x), plain.reconstruct(x), rtol=1e-4, atol=1e-5)


def pulling_away_of(codes):
    """What is logged for a generator that makes these, judged by an encoder that keeps them."""
    identity = {"kernel_initializer": keras.initializers.Identity()}
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
    model = EnergyBasedGAN(generator, Autoencoder(linear(2, 2, **identity), linear(2, 2, **identity)), 1.0)
    model.compile(run_eagerly=True)
    model._draw = lambda n, seed: tf.constant(codes, "float32")
    return model.evaluate(np.zeros((len(codes), 2)), verbose=0, return_dict=True)["pulling_away"]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([[1, 2], [1, 2], [2, 4], [-1, -2]], 1.0),  # one direction, either sign, any length
        ([[3, 0], [0, 0.1]], 0.0),
        ([[1, 0], [0, 1], [1, 1]], (0 + 1 / 2 + 1 / 2) / 3),
        ([[1, 0], [1, 0], [0, 0]], 1 / 3),  # a code of 0 has no direction
        ([[1, 2]], 0.0),  # nor does one sample have a pair
    ],
)
def test_the_pulling_away_term_is_the_mean_squared_cosine_of_pairs(codes, expected):
    assert pulling_away_of(codes) == pytest.approx(expected, abs=1e-6)


def test_the_pulling_away_term_spreads_the_codes(x):
    """With the energies' part taken away by a discriminator that rebuilds everything."""
    identity = {"kernel_initializer": keras.initializers.Identity()}
    shares = {}
    for weight in (0.0, 1.0):
        keras.utils.set_random_seed(1)
        judge = Autoencoder(linear(3, 3, **identity), linear(3, 3, **identity))
        generator = networks.mlp_decoder(LATENT, [], 3, output_activation=None)
        generator.set_weights([0.1 * generator.get_weights()[0], np.array([2.0, 1.0, 1.0])])
        model = EnergyBasedGAN(generator, judge, 0.0, weight, seed=1)
        model.compile(keras.optimizers.SGD(0.0), generator_optimizer=keras.optimizers.SGD(0.3))
        logged = model.fit(x[:, :3], batch_size=16, epochs=60, verbose=0).history["pulling_away"]
        shares[weight] = logged[0], logged[-1]
    assert min(shares[0.0]) > 0.9
    assert shares[1.0][0] > 0.9 and shares[1.0][1] < 0.5


def test_codes_that_are_maps_are_taken_whole():
    """And an image of any size: the generator's has one."""
    conv = keras.layers.Conv2D
    encoder = keras.Sequential([keras.Input((None, None, 1)), conv(2, 3, 2, padding="same")])
    decoder = keras.Sequential([keras.Input((None, None, 2)), keras.layers.UpSampling2D(), conv(1, 3, padding="same")])
    generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    model = EnergyBasedGAN(generator, Autoencoder(encoder, decoder), 1.0, 0.1, seed=0)
    model.compile(run_eagerly=True)
    for shape in ((3, 4, 4, 1), (3, 6, 2, 1)):
        images = np.random.default_rng(0).uniform(size=shape).astype("float32")
        model.fit(images, verbose=0)
        errors = np.square(images - model.reconstruct(images)).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(model.energy(images), errors, rtol=1e-5)
    z = model._draw(3, seed=1)
    codes = model.encode(model.generator(z)).reshape(3, -1)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    expected = np.mean([(a @ b) ** 2 for a, b in itertools.permutations(codes, 2)])
    model._draw = lambda n, seed: z
    logged = model.evaluate(images, verbose=0, return_dict=True)
    assert logged["pulling_away"] == pytest.approx(expected, rel=1e-4)


def test_what_layers_add_is_counted_once_and_where_it_belongs(x):
    def regularized(inputs, outputs, strength):
        return linear(inputs, outputs, kernel_regularizer=keras.regularizers.L2(strength))

    keras.utils.set_random_seed(0)
    judge = Autoencoder(regularized(FEATURES, CODE, 0.7), linear(CODE, FEATURES))
    model = EnergyBasedGAN(regularized(LATENT, FEATURES, 0.9), judge, MARGIN, seed=3)
    plain = linear_model(pulling_away=0.0)
    plain.set_weights(model.get_weights())
    model.compile(keras.optimizers.SGD(0.1), generator_optimizer=keras.optimizers.SGD(0.0))
    plain.compile(keras.optimizers.SGD(0.1), generator_optimizer=keras.optimizers.SGD(0.0))
    kernels = model.encoder.get_weights()[0], model.generator.get_weights()[0]
    logged = [each.train_on_batch(x, return_dict=True) for each in (model, plain)]
    for name in ("energy", "discriminator_loss"):
        assert logged[0][name] == pytest.approx(logged[1][name], rel=1e-5)
    assert logged[0]["loss"] - logged[0]["energy"] == pytest.approx(0.7 * np.square(kernels[0]).sum(), rel=1e-4)
    difference = plain.encoder.get_weights()[0] - model.encoder.get_weights()[0]
    np.testing.assert_allclose(difference, 0.1 * 2 * 0.7 * kernels[0], atol=1e-5)
    plain.set_weights(model.get_weights())
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(0.0), generator_optimizer=keras.optimizers.SGD(0.1))
        each.seed_generator.state.assign([5, 0])
        each.train_on_batch(x)
    difference = plain.generator.get_weights()[0] - model.generator.get_weights()[0]
    np.testing.assert_allclose(difference, 0.1 * 2 * 0.9 * kernels[1], atol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class PlusOne(keras.layers.Layer):
    def call(self, inputs, training=None):
        return inputs + 1 if training else inputs


def test_the_discriminators_corruption_works_in_training_for_images_and_samples(x):
    judge = Autoencoder(linear(FEATURES, CODE), linear(CODE, FEATURES), PlusOne())
    model = with_fixed_noise(EnergyBasedGAN(linear(LATENT, FEATURES), judge, 0.0))
    frozen = keras.optimizers.SGD
    model.compile(frozen(0.0), generator_optimizer=frozen(0.0))
    logged = model.fit(x, batch_size=16, validation_data=(x,), verbose=0).history
    samples = model.generator(fixed_noise(16)).numpy()
    for images, name in ((x, "energy"), (samples, "sample_energy")):
        corrupted = np.square(images - model.reconstruct(images + 1)).sum(axis=1).mean()
        assert logged[name][0] == pytest.approx(corrupted, rel=1e-4)
        assert logged[f"val_{name}"][0] == pytest.approx(model.energy(images).mean(), rel=1e-4)


def test_energies_are_squared_errors_and_samples_are_what_the_generator_makes(x):
    model = linear_model()
    expected = metrics.squared_error_per_image(x, model.reconstruct(x))
    np.testing.assert_allclose(model.energy(x), expected, rtol=1e-5)
    np.testing.assert_allclose(model.energy(x.tolist(), batch_size=5), expected, rtol=1e-5)
    z = keras.random.normal((4, LATENT), seed=9)
    np.testing.assert_allclose(model.sample(4, seed=9), model.generator(z), rtol=1e-6)
    np.testing.assert_allclose(model.sample(4, seed=9, batch_size=3), model.generator(z), rtol=1e-5)
    assert np.abs(model.sample(4) - model.sample(4)).max() > 0
    with pytest.raises(ValueError, match=r"shape \(n, 5\) with n at least 1, not \(16, 4\)"):
        model.energy(x[:, :4])


def test_samples_come_to_lie_where_the_images_are():
    """On a ring in the plane, around which nothing else does."""
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("float32")
    keras.utils.set_random_seed(1)
    judge = Autoencoder(networks.mlp_encoder(2, [64], 1), networks.mlp_decoder(1, [64], 2, output_activation=None))
    model = EnergyBasedGAN(networks.mlp_decoder(2, [64], 2, output_activation=None), judge, 0.5, seed=1)
    adam = keras.optimizers.Adam
    model.compile(adam(2e-3, beta_1=0.5), generator_optimizer=adam(2e-3, beta_1=0.5))
    before = metrics.mmd(model.sample(500, seed=2), x[:500], bandwidth=0.5)
    model.fit(x, batch_size=100, epochs=30, verbose=0)
    assert metrics.mmd(model.sample(500, seed=2), x[:500], bandwidth=0.5) < before / 3


def adam_model():
    keras.utils.set_random_seed(0)
    judge = Autoencoder(networks.mlp_encoder(FEATURES, [8], 2), networks.mlp_decoder(2, [8], FEATURES))
    judge.compile("adam", "mse")  # as one that was trained before
    model = EnergyBasedGAN(networks.mlp_decoder(LATENT, [8], FEATURES), judge, 2.0, 0.5, seed=5)
    decay = keras.optimizers.schedules.CosineDecay(0.02, 100)
    model.compile(keras.optimizers.Adam(decay), generator_optimizer=keras.optimizers.RMSprop(0.01))
    return model


def test_saved_and_trained_elsewhere(x, tmp_path):
    """In a fresh process: the next step is that of the model that was never saved; two devices do as one."""
    model = adam_model()
    model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    expected = model.reconstruct(x), model.energy(x), model.sample(5, seed=1)
    model.seed_generator.state.assign([17, 0])
    model.fit(x, batch_size=16, epochs=1, shuffle=False, verbose=0)
    code = """
x = np.load("x.npy")
model = keras.saving.load_model("model.keras", safe_mode=True)
np.savez("loaded.npz", model.reconstruct(x), model.energy(x), model.sample(5, seed=1))
print(type(model).__name__, model.margin, model.pulling_away, model.seed, model.discriminator.encoder is model.encoder)
print([type(each).__name__ for each in (model.optimizer, model.generator_optimizer)])
model.seed_generator.state.assign([17, 0])
model.fit(x, batch_size=16, epochs=1, shuffle=False, verbose=0)
np.savez("next.npz", *model.get_weights())


def train(scope):
    with scope:
        start = keras.saving.load_model("model.keras", safe_mode=True)
        start.pulling_away = 0.0  # a mean over pairs of a replica's own samples
        start._draw = lambda n, seed: tf.repeat(tf.constant([[1.0, -1.0, 0.5], [0.3, 2.0, -1.0]]), n // 2, axis=0)
        start.compile(start.optimizer, generator_optimizer=start.generator_optimizer)
        logged = start.fit(x, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    del logged["pulling_away"]
    return [*start.get_weights(), *[np.array(values) for values in logged.values()]]


one, two = train(tf.distribute.OneDeviceStrategy("CPU:0").scope()), train(strategy.scope())
print(max(np.abs(a - b).max() for a, b in zip(one, two, strict=True)) < 1e-4)
"""
    printed = fresh_process.run(code, tmp_path)
    assert printed.splitlines() == ["EnergyBasedGAN 2.0 0.5 5 True", "['Adam', 'RMSprop']", "True"]
    for found, wanted in zip(np.load(tmp_path / "loaded.npz").values(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(np.load(tmp_path / "next.npz").values(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_model_that_was_not_compiled_can_be_saved(tmp_path):
    judge = Autoencoder(linear(FEATURES, CODE), linear(CODE, FEATURES), layers.MaskingNoise(0.3, seed=1))
    EnergyBasedGAN(linear(LATENT, FEATURES), judge, 1.0).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert not loaded.compiled and loaded.corruption is loaded.discriminator.corruption
    assert loaded.corruption.rate == 0.3


def test_what_does_not_fit_is_refused():
    def judge(inputs=FEATURES):
        return Autoencoder(linear(inputs, CODE), linear(CODE, inputs))

    pair = linear(FEATURES, CODE), linear(CODE, FEATURES)
    steps = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(FEATURES)])
    shared = judge()
    for arguments, message in [
        ((linear(3, 5), pair[0], 1.0), r"must be an autoencoder, models.Autoencoder\(encoder, decoder\), .*Sequential"),
        ((linear(3, 5), ContractiveAutoencoder(*pair, 0.1), 1.0), "a ContractiveAutoencoder, has terms of its own"),
        ((linear(3, 5), VariationalAutoencoder(linear(5, 4), linear(2, 5)), 1.0), "Variational.* terms of its own"),
        ((linear(3, 5), judge(4), 1.0), r"images of shape \(5,\), but the discriminator takes \(4,\)"),
        ((keras.Sequential([keras.layers.Dense(5)]), judge(), 1.0), "built generator"),
        ((steps, judge(), 1.0), r"noise of shape \(None, 2\): give every axis a size"),
        ((shared.decoder, shared, 1.0), "The generator shares .*kernel with the discriminator"),
        ((linear(3, 5), judge(), -1.0), "margin must be a number, 0 or more, but it is -1.0"),
        ((linear(3, 5), judge(), float("inf")), "margin must be a number"),
        ((linear(3, 5), judge(), None), "margin must be a number"),
        ((linear(3, 5), judge(), 1.0, -0.1), "pulling_away must be a number, 0 or more, but it is -0.1"),
    ]:
        with pytest.raises(ValueError, match=message):
            EnergyBasedGAN(*arguments)
    adam = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="an optimizer of its own"):
        EnergyBasedGAN(linear(3, 5), judge(), 1.0).compile(adam, generator_optimizer=adam)
    with pytest.raises(ValueError, match="leave the loss out"):
        EnergyBasedGAN(linear(3, 5), judge(), 1.0).compile("adam", "mse")


def test_targets_that_are_labels_are_refused(x):
    with pytest.raises(ValueError, match="shape"):
        linear_model(run_eagerly=True).fit(x, np.arange(16), verbose=0)


# Learning rates, metrics, precision


def rates(model):
    optimizers = model.optimizer, model.generator_optimizer
    return np.array([float(tf.convert_to_tensor(each.learning_rate)) for each in optimizers])


def test_callbacks_move_the_rates_of_both_optimizers(x):
    model = linear_model(run_eagerly=True)
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: RATES[0] / 2)
    model.fit(x, callbacks=[halve], verbose=0)
    np.testing.assert_allclose(rates(model), np.array(RATES) / 2, rtol=1e-6)
    model = linear_model(run_eagerly=True)
    made = keras.callbacks.CallbackList([halve], add_history=True, model=model, epochs=1, steps=1)
    model.fit(x, callbacks=made, verbose=0)
    np.testing.assert_allclose(rates(model), np.array(RATES) / 2, rtol=1e-6)
    decay = keras.optimizers.schedules.CosineDecay(0.1, 100)
    with pytest.raises(ValueError, match="follow in proportion"):
        linear_model(rates=(0.1, decay), run_eagerly=True).fit(x, callbacks=[halve], verbose=0)


def test_the_margin_of_the_next_compile_counts(x):
    model = with_fixed_noise(linear_model(rates=(0.0, 0.0)))
    first = model.evaluate(x, verbose=0, return_dict=True)["discriminator_loss"]
    model.margin = 10.0
    model.compile(keras.optimizers.SGD(0.0), generator_optimizer=keras.optimizers.SGD(0.0))
    second = model.evaluate(x, verbose=0, return_dict=True)["discriminator_loss"]
    assert second == pytest.approx(ByHand(model).losses(x, fixed_noise(16).numpy())["discriminator_loss"], rel=1e-4)
    assert second > first + 1


def test_early_stopping_watches_the_energy_of_images(x):
    best = keras.callbacks.EarlyStopping(min_delta=1e9, patience=1)
    metric = keras.metrics.MeanSquaredError("mse")
    model = linear_model(run_eagerly=True, metrics=[metric])
    logged = model.fit(x, epochs=5, validation_data=(x,), callbacks=[best], verbose=0).history
    assert len(logged["val_loss"]) == 2 and logged["val_loss"] == logged["val_energy"]
    assert logged["val_mse"][-1] == pytest.approx(logged["val_energy"][-1] / FEATURES, rel=1e-5)


def test_in_float16_every_gradient_has_the_scale_of_its_own_optimizer(x):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = with_fixed_noise(linear_model(run_eagerly=True))
    finally:
        keras.config.set_dtype_policy("float32")
    optimizers = model.optimizer, model.generator_optimizer
    assert all(isinstance(each, keras.optimizers.LossScaleOptimizer) for each in optimizers)
    for each, scale in zip(optimizers, (2.0, 1024.0), strict=True):
        each.dynamic_scale.assign(scale)
    plain = with_fixed_noise(linear_model(run_eagerly=True))
    start = plain.get_weights()
    for each in (model, plain):
        each.train_on_batch(x)
    for found, expected, before in zip(model.get_weights(), plain.get_weights(), start, strict=True):
        np.testing.assert_allclose(found, expected, atol=5e-3)
        assert np.abs(expected - before).max() > 0.01
