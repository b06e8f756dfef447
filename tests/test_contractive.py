import subprocess
import sys

import keras
import numpy as np
import pytest

from aelib import losses, models, networks
from aelib.models import ContractiveAutoencoder

FEATURES, UNITS, WEIGHT = 12, 5, 0.7


def data(count=50):
    return np.random.default_rng(0).uniform(size=(count, FEATURES)).astype("float32")


def dense_encoder():
    keras.utils.set_random_seed(0)
    return networks.mlp_encoder(FEATURES, [], UNITS, latent_activation="sigmoid")


def autoencoder(penalty="closed_form", encoder=None, learning_rate=0.05, jit_compile=False, weight=WEIGHT, **kwargs):
    encoder = dense_encoder() if encoder is None else encoder
    decoder = networks.mlp_decoder(encoder.output_shape[1], [], FEATURES)
    model = ContractiveAutoencoder(encoder, decoder, weight, penalty=penalty, **kwargs)
    model.compile(keras.optimizers.SGD(learning_rate), losses.SumSquaredError(), jit_compile=jit_compile)
    return model


def by_hand(model, x):
    """The mean reconstruction error and the mean penalty of a one-layer sigmoid autoencoder, in NumPy."""
    kernel, bias, decoder_kernel, decoder_bias = [weight.astype("float64") for weight in model.get_weights()[:4]]
    z = 1 / (1 + np.exp(-(x @ kernel + bias)))
    reconstruction = 1 / (1 + np.exp(-(z @ decoder_kernel + decoder_bias)))
    jacobian = (z * (1 - z))[:, :, None] * kernel.T
    return np.square(x - reconstruction).sum(axis=1), np.square(jacobian).sum(axis=(1, 2))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("penalty", ["closed_form", "exact"])
def test_loss_and_its_terms_with_a_partial_last_batch(penalty, jit_compile):
    model, x = autoencoder(penalty, jit_compile=jit_compile), data(50)
    errors, penalties = by_hand(model, x)
    logged = model.evaluate(x, batch_size=32, verbose=0, return_dict=True)
    assert logged["reconstruction"] == pytest.approx(errors.mean(), rel=1e-5)
    assert logged["contraction"] == pytest.approx(penalties.mean(), rel=1e-5)
    assert logged["loss"] == pytest.approx(errors.mean() + WEIGHT * penalties.mean(), rel=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("penalty", models.PENALTIES)
def test_fit_contracts_and_logs_each_term(penalty, jit_compile):
    model, x = autoencoder(penalty, jit_compile=jit_compile, weight=20.0), data(50)
    before = by_hand(model, x)[1].mean()
    history = model.fit(x, validation_data=(data(20),), batch_size=32, epochs=5, verbose=0).history
    terms = {"loss", "reconstruction", "contraction"}
    assert set(history) == terms | {f"val_{term}" for term in terms}
    for prefix in ("", "val_"):
        total = np.array(history[f"{prefix}reconstruction"]) + 20.0 * np.array(history[f"{prefix}contraction"])
        np.testing.assert_allclose(history[f"{prefix}loss"], total, rtol=1e-4)
    assert by_hand(model, x)[1].mean() < 0.8 * before


def test_a_step_with_the_closed_form_equals_a_step_with_the_exact_penalty():
    weights = []
    for penalty in ("closed_form", "exact"):
        model = autoencoder(penalty)
        model.fit(data(), batch_size=50, epochs=3, verbose=0)
        weights.append(model.get_weights()[:4])
    for closed, exact in zip(*weights, strict=True):
        np.testing.assert_allclose(closed, exact, atol=1e-6)


def test_weight_zero_is_the_plain_autoencoder():
    contractive, x = autoencoder(weight=0), data()
    plain = models.Autoencoder(dense_encoder(), networks.mlp_decoder(UNITS, [], FEATURES))
    plain.set_weights(contractive.get_weights()[:4])
    plain.compile(keras.optimizers.SGD(0.05), losses.SumSquaredError())
    for model in (contractive, plain):
        model.fit(x, epochs=2, shuffle=False, verbose=0)
    for first, second in zip(contractive.get_weights()[:4], plain.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("penalty", models.PENALTIES)
def test_what_the_layers_add_is_in_the_loss_once_and_in_neither_term(penalty):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(UNITS, "sigmoid", kernel_regularizer=keras.regularizers.L2(0.3))
    model, x = autoencoder(penalty, keras.Sequential([keras.Input((FEATURES,)), layer]), seed=0), data()
    errors, _ = by_hand(model, x)
    weight_decay = 0.3 * np.square(layer.kernel.numpy()).sum()
    logged = model.evaluate(x, batch_size=50, verbose=0, return_dict=True)
    assert logged["reconstruction"] == pytest.approx(errors.mean(), rel=1e-4)
    expected = errors.mean() + WEIGHT * logged["contraction"] + weight_decay
    assert logged["loss"] == pytest.approx(expected, rel=1e-5)


class CountedPenalty(keras.layers.Layer):
    """Adds 100 to the loss in training, and 1 otherwise, which is how the contractive penalty encodes."""

    def call(self, inputs, training=None):
        self.add_loss(keras.ops.sum(inputs * 0) + (100.0 if training else 1.0))
        return inputs


@pytest.mark.parametrize("penalty", ["exact", "projected", "stochastic"])
def test_penalties_that_the_encoder_records_in_the_forward_pass_are_kept(penalty):
    encoder = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(UNITS), CountedPenalty()])
    history = autoencoder(penalty, encoder, learning_rate=0.0).fit(data(), batch_size=50, verbose=0).history
    total = history["reconstruction"][0] + WEIGHT * history["contraction"][0]
    assert history["loss"][0] - total == pytest.approx(100, abs=1e-3)


