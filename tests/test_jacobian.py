import contextlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import jacobian, networks

ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu")


def set_precision(name):
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)


@contextlib.contextmanager
def float64():
    set_precision("float64")
    yield
    set_precision("float32")


def dense_layer(activation, dtype="float32", features=7, units=5):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(units, activation, bias_initializer="random_normal", dtype=dtype)
    layer.build((None, features))
    return layer


def deep_encoder():
    keras.utils.set_random_seed(1)
    with float64():
        return networks.mlp_encoder(7, [6], 3, activation="tanh", latent_activation="tanh")


def conv_encoder():
    keras.utils.set_random_seed(2)
    with float64():
        strided = keras.layers.Conv2D(3, 3, strides=2, padding="same", activation="tanh")
        return keras.Sequential(
            [keras.Input((4, 5, 2)), strided, keras.layers.Conv2D(2, 2, activation="sigmoid"), keras.layers.Flatten()]
        )


ENCODERS = {"dense": lambda: dense_layer("sigmoid", "float64"), "deep": deep_encoder, "conv": conv_encoder}
SHAPES = {"dense": (7,), "deep": (7,), "conv": (4, 5, 2)}
PENALTIES = {
    "closed_form": jacobian.dense_jacobian_penalty,
    "exact": jacobian.jacobian_penalty,
    "projected": lambda encoder, x: jacobian.projected_jacobian_penalty(encoder, x, num_probes=2, seed=3),
    "stochastic": lambda encoder, x: jacobian.stochastic_contraction_penalty(encoder, x, stddev=0.1, seed=3),
}
EVERY_PAIR = [("dense", "closed_form"), *itertools.product(ENCODERS, ["exact", "projected", "stochastic"])]


def inputs(kind="dense", count=6, dtype="float64"):
    return np.random.default_rng(0).normal(size=(count, *SHAPES[kind])).astype(dtype)


def jacobian_by_finite_differences(encoder, x, step=1e-5):
    """Central differences in float64, one matrix an example: one coordinate of it moved in each row of a batch."""
    steps = step * np.eye(x[0].size).reshape(-1, *x.shape[1:])
    return np.stack([(encoder(one + steps) - encoder(one - steps)).numpy().T / (2 * step) for one in x])


def penalty_by_finite_differences(encoder, x):
    return np.square(jacobian_by_finite_differences(encoder, x)).sum(axis=(1, 2))


