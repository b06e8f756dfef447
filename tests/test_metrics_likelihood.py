"""The importance-weighted likelihood against a linear-Gaussian model, whose likelihood is known exactly."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from aelib import metrics

FEATURES, LATENT, STDDEV = 6, 3, 0.5


class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z + b, stddev^2 I): x and z | x are Gaussians with known mean and covariance."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.kernel, self.bias = rng.normal(size=(FEATURES, LATENT)), rng.normal(size=FEATURES)
        noise = STDDEV * rng.normal(size=(20, FEATURES))
        self.x = rng.normal(size=(20, LATENT)) @ self.kernel.T + self.bias + noise
        self.covariance = np.linalg.inv(np.eye(LATENT) + self.kernel.T @ self.kernel / STDDEV**2)
        self.z_mean = (self.x - self.bias) @ self.kernel @ self.covariance / STDDEV**2

    def log_likelihood(self, x, z):
        return norm.logpdf(x, z @ self.kernel.T + self.bias, STDDEV).sum(axis=1)

    def nll(self):
        return -multivariate_normal.logpdf(
            self.x, self.bias, self.kernel @ self.kernel.T + STDDEV**2 * np.eye(FEATURES)
        )

    def estimate(self, num_samples, z_mean=None, variance=None, **kwargs):
        """With the true posterior's mean and a diagonal q wider than it, unless told."""
        z_mean = self.z_mean if z_mean is None else z_mean
        variance = 1.5 * np.diag(self.covariance) if variance is None else variance
        z_log_var = np.log(np.broadcast_to(variance, z_mean.shape))
        return metrics.importance_weighted_nll(self.x, z_mean, z_log_var, self.log_likelihood, num_samples, **kwargs)


def test_many_samples_give_the_exact_likelihood():
    model = LinearGaussian()
    np.testing.assert_allclose(model.estimate(4000), model.nll(), atol=0.15)
    assert model.estimate(4000).mean() == pytest.approx(model.nll().mean(), abs=0.03)


@pytest.mark.parametrize("num_samples, batch_size", [(1, 1000), (7, 1000), (2, 20), (2, 7), (1, 1)])
def test_the_true_posterior_gives_the_exact_likelihood_with_any_number_of_samples(num_samples, batch_size):
    """Then p(x | z) p(z) / q(z | x) = p(x) for every z. A diagonal posterior needs orthogonal columns."""
    model = LinearGaussian()
    model.kernel = np.linalg.qr(model.kernel)[0] * [3.0, 1.0, 0.2]
    variance = 1 / (1 + np.square(model.kernel).sum(axis=0) / STDDEV**2)
    z_mean = (model.x - model.bias) @ model.kernel * variance / STDDEV**2
    nll = model.estimate(num_samples, z_mean, variance, batch_size=batch_size)
    assert nll.dtype == "float64" and nll.shape == (20,)
    np.testing.assert_allclose(nll, model.nll(), rtol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 7, 20])
def test_neither_the_draws_nor_the_estimates_depend_on_the_batches(batch_size):
    model = LinearGaussian()
    np.testing.assert_allclose(model.estimate(3, batch_size=batch_size), model.estimate(3), rtol=1e-12)


def test_an_example_is_estimated_from_itself_alone():
    model, other = LinearGaussian(), LinearGaussian()
    other.x = np.concatenate([model.x[:1], 5 * model.x[1:]])
    estimates = other.estimate(3)
    assert estimates[0] == pytest.approx(model.estimate(3)[0], rel=1e-12)
    assert np.all(estimates[1:] > model.estimate(3)[1:] + 1)


def test_one_sample_is_the_negative_evidence_lower_bound():
    """The bound's closed form: the expected squared error of a linear decoder, and the divergence of two Gaussians."""
    model = LinearGaussian()
    variance = 1.5 * np.diag(model.covariance)
    error = np.square(model.x - model.z_mean @ model.kernel.T - model.bias).sum(axis=1)
    expected_error = error + variance @ np.square(model.kernel).sum(axis=0)
    reconstruction = expected_error / (2 * STDDEV**2) + FEATURES / 2 * np.log(2 * np.pi * STDDEV**2)
    kl = 0.5 * np.sum(np.square(model.z_mean) + variance - 1 - np.log(variance), axis=1)
    estimates = np.array([model.estimate(1, seed=seed) for seed in range(400)])
    standard_errors = estimates.std(axis=0) / np.sqrt(len(estimates))
    assert np.all(np.abs(estimates.mean(axis=0) - reconstruction - kl) < 4.5 * standard_errors)
    assert standard_errors.max() < 0.5 < 0.1 * (reconstruction + kl).mean()


