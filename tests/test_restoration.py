import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import restoration

rng = np.random.default_rng(0)
R = 0.2 * rng.normal(size=(6, 6))
A = rng.normal(size=(4, 6)) / 2
Y = rng.normal(size=(3, 4))
QUIET = {"verbose": 0, "start": np.zeros((3, 6))}


def times(matrix):
    return lambda x: tf.matmul(x, tf.constant(matrix.T, tf.float32))


def test_linear_denoiser_gives_the_known_minimiser():
    """`(A^T A + gamma (R - I)^T (R - I)) x = A^T y`, solved by NumPy."""
    for gamma in (0.05, 1.0):
        change = R - np.eye(6)
        expected = np.linalg.solve(A.T @ A + gamma * change.T @ change, A.T @ Y.T).T
        options = {"steps": 400, "learning_rate": 0.1, "momentum": 0.8, **QUIET}
        image, history = restoration.restore(times(R), Y, times(A), prior_weight=gamma, **options)
        np.testing.assert_allclose(image, expected, atol=2e-4)
        assert history["data"][-1] == pytest.approx(np.square(expected @ A.T - Y).sum() / 3, rel=1e-3)
        assert history["prior"][-1] == pytest.approx(np.square(expected @ change.T).sum() / 3, rel=1e-3)


def test_without_the_prior_it_is_least_squares():
    square = np.eye(6) + R
    y = rng.normal(size=(3, 6))
    options = {"prior_weight": 0.0, "steps": 400, "learning_rate": 0.1, "verbose": 0}
    image, _ = restoration.restore(times(R), y, times(square), **options)
    np.testing.assert_allclose(image, np.linalg.solve(square, y.T).T, atol=2e-4)


def test_a_step_is_the_gradient_by_finite_differences():
    """A denoiser and a degradation that are not linear, the energy in double precision."""
    weights = rng.normal(size=(6, 6)) / 3
    start, gamma, rate = rng.normal(size=(3, 6)), 0.7, 0.01

    def energy(x):
        data = np.square(np.sin(x @ A.T) - Y).sum()
        return data + gamma * np.square(np.tanh(x @ weights.T) - x).sum()

    gradient = np.zeros_like(start)
    for index in np.ndindex(*start.shape):
        shift = np.zeros_like(start)
        shift[index] = 1e-5
        gradient[index] = (energy(start + shift) - energy(start - shift)) / 2e-5
    arguments = (lambda x: tf.tanh(times(weights)(x)), Y, lambda x: tf.sin(times(A)(x)), start)
    options = {"prior_weight": gamma, "learning_rate": rate, "momentum": 0.5, "verbose": 0}
    image, _ = restoration.restore(*arguments, steps=1, **options)
    np.testing.assert_allclose(image, start - rate * gradient, atol=1e-5)
    twice, _ = restoration.restore(*arguments, steps=2, **options)
    again, _ = restoration.restore(*arguments[:3], image, steps=1, **options)
    np.testing.assert_allclose(twice, again + 0.5 * (image - start), atol=1e-5)  # the momentum


def test_weights_may_change_from_step_to_step():
    options = {"learning_rate": 0.05, "momentum": 0.0, "verbose": 0}
    first, _ = restoration.restore(times(R), Y, times(A), np.zeros((3, 6)), prior_weight=2.0, steps=1, **options)
    both, _ = restoration.restore(times(R), Y, times(A), first, prior_weight=0.5, steps=1, **options)
    image, _ = restoration.restore(times(R), Y, times(A), np.zeros((3, 6)), [2.0, 0.5], steps=2, **options)
    np.testing.assert_allclose(image, both, atol=1e-6)


