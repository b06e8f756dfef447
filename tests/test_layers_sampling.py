import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from aelib import layers


def draws(count=40_000, z_mean=(1.0, -2.0), z_log_var=(-1.0, 1.5), seed=0):
    z_mean, z_log_var = (tf.tile([tf.constant(row, "float64")], (count, 1)) for row in (z_mean, z_log_var))
    with tf.GradientTape() as tape:
        tape.watch((z_mean, z_log_var))
        z = layers.Sampling(seed, dtype="float64")((z_mean, z_log_var))
        output = tf.reduce_sum(tf.square(z - 3.0))
    return z.numpy(), [gradient.numpy() for gradient in tape.gradient(output, (z_mean, z_log_var))]


def test_draws_are_from_the_gaussian():
    z, _ = draws()
    for values, mean, log_var in zip(z.T, (1.0, -2.0), (-1.0, 1.5), strict=True):
        assert stats.kstest(values, stats.norm(mean, np.exp(log_var / 2)).cdf).pvalue > 0.01


def test_gradient_is_that_of_the_expectation_of_a_quadratic():
    """E (z - 3)^2 = (m - 3)^2 + exp(v): its derivatives are 2 (m - 3) and exp(v)."""
    _, gradients = draws()
    expected = 2 * (np.array([1.0, -2.0]) - 3), np.exp([-1.0, 1.5])
    for estimates, value in zip(gradients, expected, strict=True):
        standard_errors = estimates.std(axis=0) / np.sqrt(len(estimates))
        assert np.all(np.abs(estimates.mean(axis=0) - value) < 4 * standard_errors)
        assert np.all(standard_errors < 0.03 * np.abs(value))


def test_every_example_and_unit_has_noise_of_its_own_new_at_every_call():
    z, _ = draws(1000, (0.0, 0.0), (0.0, 0.0))
    assert len(np.unique(z)) == z.size
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.12
    sampling, pair = layers.Sampling(seed=3), (np.zeros((4, 2), "float32"), np.zeros((4, 2), "float32"))
    first, second = sampling(pair), sampling(pair)
    assert np.all(first != second)
    np.testing.assert_array_equal(layers.Sampling.from_config(sampling.get_config())(pair), first)


def test_what_is_drawn_in_training_does_not_depend_on_evaluations():
    pair = np.zeros((4, 2), "float32"), np.zeros((4, 2), "float32")

    def trained(evaluations):
        sampling = layers.Sampling(seed=3)
        evaluated = [sampling(pair, training=False).numpy() for _ in range(evaluations)]
        drawn = [sampling(pair, training=True).numpy() for _ in range(2)]
        assert len(np.unique([*evaluated, *drawn])) == 8 * (evaluations + 2)
        return drawn

    np.testing.assert_array_equal(trained(0), trained(3))
    np.testing.assert_array_equal(trained(1)[0], keras.random.normal((4, 2), seed=3))


def test_evaluations_draw_from_the_seed_too():
    pair = np.zeros((4, 2), "float32"), np.zeros((4, 2), "float32")
    first, same, other = (layers.Sampling(seed)(pair, training=False).numpy() for seed in (3, 3, 8))
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(first, layers.Sampling(3)(pair))
    assert np.all(first != other)


@pytest.mark.parametrize("shapes", [[(4, 2), (4, 3)], [(4, 2), (4, 1)], [(4, 2)], [(4, 2)] * 3])
def test_sampling_refuses_what_is_no_pair(shapes):
    with pytest.raises(ValueError, match="takes the pair"):
        layers.Sampling()([np.zeros(shape, "float32") for shape in shapes])
    with pytest.raises(ValueError, match="takes the pair"):
        layers.Sampling()(np.zeros(shapes[0], "float32"))
