import keras
import numpy as np
import pytest

from aelib import jacobian, losses, models, networks
from aelib.models import ContractiveAutoencoder
from tests import fresh_process

FEATURES, UNITS, WEIGHT = 12, 5, 0.7


def data(count=50):
    return np.random.default_rng(0).uniform(size=(count, FEATURES)).astype("float32")


def dense_encoder():
    keras.utils.set_random_seed(0)
    return networks.mlp_encoder(FEATURES, [], UNITS, latent_activation="sigmoid")


def autoencoder(penalty="closed_form", encoder=None, learning_rate=0.05, weight=WEIGHT, compiled=None, **kwargs):
    """A small model, run eagerly unless the test is about the compiled one: that is quicker for a few steps."""
    encoder = dense_encoder() if encoder is None else encoder
    decoder = networks.mlp_decoder(encoder.output_shape[1], [], FEATURES)
    model = ContractiveAutoencoder(encoder, decoder, weight, penalty=penalty, **kwargs)
    how = {None: {"run_eagerly": True}, "graph": {"jit_compile": False}, "xla": {"jit_compile": True}}[compiled]
    model.compile(keras.optimizers.SGD(learning_rate), losses.SumSquaredError(), **how)
    return model


def by_hand(model, x):
    """The mean reconstruction error and the mean penalty of a one-layer sigmoid autoencoder, in NumPy."""
    kernel, bias, decoder_kernel, decoder_bias = [weight.astype("float64") for weight in model.get_weights()[:4]]
    z = 1 / (1 + np.exp(-(x @ kernel + bias)))
    reconstruction = 1 / (1 + np.exp(-(z @ decoder_kernel + decoder_bias)))
    matrices = (z * (1 - z))[:, :, None] * kernel.T
    return np.square(x - reconstruction).sum(axis=1), np.square(matrices).sum(axis=(1, 2))


@pytest.mark.parametrize("compiled", ["graph", "xla"])
@pytest.mark.parametrize("penalty", ["closed_form", "exact"])
def test_loss_and_its_terms_with_a_partial_last_batch(penalty, compiled):
    model, x = autoencoder(penalty, compiled=compiled), data(50)
    errors, penalties = by_hand(model, x)
    logged = model.evaluate(x, batch_size=32, verbose=0, return_dict=True)
    assert logged["reconstruction"] == pytest.approx(errors.mean(), rel=1e-5)
    assert logged["contraction"] == pytest.approx(penalties.mean(), rel=1e-5)
    assert logged["loss"] == pytest.approx(errors.mean() + WEIGHT * penalties.mean(), rel=1e-5)


@pytest.mark.parametrize("penalty", ["closed_form", "projected", "stochastic"])
def test_fit_under_xla_contracts_and_its_terms_add_up(penalty):
    model, x = autoencoder(penalty, compiled="xla", weight=20.0), data(50)
    before = by_hand(model, x)[1].mean()
    history = model.fit(x, batch_size=25, epochs=5, verbose=0).history
    total = np.array(history["reconstruction"]) + 20.0 * np.array(history["contraction"])
    np.testing.assert_allclose(history["loss"], total, rtol=1e-4)
    assert by_hand(model, x)[1].mean() < 0.8 * before


def test_validation_logs_each_term():
    history = autoencoder().fit(data(), validation_data=(data(20),), verbose=0).history
    terms = {"loss", "reconstruction", "contraction"}
    assert set(history) == terms | {f"val_{term}" for term in terms}


def test_steps_with_the_closed_form_equal_steps_with_the_exact_penalty():
    weights = []
    for penalty, compiled in (("closed_form", None), ("exact", None), ("closed_form", "xla")):
        model = autoencoder(penalty, compiled=compiled)
        model.fit(data(), batch_size=50, epochs=2, verbose=0)
        weights.append(np.concatenate([weight.ravel() for weight in model.get_weights()[:4]]))
    for other in weights[1:]:
        np.testing.assert_allclose(weights[0], other, atol=1e-6)


def test_a_step_with_the_closed_form_encodes_once():
    class Counting(keras.layers.Dense):
        calls = 0

        def call(self, inputs, training=None):
            Counting.calls += 1
            return super().call(inputs, training=training)

    model = autoencoder(encoder=keras.Sequential([keras.Input((FEATURES,)), Counting(UNITS, "sigmoid")]))
    before = Counting.calls
    model.train_on_batch(data())
    assert Counting.calls == before + 1


