import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

from aelib.losses import BernoulliNLL, SumSquaredError, gaussian_kl

rng = np.random.default_rng(0)


def test_is_the_sum_over_features_and_the_mean_over_the_batch():
    x, reconstruction = rng.normal(size=(2, 5, 4, 3, 2)).astype("float32")
    total = 0.0
    for image, other in zip(x, reconstruction, strict=True):
        total += np.linalg.norm((image - other).ravel()) ** 2
    assert float(SumSquaredError()(x, reconstruction)) == pytest.approx(total / 5, rel=1e-6)


def test_is_mse_times_the_number_of_features():
    x, reconstruction = rng.uniform(size=(2, 7, 784)).astype("float32")
    mse = float(keras.losses.MeanSquaredError()(x, reconstruction))
    assert float(SumSquaredError()(x, reconstruction)) == pytest.approx(784 * mse, rel=1e-5)


def test_one_value_an_example_and_weights():
    x, reconstruction = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 0.0]])
    assert SumSquaredError(reduction="none")(x, reconstruction).numpy().tolist() == [5.0, 9.0]
    assert float(SumSquaredError()(x, reconstruction, sample_weight=[1.0, 0.0])) == 2.5


@pytest.mark.parametrize("loss", [SumSquaredError(), BernoulliNLL()])
def test_shapes_are_compared_as_far_as_they_are_known(loss):
    """In a graph, the number of examples, of steps or of pixels may be open."""
    x, reconstruction = rng.uniform(size=(2, 5, 3)).astype("float32")
    for known in [(None, 3), (5, None), (None, None)]:
        graph = tf.function(loss, input_signature=[tf.TensorSpec(known), tf.TensorSpec((None, 3))])
        assert float(graph(x, reconstruction)) == pytest.approx(float(loss(x, reconstruction)), rel=1e-6)
    with pytest.raises(ValueError, match="must be equal"):
        tf.function(loss.call).get_concrete_function(tf.TensorSpec((None, 3)), tf.TensorSpec((None, 4)))


@pytest.mark.parametrize("loss", [SumSquaredError, BernoulliNLL])
def test_an_example_counts_by_itself_and_is_computed_in_the_type_asked_for(loss):
    x, reconstruction = rng.uniform(size=(2, 5, 3, 2))
    each = loss(reduction="none", dtype="float64")
    values = each(x, reconstruction).numpy()
    assert values.dtype == "float64" and values.shape == (5,)
    np.testing.assert_allclose(
        values,
        [loss(dtype="float64")(*pair) for pair in zip(x[:, None], reconstruction[:, None], strict=True)],
        rtol=1e-12,
    )
    half = loss(dtype="float16")
    assert half(x, reconstruction).dtype == "float16" and loss.from_config(half.get_config()).dtype == "float16"


@pytest.mark.parametrize("shape", [(4, 1), (4,), (1, 3), (4, 3, 1)])
def test_shapes_that_would_broadcast_are_refused(shape):
    with pytest.raises(ValueError, match="must be equal"):
        SumSquaredError().call(np.zeros((4, 3), "float32"), np.zeros(shape, "float32"))


def test_is_kept_by_serialization():
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(SumSquaredError(name="error")))
    assert isinstance(loss, SumSquaredError) and loss.name == "error"


@pytest.mark.parametrize("mean, log_var", [(0.0, 0.0), (1.5, 0.0), (0.0, -3.0), (-0.7, 1.2), (2.0, -6.0)])
def test_divergence_is_the_integral(mean, log_var):
    q, p = stats.norm(mean, np.exp(log_var / 2)), stats.norm()
    low, high = q.ppf([1e-13, 1 - 1e-13])
    integral, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), low, high, epsabs=1e-10)
    kl = gaussian_kl(np.array([[mean]]), np.array([[log_var]]))
    np.testing.assert_allclose(kl, [integral], rtol=1e-6, atol=1e-9)


def test_divergence_is_a_sum_over_the_code_and_one_value_an_example():
    z_mean, z_log_var = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    each = gaussian_kl(z_mean.reshape(-1, 1), z_log_var.reshape(-1, 1)).numpy().reshape(5, 12)
    np.testing.assert_allclose(gaussian_kl(z_mean, z_log_var), each.sum(axis=1), rtol=1e-12)