def test_the_denoiser_is_shown_noise_of_the_given_size():
    """A denoiser that always says 0: the term is the mean square of image and noise, 0.25 + stddev^2 a pixel."""
    image = np.full((2, 50, 50, 1), 0.5)
    arguments = (lambda x: 0 * x, image, lambda x: x)
    options = {"steps": 2, "learning_rate": 1e-9, "verbose": 0, "stddev": [0.3, 0.6]}
    _, history = restoration.restore(*arguments, seed=1, **options)
    pixels = np.array(history["prior"]) / 2500
    np.testing.assert_allclose(pixels, [0.25 + 0.09, 0.25 + 0.36, 0.25 + 0.36], rtol=0.05)
    _, same = restoration.restore(*arguments, seed=1, **options)
    _, other = restoration.restore(*arguments, seed=2, **options)
    assert history == same != other
    assert history["prior"][1] != history["prior"][2]  # fresh at every step
    keras.utils.set_random_seed(3)
    _, first = restoration.restore(*arguments, **options)
    _, second = restoration.restore(*arguments, **options)
    keras.utils.set_random_seed(3)
    _, third = restoration.restore(*arguments, **options)
    assert first == third != second


def test_metrics_see_every_image_from_the_start_to_the_result():
    seen = []

    def note(x):
        seen.append(x)
        return x.mean()

    image, history = restoration.restore(times(R), Y, times(A), steps=5, metrics={"mean": note}, **QUIET)
    assert {name: len(values) for name, values in history.items()} == {"data": 6, "prior": 6, "mean": 6}
    assert all(isinstance(each, np.ndarray) for each in seen)
    np.testing.assert_array_equal(seen[0], QUIET["start"])
    np.testing.assert_array_equal(seen[-1], image)
    assert history["mean"] == [float(each.mean()) for each in seen]
    assert history["data"][0] == pytest.approx(np.square(Y).sum() / 3, rel=1e-5)


def test_a_keras_model_is_a_denoiser_and_is_not_trained():
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    before = network.get_weights()
    y = rng.uniform(size=(2, 8, 8, 1))
    image, history = restoration.restore(network, y, lambda x: x, steps=3, verbose=0)
    assert image.shape == y.shape and image.dtype == np.float32
    assert history["data"][0] == 0 < history["data"][-1]
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_bar_is_shown_or_silenced(capsys):
    restoration.restore(times(R), Y, times(A), steps=7, **QUIET)
    assert capsys.readouterr() == ("", "")
    for verbose in (1, "auto"):
        restoration.restore(times(R), Y, times(A), steps=7, **QUIET | {"verbose": verbose})
        printed = capsys.readouterr().out
        assert "7/7" in printed and "prior" in printed


def call(**changes):
    arguments = {"denoiser": times(R), "y": Y, "degradation": times(A), "steps": 3, **QUIET}
    return restoration.restore(**arguments | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be a positive whole number"),
        ({"steps": 2.0}, "steps must be a positive whole number"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": np.nan}, "learning_rate must be positive"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"momentum": -0.1}, r"momentum in \[0, 1\)"),
        ({"prior_weight": -1.0}, "prior_weight must be a number that is not negative, or 3 of them"),
        ({"prior_weight": [1.0, 1.0]}, "prior_weight must be a number that is not negative, or 3 of them"),
        ({"stddev": np.inf}, "stddev must be a number"),
        ({"y": Y * np.nan}, "y has values that are not finite"),
        ({"start": np.full((3, 6), np.inf)}, "start has values that are not finite"),
        ({"y": np.array([["a"]])}, "y must be a batch of images"),
        ({"y": np.zeros((0, 4))}, "y must be a batch of images"),
        ({"y": np.zeros(4)}, "y must be a batch of images"),
        ({"start": np.zeros((2, 6))}, r"shape \(2, 4\) of images of shape \(2, 6\), but y has shape \(3, 4\)"),
        ({"start": None, "degradation": lambda x: x[:, :2]}, "Give a start of the shape that the result is to have"),
        ({"denoiser": times(A)}, r"denoiser makes shape \(3, 4\) of images of shape \(3, 6\)"),
        ({"learning_rate": 1e30}, "diverged at step 1: give a smaller learning_rate than 1e\\+30"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        call(**changes)
