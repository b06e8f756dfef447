import inspect

import keras
import numpy as np
import pytest
from scipy import stats

from aelib import priors
from aelib.priors import gaussian_mixture_prior, gaussian_prior, swiss_roll_prior

PRIORS = [gaussian_prior, gaussian_mixture_prior, swiss_roll_prior]
WITH_LABELS = [gaussian_mixture_prior, swiss_roll_prior]


def draw(prior, *args, **kwargs):
    return keras.ops.convert_to_numpy(prior(*args, **kwargs))


def assert_distribution(values, distribution):
    """A Kolmogorov-Smirnov test that a right sample fails once in ten thousand; the seeds are fixed."""
    assert stats.kstest(values, distribution).pvalue > 1e-4


def test_gaussian_is_standard_normal_and_its_numbers_are_independent():
    z = draw(gaussian_prior, 4000, 3, seed=0)
    assert_distribution(z.ravel(), "norm")
    np.testing.assert_allclose(np.corrcoef(z.T), np.eye(3), atol=0.07)


@pytest.mark.parametrize("num_labels", [10, 3])
@pytest.mark.parametrize("given", [False, True])
def test_mixture_is_that_of_its_formula(num_labels, given):
    """Turned back by its petal's angle, a code is N(2, 0.4^2) along the first axis and N(0, 0.15^2) across."""
    n = 6000
    labels = np.arange(n) % num_labels
    z = draw(gaussian_mixture_prior, n, labels=labels if given else None, num_labels=num_labels, seed=1)
    angles = np.arctan2(z[:, 1], z[:, 0]) / (2 * np.pi / num_labels)
    petals = np.round(angles).astype(int) % num_labels
    if given:
        assert np.mean(petals == labels) > 0.99  # near the origin petals meet
    else:
        labels = petals
        low, high = stats.binom.interval(1 - 1e-6, n, 1 / num_labels)
        counts = np.bincount(petals, minlength=num_labels)
        assert low <= counts.min() and counts.max() <= high
    angle = 2 * np.pi * labels / num_labels
    along, across = z[:, 0] * np.cos(angle) + z[:, 1] * np.sin(angle), z[:, 1] * np.cos(angle) - z[:, 0] * np.sin(angle)
    if not given:  # of a petal that is guessed from the code, the codes near the origin are not known
        along, across = along[along > 1], across[along > 1]
        assert along.mean() == pytest.approx(2, abs=0.03) and across.std() == pytest.approx(0.15, abs=0.01)
        return
    assert_distribution((along - 2) / 0.4, "norm")
    assert_distribution(across / 0.15, "norm")
    assert abs(np.corrcoef(along, across)[0, 1]) < 0.07
    assert abs(np.corrcoef(along, labels)[0, 1]) < 0.07


def places_on_the_spiral(z):
    """Of the nearest point of the spiral: its `t`, and the distance to it."""
    t = np.linspace(0, 1, 2001)
    angle = 4 * np.pi * np.sqrt(t)
    spiral = 3 * np.sqrt(t)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    distances = np.linalg.norm(z[:, None] - spiral, axis=2)
    return t[distances.argmin(axis=1)], distances.min(axis=1)


@pytest.mark.parametrize("num_labels", [10, 4])
def test_pieces_of_the_swiss_roll_follow_one_another(num_labels):
    labels = np.arange(4000) % num_labels
    places, _ = places_on_the_spiral(draw(swiss_roll_prior, 4000, labels=labels, num_labels=num_labels, seed=2))
    outer = labels > 0  # in the centre the turns meet
    # Along the spiral, four standard deviations of the noise move `t` by about 0.02.
    along = places * num_labels - labels  # from 0 at the beginning of its piece to 1 at the end
    assert np.abs(along - 0.5)[outer].max() < 0.5 + 0.03 * num_labels
    assert along[outer].mean() == pytest.approx(0.5, abs=0.03)
    assert along[outer].std() == pytest.approx(np.sqrt(1 / 12), abs=0.03)


def test_swiss_roll_is_even_along_the_spiral_and_normal_across():
    places, distances = places_on_the_spiral(draw(swiss_roll_prior, 4000, seed=3))
    inside = (places > 0.15) & (places < 0.95)
    assert_distribution((places[inside] - 0.15) / 0.8, "uniform")
    assert_distribution(distances[inside], stats.halfnorm(scale=0.1).cdf)


@pytest.mark.parametrize("prior", PRIORS)
def test_seed_repeats_the_codes_and_a_generator_does_not(prior):
    first, same, other = (draw(prior, 50, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).min(axis=0).min() > 0
    generator = keras.random.SeedGenerator(4)
    assert np.abs(draw(prior, 50, seed=generator) - draw(prior, 50, seed=generator)).max(axis=1).min() > 0
    assert np.abs(draw(prior, 50) - draw(prior, 50)).max(axis=1).min() > 0


def test_priors_take_the_same_arguments():
    assert len({tuple(inspect.signature(prior).parameters) for prior in PRIORS}) == 1
    assert {name for name in vars(priors) if name.endswith("_prior")} == {prior.__name__ for prior in PRIORS}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("n, latent_dim", [(0, 2), (5, 0), (5, -1), (2.5, 2), (True, 2), (5, "2")])
def test_sizes_that_are_no_sizes_are_refused(prior, n, latent_dim):
    with pytest.raises(ValueError, match="whole numbers above 0"):
        prior(n, latent_dim)


def test_one_code_of_one_number_is_enough():
    assert gaussian_prior(1, 1).shape == (1, 1)
    for prior in WITH_LABELS:
        assert prior(1, labels=[0], num_labels=1).shape == (1, 2)


@pytest.mark.parametrize("prior", WITH_LABELS)
def test_what_does_not_fit_is_refused(prior):
    for arguments, message in [
        ({"latent_dim": 3}, "latent_dim must be 2, but it is 3"),
        ({"num_labels": 0}, "whole numbers above 0, not 0"),
        ({"labels": [0, 1]}, r"shape \(2,\); one for each of the 3"),
        ({"labels": np.eye(3, dtype=int)}, r"shape \(3, 3\)"),
        ({"labels": [0, 1, 10]}, "from 0 to 9"),
        ({"labels": [0, 1, -1]}, "from 0 to 9"),
        ({"labels": [0.5, 1.0, 2.0]}, "whole numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            prior(3, **arguments)
    with pytest.raises(ValueError, match="no parts that labels could choose"):
        gaussian_prior(3, labels=[0, 1, 2])
