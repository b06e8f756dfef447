import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel

from aelib import metrics


def test_value_by_hand():
    """Points 0 and 2 against 0, 1 and 1, with 2 h^2 = 1: within e^-4 and (2 e^-1 + 1) / 3, between as written below."""
    between = (1 + 2 * np.exp(-1) + np.exp(-4) + 2 * np.exp(-1)) / 6
    expected = np.exp(-4) + (2 * np.exp(-1) + 1) / 3 - 2 * between
    found = metrics.mmd([[0.0], [2.0]], [[0.0], [1.0], [1.0]], bandwidth=np.sqrt(0.5))
    assert found == pytest.approx(expected, rel=1e-12)


def test_value_from_kernel_matrices():
    rng = np.random.default_rng(0)
    first, second, bandwidth = rng.normal(size=(40, 3)), rng.normal(0.5, 2.0, size=(55, 3)), 1.7
    k_first, k_second, k_between = (
        rbf_kernel(a, b, gamma=1 / (2 * bandwidth**2)) for a, b in [(first, first), (second, second), (first, second)]
    )
    expected = (k_first.sum() - 40) / (40 * 39) + (k_second.sum() - 55) / (55 * 54) - 2 * k_between.mean()
    assert metrics.mmd(first, second, bandwidth) == pytest.approx(expected, rel=1e-10)
    assert metrics.mmd(second, first, bandwidth) == pytest.approx(expected, rel=1e-10)


def test_bandwidth_is_the_median_distance_unless_given():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(30, 2)), rng.normal(3.0, 1.0, size=(20, 2))
    points = np.concatenate([first, second])
    distances = [np.linalg.norm(points[i] - points[j]) for i in range(50) for j in range(i)]
    expected = metrics.mmd(first, second, bandwidth=np.median(distances))
    assert metrics.mmd(first, second) == pytest.approx(expected, rel=1e-12)
    assert metrics.mmd(1000 * first, 1000 * second) == pytest.approx(expected, rel=1e-9)


def test_unbiased_where_the_distributions_are_equal():
    """The mean of many estimates is 0 within its own error; with the pairs of a point and itself it would be 0.06."""
    rng = np.random.default_rng(2)
    estimates = [metrics.mmd(*rng.normal(size=(2, 25, 2)), bandwidth=1.0) for _ in range(400)]
    assert abs(np.mean(estimates)) < 4 * stats.sem(estimates) < 0.006
    assert 0.3 < np.mean(np.array(estimates) < 0) < 0.7


def test_unbiased_where_they_differ():
    """For N(0, 1) and N(m, 1), `E k` is Gaussian in closed form: `h exp(-m^2 / (2 (h^2 + 2))) / sqrt(h^2 + 2)`."""
    rng, shift, h = np.random.default_rng(3), 1.2, 0.8
    scale = h / np.sqrt(h**2 + 2)
    expected = 2 * scale * (1 - np.exp(-(shift**2) / (2 * (h**2 + 2))))
    estimates = [metrics.mmd(rng.normal(size=(20, 1)), rng.normal(shift, 1, size=(30, 1)), h) for _ in range(400)]
    assert abs(np.mean(estimates) - expected) < 4 * stats.sem(estimates) < 0.2 * expected


@pytest.mark.parametrize(
    "first, second, bandwidth, message",
    [
        (np.zeros((5, 2)), np.zeros((5, 3)), None, "of equal width"),
        (np.zeros(5), np.zeros(5), None, "of equal width"),
        (np.zeros((1, 2)), np.zeros((5, 2)), None, "of equal width"),
        (np.zeros((5, 2)), np.zeros((0, 2)), None, "of equal width"),
        (np.full((5, 2), np.nan), np.zeros((5, 2)), None, "of equal width"),
        (np.zeros((5, 2)), np.full((5, 2), np.inf), None, "of equal width"),
        (np.eye(5), np.eye(5), 0.0, "it is 0.0"),
        (np.eye(5), np.eye(5), -1.0, "it is -1.0"),
        (np.eye(5), np.eye(5), np.inf, "it is inf"),
        (np.zeros((5, 2)), np.zeros((5, 2)), None, "it is 0.0"),  # the median distance is 0
    ],
)
def test_bad_input_is_refused(first, second, bandwidth, message):
    with pytest.raises(ValueError, match=message):
        metrics.mmd(first, second, bandwidth)