def test_sample_weights_weigh_both_terms():
    model, x = autoencoder(), data(40)
    weights = np.random.default_rng(1).uniform(size=40).astype("float32")
    errors, penalties = by_hand(model, x)
    loss = model.evaluate(x, x, sample_weight=weights, batch_size=40, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(np.mean(weights * (errors + WEIGHT * penalties)), rel=1e-5)


@pytest.mark.parametrize("stddev", [0.001, 0.05])
def test_the_stochastic_penalty_is_on_the_scale_of_the_exact_one(stddev):
    model, x = autoencoder("stochastic", stddev=stddev, seed=1), np.repeat(data(1), 20_000, axis=0)
    logged = model.evaluate(x, batch_size=20_000, verbose=0, return_dict=True)
    assert logged["contraction"] == pytest.approx(by_hand(model, x[:1])[1][0], rel=0.03)


@pytest.mark.parametrize("penalty", ["projected", "stochastic"])
def test_noise_is_new_at_every_step_and_repeats_with_the_seed(penalty):
    def evaluated(model):
        return model.evaluate(data(), batch_size=50, verbose=0, return_dict=True)["contraction"]

    model = autoencoder(penalty, seed=3)
    first = evaluated(model)
    assert evaluated(model) != first
    assert evaluated(autoencoder(penalty, seed=3)) == first
    assert evaluated(autoencoder(penalty, seed=4)) != first


def test_more_probes_vary_less():
    def spread(num_probes):
        model, x = autoencoder("projected", num_probes=num_probes, seed=0), data(1)
        return np.std([float(model._contraction(x, model.seed_generator)[0]) for _ in range(200)])

    assert spread(16) == pytest.approx(spread(1) / 4, rel=0.3)


def convolutional_autoencoder(penalty, jit_compile):
    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv2D(2, 3, strides=2, padding="same", activation="relu")
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), convolution, keras.layers.Flatten(), keras.layers.Dense(3, "tanh")]
    )
    decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(64, "sigmoid"), keras.layers.Reshape((8, 8, 1))])
    model = ContractiveAutoencoder(encoder, decoder, 10.0, penalty=penalty, seed=0)
    model.compile("adam", losses.SumSquaredError(), jit_compile=jit_compile)
    return model, np.random.default_rng(0).uniform(size=(40, 8, 8, 1)).astype("float32")


@pytest.mark.parametrize("penalty", ["exact", "projected", "stochastic"])
def test_convolutional_encoders_are_contracted(penalty):
    model, x = convolutional_autoencoder(penalty, jit_compile=False)
    history = model.fit(x, batch_size=32, epochs=15, verbose=0).history
    assert history["contraction"][-1] < 0.8 * history["contraction"][0]
    assert history["loss"][-1] < history["loss"][0]


