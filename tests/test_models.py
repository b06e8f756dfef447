import keras
import numpy as np
import pytest
from keras import ops

from aelib import layers, losses, metrics, networks, priors
from aelib.models import (
    AdversarialAutoencoder,
    Autoencoder,
    ContractiveAutoencoder,
    EnergyBasedGAN,
    VariationalAutoencoder,
)
from tests import fresh_process


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(96, 20)).astype("float32")


def small_autoencoder(corruption=None, seed=0, **compile_options):
    keras.utils.set_random_seed(seed)
    encoder, decoder = networks.mlp_encoder(20, [12], 4), networks.mlp_decoder(4, [12], 20)
    model = Autoencoder(encoder, decoder, corruption)
    model.compile(optimizer=keras.optimizers.SGD(1e-2), loss=losses.SumSquaredError(), **compile_options)
    return model


@keras.saving.register_keras_serializable(package="tests")
class Blank(keras.layers.Layer):
    """A corruption that leaves nothing of the image."""

    def call(self, inputs, training=None):
        return ops.zeros_like(inputs) if training else inputs


def by_hand(model, x):
    """The reconstruction, computed with NumPy from the weights."""
    w1, b1, w2, b2, w3, b3, w4, b4 = model.get_weights()
    hidden = np.maximum(x @ w1 + b1, 0)
    hidden = np.maximum((hidden @ w2 + b2) @ w3 + b3, 0)
    return 1 / (1 + np.exp(-(hidden @ w4 + b4)))


def test_output_is_that_of_its_formula(x):
    model = small_autoencoder()
    expected = by_hand(model, x)
    np.testing.assert_allclose(ops.convert_to_numpy(model(x)), expected, atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(x), expected, atol=1e-6)
    np.testing.assert_allclose(model.decode(model.encode(x)), expected, atol=1e-6)


def test_one_step_follows_the_analytic_gradient(x):
    """A linear autoencoder's gradient in closed form: dL/dW_d = -2/N Z^T (X - R), dL/dW_e = -2/N X^T (X - R) W_d^T."""
    encoder = networks.mlp_encoder(20, [], 4)
    decoder = networks.mlp_decoder(4, [], 20, output_activation=None)
    w_e, w_d = encoder.get_weights()[0], decoder.get_weights()[0]
    model = Autoencoder(encoder, decoder)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=losses.SumSquaredError())
    model.fit(x, batch_size=len(x), epochs=1, verbose=0)
    residual = x - x @ w_e @ w_d
    expected_d = w_d + 0.1 * 2 / len(x) * (x @ w_e).T @ residual
    expected_e = w_e + 0.1 * 2 / len(x) * x.T @ residual @ w_d.T
    np.testing.assert_allclose(decoder.get_weights()[0], expected_d, atol=1e-5)
    np.testing.assert_allclose(encoder.get_weights()[0], expected_e, atol=1e-5)