def test_weight_zero_is_the_plain_autoencoder():
    contractive, x = autoencoder(weight=0), data()
    plain = models.Autoencoder(dense_encoder(), networks.mlp_decoder(UNITS, [], FEATURES))
    plain.set_weights(contractive.get_weights()[:4])
    plain.compile(keras.optimizers.SGD(0.05), losses.SumSquaredError(), run_eagerly=True)
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


@pytest.mark.parametrize(("penalty", "stddev"), [("projected", 1.0), ("stochastic", 0.001), ("stochastic", 0.05)])
def test_random_penalties_are_on_the_scale_of_the_exact_one(penalty, stddev):
    model, x = autoencoder(penalty, stddev=stddev, seed=1), np.repeat(data(1), 20_000, axis=0)
    logged = model.evaluate(x, batch_size=20_000, verbose=0, return_dict=True)
    assert logged["contraction"] == pytest.approx(by_hand(model, x[:1])[1][0], rel=0.03)


@pytest.mark.parametrize("penalty", ["projected", "stochastic"])
def test_noise_is_new_at_every_step_and_repeats_with_the_seed(penalty):
    def logged(seed):
        model = autoencoder(penalty, learning_rate=0.0, seed=seed)
        return model.fit(data(), batch_size=50, epochs=2, shuffle=False, verbose=0).history["contraction"]

    first, second = logged(3)
    assert first != second
    assert logged(3) == [first, second]
    assert logged(4)[0] not in (first, second)


def test_training_draws_from_the_seed_and_evaluation_from_another():
    model, x = autoencoder("stochastic", learning_rate=0.0, seed=3), data()
    drawn = float(np.mean(jacobian.stochastic_contraction_penalty(model.encoder, x, 0.1, seed=3))) / 0.1**2
    evaluated = model.evaluate(x, batch_size=50, verbose=0, return_dict=True)["contraction"]
    assert evaluated != pytest.approx(drawn, rel=1e-4)
    assert model.train_on_batch(x, return_dict=True)["contraction"] == pytest.approx(drawn, rel=1e-4)


def test_more_probes_vary_less():
    x = np.repeat(data(1), 2000, axis=0)

    def spread(num_probes):
        model = autoencoder("projected", num_probes=num_probes, seed=0)
        return np.std(model._contraction(x, model.seed_generator))

    assert spread(16) == pytest.approx(spread(1) / 4, rel=0.1)


@pytest.mark.parametrize("penalty", ["exact", "projected", "stochastic"])
def test_convolutional_encoders_are_contracted(penalty):
    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv2D(2, 3, strides=2, padding="same", activation="relu")
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), convolution, keras.layers.Flatten(), keras.layers.Dense(3, "tanh")]
    )
    decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(64, "sigmoid"), keras.layers.Reshape((8, 8, 1))])
    model = ContractiveAutoencoder(encoder, decoder, 10.0, penalty=penalty, seed=0)
    model.compile(keras.optimizers.Adam(5e-3), losses.SumSquaredError(), jit_compile=False)
    x = np.random.default_rng(0).uniform(size=(40, 8, 8, 1)).astype("float32")
    history = model.fit(x, batch_size=32, epochs=5, verbose=0).history
    assert history["contraction"][-1] < 0.8 * history["contraction"][0]
    assert history["loss"][-1] < history["loss"][0]


LOADED = """
x = np.load("x.npy")
for penalty in ("closed_form", "stochastic"):
    model = keras.models.load_model(f"{penalty}.keras", safe_mode=True)
    np.save(f"{penalty}.npy", model.reconstruct(x))
    loss = model.evaluate(x, batch_size=50, verbose=0, return_dict=True)["loss"]
    print(model.penalty, model.num_probes, model.stddev, model.seed, model.contraction_weight, loss)
"""

# 50 examples in batches of 32: the last one is partial.
TWO_DEVICES = """
from aelib import losses, models, networks

def train(strategy, penalty):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        encoder = networks.mlp_encoder(12, [], 5, latent_activation="sigmoid")
        model = models.ContractiveAutoencoder(encoder, networks.mlp_decoder(5, [], 12), 0.7, penalty=penalty, seed=1)
        model.compile(keras.optimizers.SGD(0.05), losses.SumSquaredError())
    history = model.fit(x, batch_size=32, epochs=2, shuffle=False, verbose=0).history
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()[:4]])
    return weights, np.array([history[key] for key in ("loss", "reconstruction", "contraction")])

for penalty in models.PENALTIES:
    one, two = train(tf.distribute.get_strategy(), penalty), train(strategy, penalty)
    print(penalty, max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(one, two, strict=True)))
"""


