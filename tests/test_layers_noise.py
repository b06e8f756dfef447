import keras
import numpy as np
import pytest
from scipy import stats

from aelib import layers, losses, models, networks
from tests.fresh_process import run

NOISES = [layers.MaskingNoise, layers.SaltAndPepperNoise]
SHAPE = (200, 784)


def images():
    return np.random.default_rng(0).uniform(0.1, 0.9, size=SHAPE).astype("float32")


def damage(layer, x):
    return keras.ops.convert_to_numpy(layer(x, training=True))


def assert_share(event, probability):
    """The number of events lies in the binomial interval that holds it in all but one of a million runs."""
    low, high = stats.binom.interval(1 - 1e-6, event.size, probability)
    assert low <= event.sum() <= high


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_masking_sets_the_share_to_zero_and_leaves_the_rest(rate):
    x = images()
    damaged = damage(layers.MaskingNoise(rate, seed=1), x)
    assert_share(damaged == 0, rate)
    np.testing.assert_array_equal(damaged[damaged != 0], x[damaged != 0])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_salt_and_pepper_are_equally_many_and_leave_the_rest(rate):
    x = images()
    damaged = damage(layers.SaltAndPepperNoise(rate, seed=1), x)
    assert_share(damaged == 0, rate / 2)
    assert_share(damaged == 1, rate / 2)
    kept = (damaged != 0) & (damaged != 1)
    np.testing.assert_array_equal(damaged[kept], x[kept])


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_independent_between_features_examples_and_calls(noise):
    layer, rate = noise(0.3, seed=2), 0.3
    first, second = (damage(layer, images()) != images() for _ in range(2))
    assert_share(first & second, rate**2)
    assert_share(first[::2] & first[1::2], rate**2)
    assert_share(first[:, ::2] & first[:, 1::2], rate**2)


@pytest.mark.parametrize("noise", NOISES)
def test_off_outside_training(noise):
    np.testing.assert_array_equal(noise(0.5)(images()), images())
    np.testing.assert_array_equal(noise(0.5)(images(), training=False), images())


@pytest.mark.parametrize("noise", NOISES)
def test_images_with_channels_and_half_precision(noise):
    x = np.full((64, 28, 28, 1), 0.5, dtype="float16")
    damaged = damage(noise(0.3, seed=3, dtype="float16"), x)
    assert damaged.shape == x.shape and damaged.dtype == x.dtype
    assert_share(damaged != x, 0.3)


@pytest.mark.parametrize("noise", NOISES)
def test_seed_repeats_the_noise(noise):
    first, same, other = (damage(noise(0.5, seed=seed), images()) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan"), "0.3", None, True])
def test_bad_rate(noise, rate):
    with pytest.raises(ValueError, match=rf"{noise.__name__}: rate must be a number from 0 .* It is {rate!r}"):
        noise(rate)


class Total(keras.layers.Layer):
    """Sums what passes through over the steps: what the compiled step really fed on."""

    def build(self, input_shape):
        self.total = self.add_weight(shape=input_shape, trainable=False)

    def call(self, inputs):
        self.total.assign_add(inputs)
        return inputs


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("noise", NOISES)
def test_compiled_steps_draw_anew(noise, jit_compile):
    """Over independent steps variances add up; noise that is drawn once would have the number of steps times more."""
    rate, steps = 0.3, 20
    model = keras.Sequential([keras.Input(batch_shape=(50, 40)), noise(rate, seed=6), Total(), keras.layers.Dense(40)])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    x = np.full((50 * steps, 40), 0.5, dtype="float32")
    model.fit(x, x, batch_size=50, verbose=0)
    ones = 0 if noise is layers.MaskingNoise else rate / 2
    mean = 0.5 * (1 - rate) + ones
    variance = 0.25 * (1 - rate) + ones - mean**2
    total = model.layers[-2].total.numpy()
    assert total.mean() == pytest.approx(steps * mean, rel=0.02)
    assert total.var() == pytest.approx(steps * variance, rel=0.2)


def test_denoising_autoencoder_compares_with_the_clean_input():
    """With a decoder that answers 0.5 always, the loss is that of the clean input, whatever the noise."""
    encoder = networks.mlp_encoder(784, [], 4)
    decoder = networks.mlp_decoder(4, [], 784, kernel_initializer="zeros")
    model = models.Autoencoder(encoder, decoder, corruption=layers.MaskingNoise(0.9, seed=7))
    model.compile(keras.optimizers.SGD(0.0), losses.SumSquaredError())
    x = images()
    history = model.fit(x, batch_size=50, verbose=0)
    assert history.history["loss"][0] == pytest.approx(np.square(x - 0.5).sum(axis=1).mean(), rel=1e-4)


def test_fresh_process_loads_the_layers_and_trains_on_two_devices(tmp_path):
    x = images()
    for noise in NOISES:
        model = models.Autoencoder(
            networks.mlp_encoder(784, [], 4), networks.mlp_decoder(4, [], 784), corruption=noise(0.25, seed=8)
        )
        model.compile("sgd", losses.SumSquaredError())
        model.save(tmp_path / f"{noise.__name__}.keras")
        np.save(tmp_path / f"{noise.__name__}.npy", model.reconstruct(x))
        np.save(tmp_path / f"{noise.__name__}_damaged.npy", damage(noise(0.25, seed=8), x))
    np.save(tmp_path / "x.npy", x)
    code = """
from aelib import layers, losses, models, networks

x = np.load("x.npy")
for noise in (layers.MaskingNoise, layers.SaltAndPepperNoise):
    name = noise.__name__
    model = keras.saving.load_model(f"{name}.keras", safe_mode=True)
    assert type(model.corruption) is noise and model.corruption.get_config()["seed"] == 8
    np.testing.assert_allclose(model.reconstruct(x), np.load(f"{name}.npy"), rtol=1e-6)
    np.testing.assert_array_equal(model.corruption(x, training=True), np.load(f"{name}_damaged.npy"))
    with strategy.scope():
        model = models.Autoencoder(
            networks.mlp_encoder(784, [], 4), networks.mlp_decoder(4, [], 784), corruption=noise(0.25)
        )
        model.compile(keras.optimizers.SGD(1e-3), losses.SumSquaredError())
    errors = model.fit(x, batch_size=20, epochs=3, verbose=0).history["loss"]
    assert errors[-1] < errors[0]
    print(name, "ok")
"""
    printed = run(code, tmp_path)
    assert printed.split() == ["MaskingNoise", "ok", "SaltAndPepperNoise", "ok"]
