"""Errors and angles against geometry, scikit-learn and the number that was published in 2006."""

import numpy as np
import pytest
from scipy.spatial.distance import sqeuclidean
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error

from aelib import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 7), (5, 28, 28), (5, 28, 28, 1)])
def test_error_of_each_image_is_the_squared_distance(rng, shape):
    x, reconstruction = rng.uniform(size=shape), rng.uniform(size=shape)
    expected = [sqeuclidean(a.ravel(), b.ravel()) for a, b in zip(x, reconstruction, strict=True)]
    errors = metrics.squared_error_per_image(x, reconstruction)
    assert errors.shape == (5,)
    np.testing.assert_allclose(errors, expected, rtol=1e-12)


def test_mean_error_is_784_times_the_mean_over_pixels(rng):
    x, reconstruction = rng.uniform(size=(2, 20, 784))
    mean = metrics.squared_error_per_image(x, reconstruction).mean()
    np.testing.assert_allclose(mean, 784 * mean_squared_error(x, reconstruction), rtol=1e-12)


def test_error_of_bytes_does_not_wrap_around():
    x, reconstruction = np.array([[0, 3]], "uint8"), np.array([[255, 1]], "uint8")
    assert metrics.squared_error_per_image(x, reconstruction).tolist() == [255**2 + 2**2]


def test_error_is_summed_in_float64():
    """In float32 the many small terms are lost beside the large one: the gap of 2**24 to the next number is 2."""
    x = np.ones((1, 1001), "float32")
    x[0, 0] = 2**12
    assert metrics.squared_error_per_image(x, np.zeros_like(x)).tolist() == [2**24 + 1000]


@pytest.mark.parametrize(
    "x, reconstruction",
    [
        (np.zeros((3, 4)), np.zeros((3, 5))),
        (np.zeros((3, 4)), np.zeros(4)),  # would broadcast
        (np.zeros((3, 4)), np.zeros((1, 4))),  # would broadcast
        (np.zeros((3, 28, 28)), np.zeros((3, 784))),
        (np.zeros(4), np.zeros(4)),
        (np.zeros((0, 4)), np.zeros((0, 4))),
    ],
)
def test_error_refuses_what_is_no_pair_of_images(x, reconstruction):
    with pytest.raises(ValueError, match="must be equal") as caught:
        metrics.squared_error_per_image(x, reconstruction)
    assert str(x.shape) in str(caught.value) and str(reconstruction.shape) in str(caught.value)


def planes_at(angles, rng, features=12):
    """Two random bases of subspaces that enclose these angles, in degrees."""
    count, radians = len(angles), np.radians(angles)
    axes = np.linalg.qr(rng.normal(size=(features, 2 * count)))[0]
    first, other = axes[:, :count], axes[:, count:]
    second = first * np.cos(radians) + other * np.sin(radians)
    return first @ rng.normal(size=(count, count)), second @ rng.normal(size=(count, count))


@pytest.mark.parametrize("angles", [[0.0], [45.0], [90.0], [70.0, 30.0, 5.0], [90.0, 60.0, 60.0, 0.0]])
def test_angles_are_those_of_the_construction(rng, angles):
    first, second = planes_at(angles, rng)
    np.testing.assert_allclose(metrics.principal_angles(first, second), angles, atol=1e-5)
    np.testing.assert_allclose(metrics.principal_angles(second, first), angles, atol=1e-5)


def test_small_angles_are_not_lost():
    """The cosine of a hundred-millionth of a degree is 1 in float64."""
    first, second = np.array([[1.0], [0.0]]), np.array([[1.0], [np.radians(1e-8)]])
    np.testing.assert_allclose(metrics.principal_angles(first, second), [1e-8], rtol=1e-6)


def test_angles_do_not_depend_on_the_basis(rng):
    first, second = rng.normal(size=(2, 20, 4))
    mixed = first @ rng.normal(size=(4, 4))
    expected = metrics.principal_angles(first, second)
    assert expected.min() > 1
    np.testing.assert_allclose(metrics.principal_angles(mixed, second), expected, rtol=1e-6)
    np.testing.assert_allclose(metrics.principal_angles(mixed, first), np.zeros(4), atol=1e-5)


def test_angles_of_a_line_in_a_plane_and_out_of_it():
    plane = np.eye(3)[:, :2]
    for line, angle in (([1, 1, 0], 0), ([0, 1, np.sqrt(3)], 60), ([0, 0, 1], 90)):
        np.testing.assert_allclose(metrics.principal_angles(plane, np.array([line]).T), [angle], atol=1e-6)


@pytest.mark.parametrize(
    "matrix, message",
    [
        (np.ones((5, 2)), "rank 1"),  # the same column twice
        (np.ones((2, 5)), "transpose"),  # a component a row
        (np.zeros((5, 1)), "rank 0"),
        (np.zeros((5, 0)), "rank 0"),
        (np.ones(5), "shape \\(5,\\)"),
        (np.full((5, 1), np.nan), "finite"),
        (np.eye(4), "5 and 4 rows|4 and 5 rows"),
    ],
)
def test_angles_refuse_what_is_no_basis(matrix, message):
    good = np.eye(5)[:, :2]
    for pair in ((good, matrix), (matrix, good)):
        with pytest.raises(ValueError, match=message):
            metrics.principal_angles(*pair)


def test_pca_with_30_components_has_the_published_error(full_mnist):
    """Printed in 2006: 13.87 on the test set. A separate eigendecomposition gave 14.207 on the training set."""
    x_train = np.concatenate([full_mnist.x_train, full_mnist.x_val])
    pca = PCA(30, svd_solver="covariance_eigh").fit(x_train)
    errors = {
        name: metrics.squared_error_per_image(x, pca.inverse_transform(pca.transform(x))).mean()
        for name, x in (("training", x_train), ("test", full_mnist.x_test))
    }
    assert round(errors["test"], 2) == 13.87
    assert round(errors["training"], 3) == 14.207