def test_loaded_in_a_fresh_process_and_on_two_devices(tmp_path):
    x, trained = data(), {}
    np.save(tmp_path / "x.npy", x)
    for penalty in ("closed_form", "stochastic"):
        trained[penalty] = autoencoder(penalty, num_probes=2, stddev=0.05, seed=7)
        trained[penalty].fit(x, verbose=0)
        trained[penalty].save(tmp_path / f"{penalty}.keras")
    out = fresh_process.run(LOADED + TWO_DEVICES, tmp_path)
    lines = [line.split() for line in out.splitlines()]
    for (*settings, loss), (penalty, model) in zip(lines, trained.items(), strict=False):
        assert settings == [penalty, "2", "0.05", "7", str(WEIGHT)]
        np.testing.assert_allclose(np.load(tmp_path / f"{penalty}.npy"), model.reconstruct(x), atol=1e-7)
        # The state of the seed is not saved, so the stochastic penalty is another draw.
        expected = model.evaluate(x, batch_size=50, verbose=0, return_dict=True)["loss"]
        assert float(loss) == pytest.approx(expected, rel=1e-5 if penalty == "closed_form" else 0.2)
    differences = {penalty: float(difference) for penalty, difference in lines[2:]}
    assert set(differences) == set(models.PENALTIES)
    assert max(differences["closed_form"], differences["exact"]) < 1e-5
    # Another split of the batch draws other noise; the scale must still be the same.
    assert max(differences["projected"], differences["stochastic"]) < 0.1


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
        ({"weight": float("inf")}, "contraction_weight.*inf"),
        ({"weight": "0.1"}, "contraction_weight.*'0.1'"),
        ({"penalty": "projected", "num_probes": 0}, "num_probes.*0"),
        ({"penalty": "stochastic", "stddev": -0.1}, "stddev.*-0.1"),
    ]:
        with pytest.raises(ValueError, match=message):
            autoencoder(**arguments)


@pytest.mark.parametrize("penalty", models.PENALTIES)
def test_in_float16_the_penalty_is_computed_in_float32(penalty):
    """A norm beyond 65504, the largest of float16, and one that a mean of so many would lose."""
    wide = networks.mlp_encoder(FEATURES, [], UNITS)
    kernel = wide.get_weights()[0] * 300
    keras.config.set_dtype_policy("mixed_float16")
    try:
        encoder = networks.mlp_encoder(FEATURES, [], UNITS)
        model = autoencoder(penalty, encoder, weight=1e-3, seed=0, num_probes=50)
    finally:
        keras.config.set_dtype_policy("float32")
    encoder.set_weights([kernel, np.zeros(UNITS)])
    expected = np.square(kernel).sum()
    assert expected > 2 * 65504
    x = np.zeros((20, FEATURES), "float32")
    logged = model.evaluate(x, batch_size=20, verbose=0, return_dict=True)
    tolerance = {"closed_form": 1e-5, "exact": 1e-2, "projected": 0.2, "stochastic": 0.4}[penalty]
    assert logged["contraction"] == pytest.approx(expected, rel=tolerance)
    assert logged["loss"] == pytest.approx(logged["reconstruction"] + 1e-3 * logged["contraction"], rel=1e-4)


def test_an_estimate_for_each_example_is_its_own():
    """Not the mean of the batch: weights of one example alone, of 1000 copies, give its penalty."""
    x = np.repeat(data(3) * np.array([[0], [4], [8]]), 1000, axis=0)
    for penalty in ("projected", "stochastic"):
        model = autoencoder(penalty, stddev=0.01, seed=0)
        exact = by_hand(model, x)[1]
        assert np.ptp(exact) > 0.3 * exact.max()
        for index in range(3):
            weights = 3.0 * (np.arange(len(x)) // 1000 == index)
            found = model.evaluate(x, sample_weight=weights, batch_size=len(x), verbose=0, return_dict=True)
            assert found["contraction"] == pytest.approx(exact[1000 * index], rel=0.1)