def test_a_step_of_a_convolutional_encoder_is_the_same_under_xla():
    weights = []
    for jit_compile in (False, True):
        model, x = convolutional_autoencoder("exact", jit_compile)
        model.fit(x[:8], batch_size=8, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def run(program, *arguments):
    """The lines that a program prints in a fresh process."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


SAVED = """
import sys, keras, numpy as np
from aelib import losses, models

x = np.load("x.npy")
for penalty in sys.argv[1:]:
    model = keras.models.load_model(f"{penalty}.keras", safe_mode=True)
    np.save(f"{penalty}.npy", model.reconstruct(x))
    loss = model.evaluate(x, batch_size=50, verbose=0, return_dict=True)["loss"]
    print(model.penalty, model.num_probes, model.stddev, model.seed, model.contraction_weight, loss)
"""


def test_saved_and_loaded_in_a_fresh_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = data()
    np.save("x.npy", x)
    trained = {}
    for penalty in ("closed_form", "stochastic"):
        trained[penalty] = autoencoder(penalty, num_probes=2, stddev=0.05, seed=7)
        trained[penalty].fit(x, verbose=0)
        trained[penalty].save(f"{penalty}.keras")
    for line, (penalty, model) in zip(run(SAVED, *trained), trained.items(), strict=True):
        settings, loss = line.rsplit(maxsplit=1)
        assert settings == f"{penalty} 2 0.05 7 {WEIGHT}"
        np.testing.assert_array_equal(np.load(f"{penalty}.npy"), model.reconstruct(x))
        # The state of the seed is not saved, so the stochastic penalty is another draw.
        expected = model.evaluate(x, batch_size=50, verbose=0, return_dict=True)["loss"]
        assert float(loss) == pytest.approx(expected, rel=1e-5 if penalty == "closed_form" else 0.2)


DISTRIBUTED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from aelib import losses, models, networks
x = np.random.default_rng(0).uniform(size=(64, 12)).astype("float32")

def train(strategy, penalty):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        encoder = networks.mlp_encoder(12, [], 5, latent_activation="sigmoid")
        decoder = networks.mlp_decoder(5, [], 12)
        model = models.ContractiveAutoencoder(encoder, decoder, 0.7, penalty=penalty, seed=1)
        model.compile(keras.optimizers.SGD(0.05), losses.SumSquaredError())
    history = model.fit(x, batch_size=32, epochs=3, shuffle=False, verbose=0).history
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()[:4]])
    return weights, np.array([history[key] for key in ("loss", "reconstruction", "contraction")])

for penalty in ("closed_form", "projected", "stochastic"):
    one = train(tf.distribute.OneDeviceStrategy("CPU:0"), penalty)
    two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), penalty)
    print(penalty, *[np.abs(a - b).max() / np.abs(a).max() for a, b in zip(one, two)])
"""


def test_two_devices_give_what_one_gives():
    lines = [line.split() for line in run(DISTRIBUTED)]
    differences = {penalty: [float(number) for number in numbers] for penalty, *numbers in lines}
    assert max(differences["closed_form"]) < 1e-5
    # Another split of the batch draws other noise; the scale must still be the same.
    assert max(differences["projected"]) < 0.1
    assert max(differences["stochastic"]) < 0.1


def test_what_cannot_be_contracted_is_refused():
    deep = networks.mlp_encoder(FEATURES, [6], UNITS, latent_activation="sigmoid")
    norm = keras.Sequential([keras.layers.Dense(UNITS), keras.layers.BatchNormalization()])
    nested = keras.Sequential([keras.Input((FEATURES,)), norm])
    for arguments, message in [
        ({"encoder": deep}, "closed form.*Dense, Dense.*projected_jacobian_penalty.*jacobian_penalty"),
        ({"encoder": nested, "penalty": "projected"}, "batch normalization"),
        ({"penalty": "closed"}, "closed_form, exact, projected, stochastic.*'closed'"),
        ({"weight": -1.0}, "contraction_weight.*-1.0"),
        ({"weight": float("nan")}, "contraction_weight.*nan"),
        ({"weight": "0.1"}, "contraction_weight.*'0.1'"),
        ({"penalty": "projected", "num_probes": 0}, "num_probes.*0"),
        ({"penalty": "stochastic", "stddev": -0.1}, "stddev.*-0.1"),
    ]:
        with pytest.raises(ValueError, match=message):
            autoencoder(**arguments)