@pytest.mark.parametrize("kind", ENCODERS)
def test_jacobian_equals_finite_differences(kind):
    encoder, x = ENCODERS[kind](), inputs(kind)
    computed = jacobian.encoder_jacobian(encoder, x).numpy()
    assert computed.shape == (6, encoder(x[:1]).numpy().size, x[0].size)
    np.testing.assert_allclose(computed, jacobian_by_finite_differences(encoder, x), atol=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_closed_form_and_exact_penalty_equal_finite_differences(activation):
    layer, x = dense_layer(activation, "float64"), inputs()
    expected = penalty_by_finite_differences(layer, x)
    np.testing.assert_allclose(jacobian.dense_jacobian_penalty(layer, x), expected, rtol=1e-8)
    np.testing.assert_allclose(jacobian.jacobian_penalty(layer, x), expected, rtol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_closed_form_equals_exact_penalty_in_float32_at_the_size_of_mnist(activation):
    layer = dense_layer(activation, features=784, units=100)
    x = np.random.default_rng(0).uniform(size=(4, 784)).astype("float32")
    closed, exact = jacobian.dense_jacobian_penalty(layer, x), jacobian.jacobian_penalty(layer, x)
    np.testing.assert_allclose(closed, exact, rtol=1e-5)


def test_penalty_of_a_linear_layer_is_weight_decay():
    layer, x = dense_layer("linear"), inputs(dtype="float32")
    np.testing.assert_allclose(
        jacobian.dense_jacobian_penalty(layer, x), np.full(6, np.square(layer.kernel.numpy()).sum()), rtol=1e-6
    )


def test_closed_form_takes_a_model_of_one_dense_layer():
    encoder = networks.mlp_encoder(7, [], 5, latent_activation="sigmoid")
    x = inputs(dtype="float32")
    np.testing.assert_array_equal(
        jacobian.dense_jacobian_penalty(encoder, x), jacobian.dense_jacobian_penalty(encoder.layers[0], x)
    )


def test_closed_form_takes_a_code_that_is_at_hand():
    """The value follows the code, not x, which is not encoded again."""
    layer, x, other = dense_layer("tanh"), inputs(), inputs()[::-1]
    np.testing.assert_array_equal(
        jacobian.dense_jacobian_penalty(layer, x, z=layer(other)), jacobian.dense_jacobian_penalty(layer, other)
    )


def check_weight_gradient(penalty, encoder, x):
    total = tf.function(lambda: tf.reduce_sum(penalty(encoder, x)))
    with tf.GradientTape() as tape:
        loss = total()
    weights = encoder.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        value, expected = weight.numpy(), np.zeros(weight.shape)
        for index in np.ndindex(value.shape):
            for step in (1e-5, -1e-5):
                moved = value.copy()
                moved[index] += step
                weight.assign(moved)
                expected[index] += total().numpy() / (2 * step)
        weight.assign(value)
        gradient = np.zeros_like(value) if gradient is None else gradient.numpy()
        np.testing.assert_allclose(gradient, expected, atol=1e-7)
    assert np.abs(gradients[0]).max() > 1e-3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_weight_gradient_of_the_closed_form(activation):
    check_weight_gradient(jacobian.dense_jacobian_penalty, dense_layer(activation, "float64"), inputs())


@pytest.mark.parametrize(("kind", "penalty"), EVERY_PAIR[1:])
def test_weight_gradient_of_every_penalty(kind, penalty):
    check_weight_gradient(PENALTIES[penalty], ENCODERS[kind](), inputs(kind, count=3))


def many_projected(encoder, example, num_probes, count=5000, seed=0):
    return jacobian.projected_jacobian_penalty(encoder, np.repeat(example, count, axis=0), num_probes, seed).numpy()


@pytest.mark.parametrize("kind", ENCODERS)
def test_projected_penalty_is_unbiased(kind):
    encoder, x = ENCODERS[kind](), inputs(kind, count=2)
    for example, exact in zip(x, penalty_by_finite_differences(encoder, x), strict=True):
        estimates = many_projected(encoder, example[None], num_probes=1)
        assert abs(estimates.mean() - exact) < 3 * estimates.std() / np.sqrt(len(estimates))


def test_variance_of_the_projected_penalty_is_the_known_one_over_the_number_of_probes():
    encoder, x = deep_encoder(), inputs(count=1)
    matrix = jacobian_by_finite_differences(encoder, x)[0]
    gram = matrix @ matrix.T
    variance = 2 * (np.square(gram).sum() - np.square(np.diag(gram)).sum())  # of random signs, Hutchinson 1990
    for num_probes in (1, 4, 16):
        measured = many_projected(encoder, x, num_probes, count=20_000).var()
        assert measured == pytest.approx(variance / num_probes, rel=0.1)


def test_stochastic_term_over_the_variance_tends_to_the_exact_penalty_and_bends_below_it():
    keras.utils.set_random_seed(0)
    encoder = networks.mlp_encoder(784, [], 200, latent_activation="sigmoid")
    x = np.repeat(np.random.default_rng(0).uniform(size=(1, 784)), 4000, axis=0).astype("float32")
    exact = float(jacobian.dense_jacobian_penalty(encoder, x[:1])[0])

    def ratio(stddev):
        return float(np.mean(jacobian.stochastic_contraction_penalty(encoder, x, stddev, seed=0))) / stddev**2 / exact

    for stddev in (0.001, 0.01, 0.03, 0.1):
        assert ratio(stddev) == pytest.approx(1, abs=0.02)
    assert 0.9 < ratio(0.3) < 0.99
    assert ratio(1.0) < 0.85


@pytest.mark.parametrize("penalty", ["projected", "stochastic"])
def test_each_example_of_a_batch_has_its_own_noise(penalty):
    x = np.repeat(inputs(count=1), 8, axis=0)
    assert len(np.unique(PENALTIES[penalty](dense_layer("sigmoid", "float64", units=40), x))) == 8


@pytest.mark.parametrize("function", [*PENALTIES.values(), jacobian.encoder_jacobian, jacobian.jacobian_spectrum])
def test_an_example_is_estimated_from_itself_alone(function):
    """The seed is the same, and so is the first example's noise; the others are moved."""
    layer, x = dense_layer("sigmoid", "float64"), inputs()
    others = np.concatenate([x[:1], x[1:] + 1.0])
    before, after = function(layer, x).numpy(), function(layer, others).numpy()
    np.testing.assert_allclose(after[0], before[0], rtol=1e-12)
    assert np.all(after[1:] != before[1:])


@pytest.mark.parametrize("penalty", PENALTIES)
def test_computed_in_float32_where_the_code_is_in_half_precision(penalty):
    """Each square is more than float16 can hold."""
    initializer = keras.initializers.Identity(gain=4096.0)
    half, full = (keras.layers.Dense(4, kernel_initializer=initializer, dtype=d) for d in ("mixed_float16", "float32"))
    for layer in (half, full):
        layer.build((None, 4))
    x = np.zeros((3, 4), "float32")
    found = PENALTIES[penalty](half, x)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, PENALTIES[penalty](full, x), rtol=0.01)


@pytest.mark.parametrize("penalty", ["projected_jacobian_penalty", "stochastic_contraction_penalty"])
def test_an_integer_seed_repeats_the_noise_and_a_generator_does_not(penalty):
    def draw(seed):
        return getattr(jacobian, penalty)(deep_encoder(), inputs(), 1, seed=seed).numpy()

    generator = keras.random.SeedGenerator(5)
    np.testing.assert_array_equal(draw(5), draw(5))
    assert not np.array_equal(draw(generator), draw(generator))


@pytest.mark.parametrize(("kind", "penalty"), [*EVERY_PAIR, ("conv", "spectrum")])
def test_the_same_on_a_batch_of_unknown_size(kind, penalty):
    function = {**PENALTIES, "spectrum": jacobian.jacobian_spectrum}[penalty]
    encoder, x = ENCODERS[kind](), inputs(kind)
    graph = tf.function(
        lambda x: function(encoder, x), input_signature=[tf.TensorSpec((None, *SHAPES[kind]), "float64")]
    )
    for batch in (x, x[:2]):
        np.testing.assert_allclose(graph(batch), function(encoder, batch), rtol=1e-9)


@pytest.mark.parametrize(("kind", "penalty"), EVERY_PAIR)
def test_value_and_weight_gradient_are_the_same_under_xla(kind, penalty):
    encoder, example = ENCODERS[kind](), inputs(kind, count=1)
    kernel = encoder.trainable_variables[0].value
    exact = penalty in ("closed_form", "exact")
    x = tf.constant(example if exact else np.repeat(example, 5000, axis=0))

    @tf.function(jit_compile=True)
    def compiled(penalty):
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(penalty(encoder, x))
        return mean, tape.gradient(mean, kernel)

    mean, gradient = compiled(PENALTIES[penalty])
    with tf.GradientTape() as tape:
        expected = jacobian.jacobian_penalty(encoder, example)[0] * (0.1**2 if penalty == "stochastic" else 1)
    # XLA draws other random numbers, so the means of many draws are compared, with the exact penalty.
    np.testing.assert_allclose(mean, expected, rtol=1e-8 if exact else 0.05)
    slopes = tape.gradient(expected, kernel).numpy()
    np.testing.assert_allclose(gradient, slopes, atol=(1e-8 if exact else 0.1) * np.abs(slopes).max())


@pytest.mark.parametrize("kind", ENCODERS)
def test_spectrum_is_numpys_and_its_squares_sum_to_the_penalty(kind):
    encoder, x = ENCODERS[kind](), inputs(kind)
    spectrum = jacobian.jacobian_spectrum(encoder, x).numpy()
    expected = np.linalg.svd(jacobian_by_finite_differences(encoder, x), compute_uv=False)
    np.testing.assert_allclose(spectrum, expected, atol=1e-8)
    np.testing.assert_allclose(np.square(spectrum).sum(axis=1), penalty_by_finite_differences(encoder, x), rtol=1e-7)


def test_dropout_and_noise_are_off():
    encoder = keras.Sequential(
        [keras.Input((7,)), keras.layers.GaussianNoise(0.5), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    )
    expected = np.broadcast_to(encoder.layers[-1].kernel.numpy().T, (6, 3, 7))
    np.testing.assert_allclose(jacobian.encoder_jacobian(encoder, inputs(dtype="float32")), expected, rtol=1e-6)


def test_many_calls_are_silent(caplog):
    """Outside a graph, TensorFlow would trace the Jacobian at every call and warn of it after the fifth."""
    layer, logger = dense_layer("tanh"), tf.get_logger()
    logger.addHandler(caplog.handler)
    for _ in range(8):
        jacobian.encoder_jacobian(layer, inputs(dtype="float32"))
    logger.removeHandler(caplog.handler)
    assert not caplog.messages


def test_integers_are_taken():
    layer, x = dense_layer("sigmoid"), np.arange(14).reshape(2, 7)
    np.testing.assert_array_equal(
        jacobian.dense_jacobian_penalty(layer, x), jacobian.dense_jacobian_penalty(layer, x.astype("float32"))
    )


@pytest.mark.parametrize(
    ("encoder", "names"),
    [
        (lambda: dense_layer("gelu"), "gelu"),
        (conv_encoder, "Conv2D"),
        (deep_encoder, "Dense, Dense"),
        (lambda: keras.layers.LayerNormalization(), "LayerNormalization"),
    ],
)
def test_the_closed_form_names_what_to_use_where_there_is_none(encoder, names):
    with pytest.raises(ValueError, match=f"{names}.*projected_jacobian_penalty.*jacobian_penalty"):
        jacobian.dense_jacobian_penalty(encoder(), inputs())


def test_bad_input_is_refused():
    layer, x = dense_layer("sigmoid"), inputs(dtype="float32")
    pair = keras.Model(start := keras.Input((7,)), [start, start])
    rounding = keras.Sequential([keras.Input((7,)), keras.layers.Rescaling(2, dtype="int32")])
    for call, message in [
        (lambda: jacobian.jacobian_penalty(keras.layers.Dense(3), x), "Start it with keras.Input"),
        (lambda: jacobian.jacobian_penalty(lambda x: x, x), "built Keras model or layer"),
        (lambda: jacobian.jacobian_penalty(layer, x[0]), r"\(7,\).*batch axis"),
        (lambda: jacobian.dense_jacobian_penalty(layer, x[None]), r"\(1, 6, 7\).*Flatten"),
        (lambda: jacobian.dense_jacobian_penalty(layer, x, z=x), r"\(6, 7\).*\(batch, 5\)"),
        (lambda: jacobian.jacobian_penalty(pair, x), "not one tensor"),
        (lambda: jacobian.jacobian_penalty(rounding, x), "int32.*derivative"),
        (lambda: jacobian.projected_jacobian_penalty(rounding, x), "int32.*derivative"),
        (lambda: jacobian.projected_jacobian_penalty(layer, x, num_probes=0), "num_probes.*0"),
        (lambda: jacobian.projected_jacobian_penalty(layer, x, num_probes=1.5), "num_probes.*1.5"),
        (lambda: jacobian.projected_jacobian_penalty(layer, x, num_probes=True), "num_probes.*True"),
        (lambda: jacobian.stochastic_contraction_penalty(layer, x, stddev=0.0), "stddev.*0.0"),
        (lambda: jacobian.stochastic_contraction_penalty(layer, x, stddev=float("nan")), "stddev.*nan"),
        (lambda: jacobian.stochastic_contraction_penalty(layer, x, stddev=float("inf")), "stddev.*inf"),
        (lambda: jacobian.stochastic_contraction_penalty(layer, x, stddev="0.1"), "stddev.*'0.1'"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("function", [jacobian.encoder_jacobian, jacobian.jacobian_penalty])
def test_sequences_of_any_length_in_a_compiled_step(function):
    convolution = keras.layers.Conv1D(3, 3, padding="same", activation="tanh", dtype="float64")
    encoder = keras.Sequential([keras.Input((None, 2), dtype="float64"), convolution])
    open_axis = tf.TensorSpec((None, None, 2), "float64")
    compiled = tf.function(lambda x: function(encoder, x), input_signature=[open_axis])
    for length in (4, 6):
        x = np.random.default_rng(length).normal(size=(3, length, 2))
        np.testing.assert_allclose(compiled(x), function(encoder, tf.constant(x)))