def test_the_bound_falls_with_the_number_of_samples_and_stays_above():
    model = LinearGaussian()
    means = [np.mean([model.estimate(k, seed=seed).mean() for seed in range(20)]) for k in (1, 4, 16, 64)]
    assert np.all(np.diff(means) < 0) and means[-1] > model.nll().mean()
    assert means[0] - means[-1] > 0.5


def test_very_unlikely_examples_do_not_underflow():
    """exp(-100000) is 0 in float64, and float32 knows -100000 only to the next 1/128."""
    weights = iter([-100_000.0, -100_000.001])
    nll = metrics.importance_weighted_nll(
        np.zeros((1, 2)), np.zeros((1, 1)), np.zeros((1, 1)), lambda x, z: np.array([next(weights)]), num_samples=2
    )
    np.testing.assert_allclose(nll, 100_000.0005, rtol=0, atol=1e-6)


def test_seed_repeats_and_draws_are_not_shared():
    model = LinearGaussian()
    np.testing.assert_array_equal(model.estimate(3, seed=5), model.estimate(3, seed=5))
    assert np.all(model.estimate(3, seed=5) != model.estimate(3, seed=6))
    drawn = []

    def log_likelihood(x, z):
        drawn.append(z)
        return np.zeros(len(x))

    metrics.importance_weighted_nll(np.zeros((500, 1)), np.zeros((500, 2)), np.zeros((500, 2)), log_likelihood, 2)
    z = np.concatenate(drawn, axis=1)
    assert len(np.unique(z)) == z.size
    assert np.abs(np.corrcoef(z.T) - np.eye(4)).max() < 0.25


@pytest.mark.parametrize(
    "shapes, options, message",
    [
        (((4, 2), (4, 3), (4, 2)), {}, r"z_mean has shape \(4, 3\) and z_log_var \(4, 2\)"),
        (((5, 2), (4, 3), (4, 3)), {}, "There are 5 examples"),
        (((0, 2), (0, 3), (0, 3)), {}, "at least 1"),
        (((4, 2), (4,), (4,)), {}, r"\(n, latent_dim\)"),
        (((4, 2), (4, 3), (4, 3)), {"num_samples": 0}, "num_samples must be a positive whole number, but it is 0"),
        (((4, 2), (4, 3), (4, 3)), {"num_samples": 2.5}, "num_samples"),
        (((4, 2), (4, 3), (4, 3)), {"batch_size": 0}, "batch_size"),
        (((4, 2), (4, 3), (4, 3)), {"log_likelihood": lambda x, z: -1.0}, r"shape \(4,\).*reduction=\"none\""),
    ],
)
def test_what_does_not_fit_together_is_refused(shapes, options, message):
    arguments = {"log_likelihood": lambda x, z: np.zeros(len(x)), "num_samples": 2, **options}
    with pytest.raises(ValueError, match=message):
        metrics.importance_weighted_nll(*map(np.zeros, shapes), **arguments)


def test_active_units_are_counted_by_the_variance_of_the_mean():
    rng = np.random.default_rng(0)
    deviations = np.array([1.0, 0.11, 0.09, 0.0])  # the threshold 0.01 is a standard deviation of 0.1
    z_mean = 5 + deviations * rng.choice([-1.0, 1.0], size=(1, 1000, 1)).repeat(4, axis=2)[0]
    assert metrics.active_units(z_mean) == 2
    assert metrics.active_units(z_mean, threshold=0.001) == 3
    assert metrics.active_units(z_mean, threshold=2.0) == 0


def test_active_units_are_judged_by_the_mean_square_about_the_mean():
    """Means of 4 and 6 scatter about 5 with the variance 1; divided by `n - 1` it would be 2."""
    assert metrics.active_units([[4.0], [6.0]], threshold=1.0) == 0
    assert metrics.active_units([[4.0], [6.0]], threshold=0.99) == 1


@pytest.mark.parametrize("z_mean", [np.zeros(3), np.zeros((1, 3)), np.full((4, 3), np.nan)])
def test_active_units_need_many_codes(z_mean):
    with pytest.raises(ValueError, match="at least two inputs"):
        metrics.active_units(z_mean)
