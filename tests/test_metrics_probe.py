import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_digits

from aelib import metrics


def by_hand(x, labels, x_test, l2):
    """Labels predicted by a softmax regression on standardized features, minimized by SciPy."""
    mean, spread = x.mean(axis=0), x.std(axis=0)
    x, x_test = (x - mean) / spread, (x_test - mean) / spread
    one_hot = np.eye(labels.max() + 1)[labels]

    def objective(parameters):
        weights, bias = np.split(parameters.reshape(-1, one_hot.shape[1]), [x.shape[1]])
        logits = x @ weights + bias
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        residual = np.exp(log_p) - one_hot
        gradient = np.concatenate([x.T @ residual + l2 * weights, residual.sum(axis=0)[None]])
        return -(one_hot * log_p).sum() + l2 / 2 * np.square(weights).sum(), gradient.ravel()

    start = np.zeros((x.shape[1] + 1) * one_hot.shape[1])
    best = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
    weights, bias = np.split(best.reshape(-1, one_hot.shape[1]), [x.shape[1]])
    return (x_test @ weights + bias).argmax(axis=1)


@pytest.fixture(scope="module")
def codes():
    x, labels = load_digits(return_X_y=True)
    x = x[:, x.std(axis=0) > 0.5] * np.geomspace(1e-3, 1e3, np.sum(x.std(axis=0) > 0.5))
    return x[:300], labels[:300], x[300:], labels[300:]


@pytest.mark.parametrize("l2", [1.0, 1000.0])
@pytest.mark.filterwarnings("error:lbfgs failed to converge")
def test_error_is_that_of_a_softmax_regression_by_hand(codes, l2):
    x, labels, x_test, test_labels = codes
    expected = np.mean(by_hand(x, labels, x_test, l2) != test_labels)
    found = metrics.linear_probe_error(x, labels, x_test, test_labels, l2=l2)
    assert found == pytest.approx(expected, abs=1.5 / len(x_test))  # one example may lie on the border


def test_scale_and_offset_of_the_features_do_not_matter(codes):
    x, labels, x_test, test_labels = codes
    plain = metrics.linear_probe_error(x, labels, x_test, test_labels)
    scaled = metrics.linear_probe_error(1000 * x + 5, labels, 1000 * x_test + 5, test_labels)
    assert scaled == pytest.approx(plain, abs=1.5 / len(x_test))


def test_same_result_in_every_run_and_chance_for_labels_without_meaning(codes):
    x, labels, x_test, test_labels = codes
    shuffled = np.random.default_rng(0).permutation(labels)
    errors = [metrics.linear_probe_error(x, shuffled, x_test, test_labels) for _ in range(2)]
    assert errors[0] == errors[1]
    assert 0.8 < errors[0] < 0.98


def test_one_example_may_be_classified(codes):
    x, labels, _, _ = codes
    assert metrics.linear_probe_error(x, labels, x[:1], labels[:1]) == 0
    assert metrics.linear_probe_error(x, labels, x[:1], labels[:1] - 1) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"train_codes": np.zeros(4)}, r"training codes have shape \(4,\)"),
        ({"train_labels": np.zeros(3)}, r"training codes have shape \(4, 2\) and their labels \(3,\)"),
        ({"test_codes": np.zeros((0, 2)), "test_labels": np.zeros(0)}, r"test codes have shape \(0, 2\)"),
        ({"test_codes": np.zeros((2, 3))}, "3 features"),
        ({"test_codes": np.full((2, 2), np.nan)}, "NaN"),
        ({"train_labels": np.zeros(4)}, "class"),
        ({"l2": 0.0}, "above 0, but it is 0.0"),
        ({"l2": np.inf}, "above 0, but it is inf"),
    ],
    ids=["vector", "labels", "empty", "width", "not finite", "one class", "l2", "infinite l2"],
)
def test_bad_input_is_refused(change, message):
    good = {
        "train_codes": np.eye(4)[:, :2],
        "train_labels": np.array([0, 1, 0, 1]),
        "test_codes": np.ones((2, 2)),
        "test_labels": np.zeros(2),
    }
    metrics.linear_probe_error(**good)
    with pytest.raises(ValueError, match=message):
        metrics.linear_probe_error(**(good | change))
