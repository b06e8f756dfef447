"""The weights that come with the package are those that the data card and the benchmark name, and they denoise."""

import hashlib
import json
import re

import numpy as np
import pytest

from aelib import data, networks
from aelib.networks import stored
from benchmarks import common, photograph_denoiser


@pytest.fixture(scope="module")
def denoiser():
    return networks.photograph_denoiser()


def test_weights_are_those_of_the_card_and_of_the_benchmark():
    sha256 = hashlib.sha256(stored.WEIGHTS.read_bytes()).hexdigest()
    card = (common.ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert f"`{stored.WEIGHTS.name}` | `{sha256}`" in card
    results = json.loads((common.RESULTS / "photograph_denoiser.json").read_text(encoding="utf-8"))
    assert results["sha256"] == sha256
    assert stored.WEIGHTS.stat().st_size < 1_000_000


def test_results_are_those_of_the_weights(denoiser):
    """The last measurement that the benchmark stored, taken anew; the scenes are not those of the training."""
    results = json.loads((common.RESULTS / "photograph_denoiser.json").read_text(encoding="utf-8"))
    scores = photograph_denoiser.validation_psnr(denoiser, data.load_photographs(color=True).val)
    last = results["validation"][-1]["psnr"]
    assert [last[str(stddev)] for stddev in scores] == [pytest.approx(each, abs=0.02) for each in scores.values()]


@pytest.mark.parametrize("stddev", [10, 25, 50])
def test_it_removes_most_of_the_noise(denoiser, stddev):
    photo = data.load_photographs().val["camera"][np.newaxis, 100:228, 100:228]
    noisy = photo + stddev / 255 * np.random.default_rng(1).standard_normal(photo.shape).astype("float32")
    assert np.mean((denoiser(noisy) - photo) ** 2) < 0.35 * np.mean((noisy - photo) ** 2)


def test_patches_come_from_the_training_scenes_only():
    """A scene is a gradient of its own range of grey, so that every patch tells where it is from."""
    ramp = np.linspace(0, 0.1, 120)[:, np.newaxis, np.newaxis] * np.ones((120, 110, 1))
    scenes = {"dark": ramp, "light": 0.8 + ramp}
    cut = photograph_denoiser.patches(scenes, 5, np.random.default_rng(0))
    assert cut.shape == (10, photograph_denoiser.PATCH, photograph_denoiser.PATCH, 1) and cut.dtype == np.uint8
    assert cut[:5].max() <= 26 and cut[5:].min() >= 204


def test_noise_is_drawn_anew_for_every_batch_and_is_the_same_in_every_run():
    clean = np.full((40, 48, 48, 1), 128, "uint8")
    noisy, target, weight = photograph_denoiser.NoisyPatches(clean, part=0)[0]
    again = photograph_denoiser.NoisyPatches(clean, part=0)[0][0]
    others = (
        photograph_denoiser.NoisyPatches(clean, part=0)[1][0],
        photograph_denoiser.NoisyPatches(clean, part=1)[0][0],
    )
    np.testing.assert_array_equal(noisy, again)
    assert all(np.abs(noisy - other).max() > 0.01 for other in others)
    variance = np.var(noisy - target, axis=(1, 2, 3))
    np.testing.assert_allclose(weight[:, 0, 0], 1e-2 / (variance + 1e-3), rtol=0.1)


def test_without_its_weights_the_package_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(stored, "WEIGHTS", tmp_path / stored.WEIGHTS.name)
    with pytest.raises(FileNotFoundError, match=re.escape(stored.WEIGHTS.name)):
        networks.photograph_denoiser()