def test_divergence_has_the_gradient_of_the_closed_form():
    pair = tf.constant([[0.5, -2.0]], "float64"), tf.constant([[1.0, -0.3]], "float64")
    with tf.GradientTape() as tape:
        tape.watch(pair)
        kl = gaussian_kl(*pair)
    by_mean, by_log_var = tape.gradient(kl, pair)
    np.testing.assert_allclose(by_mean, pair[0], rtol=1e-12)
    np.testing.assert_allclose(by_log_var, (np.exp(pair[1]) - 1) / 2, rtol=1e-12)


@pytest.mark.parametrize("shapes", [((4, 2), (4, 1)), ((4, 2), (2,)), ((4,), (4,))])
def test_divergence_refuses_other_shapes(shapes):
    with pytest.raises(ValueError, match="must be equal"):
        gaussian_kl(*map(np.zeros, shapes))


@pytest.mark.parametrize("shape", [(5, 7), (5, 4, 4, 1)])
def test_likelihood_is_that_of_independent_pixels(shape):
    rng = np.random.default_rng(0)
    x, logits = rng.integers(2, size=shape), rng.normal(scale=3, size=shape)
    expected = -stats.bernoulli.logpmf(x, special.expit(logits)).reshape(5, -1).sum(axis=1)
    each = BernoulliNLL(reduction="none")
    np.testing.assert_allclose(each(x, logits), expected, rtol=1e-5)
    assert float(BernoulliNLL()(x, logits)) == pytest.approx(expected.mean(), rel=1e-5)
    from_probabilities = BernoulliNLL(from_logits=False, reduction="none")
    np.testing.assert_allclose(from_probabilities(x, special.expit(logits)), expected, rtol=1e-4)


def test_likelihood_of_grey_pixels_and_weights():
    x, logits = np.array([[0.25, 1.0], [0.0, 0.5]]), np.array([[0.5, -1.0], [2.0, 0.0]])
    p = special.expit(logits)
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=1)
    weighted = BernoulliNLL()(x, logits, sample_weight=[2.0, 0.0])
    assert float(weighted) == pytest.approx(expected[0], rel=1e-6)


def test_logits_are_not_clipped():
    assert float(BernoulliNLL()([[0.0]], [[300.0]])) == 300


def test_losses_are_kept_by_serialization():
    config = keras.saving.serialize_keras_object(BernoulliNLL(from_logits=False, name="nll"))
    loss = keras.saving.deserialize_keras_object(config)
    assert isinstance(loss, BernoulliNLL) and loss.name == "nll" and not loss.from_logits


@pytest.mark.parametrize("value", [-0.1, 1.1, 255.0, np.nan])
def test_pixels_outside_the_unit_interval_are_refused(value):
    x = rng.integers(2, size=(5, 12)).astype("float32")
    x[3, 4] = value
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\].*Divide grey values by 255"):
        BernoulliNLL()(x, np.zeros_like(x))
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\].*from_logits=True"):
        BernoulliNLL(from_logits=False)(np.zeros_like(x), x)


def test_likelihood_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="must be equal"):
        BernoulliNLL().call(np.zeros((4, 3), "float32"), np.zeros((4, 1), "float32"))


@pytest.mark.parametrize("loss", [SumSquaredError(), BernoulliNLL()])
def test_weights_and_masks_of_examples_count_and_those_of_steps_are_refused(loss):
    x, r = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]], "float32"), np.array([[0.5, 0.5], [2.0, 1.0], [1.0, 3.0]])
    values = type(loss)(reduction="none")(x, r).numpy()
    for weights in ([2.0, 1.0, 0.0], [[2.0], [1.0], [0.0]]):
        assert float(loss(x, r, sample_weight=weights)) == pytest.approx((2 * values[0] + values[1]) / 3)
    for shape in ((3, 2), (3, 1, 2)):
        with pytest.raises(ValueError, match="one weight an example"):
            loss(x, r, sample_weight=np.ones(shape))
    masked = tf.constant(r, "float32")
    masked._keras_mask = tf.constant([True, True, False])
    assert float(loss(x, masked)) == pytest.approx(values[:2].mean())
    masked._keras_mask = tf.ones((3, 2), "bool")
    with pytest.raises(ValueError, match="mask of steps"):
        loss(x, masked)