def test_loss_logged_is_the_error_per_image(x):
    model = small_autoencoder()
    before = metrics.squared_error_per_image(x, model.reconstruct(x)).mean()
    history = model.fit(x, batch_size=len(x), epochs=1, validation_data=(x, x), verbose=0).history
    after = metrics.squared_error_per_image(x, model.reconstruct(x)).mean()
    assert history["loss"][0] == pytest.approx(before, rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(after, rel=1e-5)
    assert model.evaluate(x, batch_size=40, verbose=0) == pytest.approx(after, rel=1e-5)
    assert after < before


def test_target_may_be_given_or_left_out(x):
    without, given = small_autoencoder(), small_autoencoder()
    without.fit(x, epochs=2, batch_size=32, shuffle=False, verbose=0)
    given.fit(x, x, epochs=2, batch_size=32, shuffle=False, verbose=0)
    for a, b in zip(without.get_weights(), given.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_metrics_compare_with_the_input(x):
    model = small_autoencoder(metrics=[keras.metrics.MeanSquaredError(name="mse")])
    logged = model.evaluate(x, verbose=0, return_dict=True)
    assert logged["mse"] * 20 == pytest.approx(logged["loss"], rel=1e-5)


def test_corrupts_the_input_but_not_the_target_and_only_in_training(x):
    model = small_autoencoder(Blank())
    blank = by_hand(model, np.zeros_like(x))
    corrupted = metrics.squared_error_per_image(x, blank).mean()
    clean = metrics.squared_error_per_image(x, by_hand(model, x)).mean()
    assert abs(corrupted - clean) > 1e-3
    assert model.evaluate(x, verbose=0) == pytest.approx(clean, rel=1e-5)
    assert model.train_on_batch(x) == pytest.approx(corrupted, rel=1e-5)
    np.testing.assert_allclose(model.reconstruct(x), by_hand(model, x), atol=1e-6)


def test_corruption_is_drawn_anew_for_each_example_and_step(x):
    model = small_autoencoder(keras.layers.GaussianNoise(0.5, seed=0))
    same = np.tile(x[:1], (8, 1))
    first, second = (ops.convert_to_numpy(model(same, training=True)) for _ in range(2))
    assert np.abs(first - first[:1]).max(axis=1)[1:].min() > 1e-4
    assert np.abs(first - second).max(axis=1).min() > 1e-4


def test_compiled_by_xla_gives_the_same_weights(x):
    plain, compiled = small_autoencoder(jit_compile=False), small_autoencoder(jit_compile=True)
    for model in (plain, compiled):
        model.fit(x, batch_size=40, epochs=3, shuffle=False, verbose=0)  # the last batch of an epoch is partial
    for a, b in zip(plain.get_weights(), compiled.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_encoding_in_batches_is_encoding_at_once(x):
    model = small_autoencoder()
    np.testing.assert_allclose(model.encode(x, batch_size=7), model.encode(x), atol=1e-6)


def test_saved_and_trained_elsewhere(x, tmp_path):
    """In a fresh process: a loaded model gives the same numbers and goes on training; two devices do as one."""
    model = small_autoencoder(keras.layers.GaussianNoise(0.1))
    model.fit(x, batch_size=48, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    one_device = small_autoencoder()
    one_device.save(tmp_path / "start.keras")
    one_device.fit(x, batch_size=48, epochs=3, shuffle=False, verbose=0)
    code = """
from aelib import models

x = np.load("x.npy")
model = keras.saving.load_model("model.keras", safe_mode=True)
np.save("reconstruction.npy", model.reconstruct(x))
print(type(model).__name__, type(model.corruption).__name__, model.corruption.stddev)
model.fit(x, epochs=1, verbose=0)
with strategy.scope():
    start = keras.saving.load_model("start.keras", safe_mode=True)
start.fit(x, batch_size=48, epochs=3, shuffle=False, verbose=0)
np.savez("two_devices.npz", *start.get_weights())
"""
    printed = fresh_process.run(code, tmp_path)
    assert printed.split() == ["Autoencoder", "GaussianNoise", "0.1"]
    np.testing.assert_array_equal(np.load(tmp_path / "reconstruction.npy"), model.reconstruct(x))
    two_devices = np.load(tmp_path / "two_devices.npz").values()
    for one, two in zip(one_device.get_weights(), two_devices, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)


def test_parts_that_do_not_fit_are_refused():
    encoder = networks.mlp_encoder(20, [], 4)
    with pytest.raises(ValueError, match="the decoder takes"):
        Autoencoder(encoder, networks.mlp_decoder(5, [], 20))
    with pytest.raises(ValueError, match="gives back"):
        Autoencoder(encoder, networks.mlp_decoder(4, [], 21))
    with pytest.raises(ValueError, match="built models"):
        Autoencoder(keras.Sequential([keras.layers.Dense(4)]), networks.mlp_decoder(4, [], 20))


@pytest.mark.parametrize("bad", [np.zeros((3, 19)), np.zeros(20), np.zeros((0, 20))], ids=str)
def test_arrays_of_another_shape_are_refused(bad):
    with pytest.raises(ValueError, match=r"takes an array of shape \(n, 20\)"):
        small_autoencoder().encode(bad)


def dense_decoder():
    return networks.mlp_decoder(2, [12], 20, output_activation=None)


CLASSES = ["plain", "contractive", "variational", "adversarial", "energy-based"]


def variants(encoder=lambda width: networks.mlp_encoder(20, [12], width), decoder=dense_decoder):
    """A model of each class, with settings that are not the defaults."""
    discriminator = networks.mlp_encoder(2 + 3, [], 1)
    generator, judge = networks.mlp_decoder(3, [], 20), Autoencoder(encoder(2), decoder())
    return [
        Autoencoder(encoder(2), decoder(), corruption=layers.MaskingNoise(0.3, seed=1), name="a"),
        ContractiveAutoencoder(encoder(2), decoder(), 0.7, "projected", num_probes=3, stddev=0.4, seed=5, name="b"),
        VariationalAutoencoder(encoder(4), decoder(), kl_weight=0.3, output_activation="tanh", seed=6, name="c"),
        AdversarialAutoencoder(
            encoder(2), decoder(), discriminator, priors.gaussian_mixture_prior, num_labels=3, seed=7, name="d"
        ),
        EnergyBasedGAN(generator, judge, margin=2.0, pulling_away=0.7, seed=8, name="e"),
    ]


def encoder_with_dropout(width):
    """Gives something else in training, even for the same batch."""
    dense = [keras.layers.Dense(12), keras.layers.Dropout(0.5), keras.layers.Dense(width)]
    return keras.Sequential([keras.Input((20,)), *dense])


def decoder_with_normalization():
    """Gives something else in training, and then also changes."""
    normalization = keras.layers.BatchNormalization()
    decoder = keras.Sequential([keras.Input((2,)), normalization, *dense_decoder().layers])
    normalization.set_weights([np.full(2, value) for value in (2.0, 0.1, 0.3, 0.5)])
    return decoder


@pytest.mark.parametrize("index", range(5), ids=CLASSES)
def test_encoding_and_decoding_leave_training_to_fit(x, index):
    model = variants(encoder_with_dropout, decoder_with_normalization)[index]
    code = ops.convert_to_numpy(model.encoder(x, training=False))[:, :2]
    decoded = ops.convert_to_numpy(model.decoder(code, training=False))
    decoded = np.tanh(decoded) if index == 2 else decoded
    before = model.decoder.get_weights()
    np.testing.assert_allclose(model.encode(x), code, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.decode(code), decoded, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(x), decoded, rtol=1e-4, atol=1e-5)
    for one, two in zip(before, model.decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.abs(ops.convert_to_numpy(model.encoder(x, training=True))[:, :2] - code).max() > 0.1


@pytest.mark.parametrize("index", range(5), ids=CLASSES)
def test_a_call_trains_both_networks_or_neither(x, index):
    """The dropout of the encoder and the batch normalization of the decoder follow `training`."""
    modes = []

    class Note(keras.layers.Layer):
        def call(self, inputs, training=None):
            modes.append((self.name, training))
            return inputs

    model = variants(
        lambda width: keras.Sequential([keras.Input((20,)), Note(name="encoder"), keras.layers.Dense(width)]),
        lambda: keras.Sequential([keras.Input((2,)), Note(name="decoder"), keras.layers.Dense(20)]),
    )[index]
    modes.clear()
    for training in (True, False):
        model(x, training=training)
    assert modes == [("encoder", True), ("decoder", True), ("encoder", False), ("decoder", False)]


@pytest.mark.parametrize("index", range(5), ids=CLASSES)
def test_every_setting_survives_a_config_and_saving(index, tmp_path):
    model = variants()[index]
    config = model.get_config()
    model.save(tmp_path / "model.keras")
    for copy in (type(model).from_config(config), keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)):
        found = copy.get_config()
        assert found.keys() == config.keys()
        for key in config.keys() - {"encoder", "decoder", "discriminator", "generator", "dtype", "corruption"}:
            assert found[key] == config[key], key
    if index == 0:
        assert (copy.corruption.rate, copy.corruption.seed) == (0.3, 1)
    if index == 1:
        assert (copy.contraction_weight, copy.penalty, copy.num_probes, copy.stddev) == (0.7, "projected", 3, 0.4)
    if index == 2:
        assert copy.output_activation is keras.activations.tanh and float(copy.kl_weight) == pytest.approx(0.3)
        z = np.ones((2, 2), "float32")
        np.testing.assert_allclose(copy.decode(z), np.tanh(copy.decoder(z)), rtol=1e-5)
        model.kl_weight.assign(0.9)  # by a callback
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        assert float(loaded.kl_weight) == pytest.approx(0.9)
    if index == 3:
        assert (copy.prior, copy.num_labels, copy.seed) == (priors.gaussian_mixture_prior, 3, 7)
    if index == 4:
        assert (copy.margin, copy.pulling_away, copy.seed) == (2.0, 0.7, 8)


def test_the_public_names_are_those_of_the_package():
    import aelib.models

    for name in aelib.models.__all__:
        assert hasattr(aelib.models, name)
    for model in variants():
        each = type(model)
        assert keras.saving.get_registered_name(each) == f"aelib>{each.__name__}"
