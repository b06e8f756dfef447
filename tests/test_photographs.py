import dataclasses
import hashlib
import importlib.resources
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from skimage import data as originals

from aelib import data
from aelib.data import photographs as loader

LINE = "Photographs: 8 scenes for training, 2 for validation, 3 for the test, from scikit-image and scikit-learn\n"
FUNCTIONS = {"tissue": "immunohistochemistry"}
GREY_ONLY = {"brick", "coins", "grass", "gravel", "camera"}


def original(scene):
    """The packages' own reading of a photograph; these files need no download."""
    if scene in ("china", "flower"):
        return sklearn.datasets.load_sample_image(f"{scene}.jpg")
    if scene == "motorcycle":
        return originals.stereo_motorcycle()[0]
    return getattr(originals, FUNCTIONS.get(scene, scene))()


def all_of(splits):
    return {**splits.train, **splits.val, **splits.test}


FILES = [file for files in loader.SCENES.values() for file in files.values()]


@pytest.fixture(scope="module")
def grey():
    return data.load_photographs()


@pytest.fixture(scope="module")
def in_color():
    return data.load_photographs(color=True)


def test_every_photograph_is_the_package_own(in_color):
    for scene, image in all_of(in_color).items():
        expected = original(scene)
        assert image.shape == (*expected.shape[:2], 1 if scene in GREY_ONLY else 3)
        np.testing.assert_array_equal(image, np.float32(expected.reshape(image.shape)) / np.float32(255))


def test_grey_is_the_weighted_sum_of_the_channels(grey, in_color):
    weights = np.array([0.2125, 0.7154, 0.0721])
    for scene, image in all_of(grey).items():
        kept = all_of(in_color)[scene]
        assert image.shape == (*kept.shape[:2], 1)
        expected = kept if scene in GREY_ONLY else (kept @ weights)[..., np.newaxis]
        np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("splits", ["grey", "in_color"])
def test_type_and_range(splits, request):
    for image in all_of(request.getfixturevalue(splits)).values():
        assert image.dtype == np.float32
        assert 0 <= image.min() < 0.3 and 0.7 < image.max() <= 1


def test_no_scene_is_in_two_parts(grey):
    parts = [dataclasses.asdict(grey)[name] for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [8, 2, 3]
    assert len(all_of(grey)) == 13
    files = [file for _, file, _ in FILES]
    assert len(set(files)) == 13
    assert "motorcycle_right.png" not in files  # the same scene as the left one


def test_every_test_photograph_is_in_colour(in_color):
    for image in in_color.test.values():
        assert image.shape[2] == 3
        assert np.abs(image - image.mean(axis=2, keepdims=True)).max() > 0.1


def test_it_says_where_they_are_from(capsys):
    data.load_photographs()
    assert capsys.readouterr() == (LINE, "")


def test_no_network_is_asked(monkeypatch):
    def refuse(*args):
        raise AssertionError("a connection is opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    data.load_photographs()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A copy of scikit-image's files that is read in their place."""
    files = importlib.resources.files
    for package, file, _ in FILES:
        if package == "skimage":
            (tmp_path / file).write_bytes((files("skimage.data") / file).read_bytes())
    find = lambda module: tmp_path if module == "skimage.data" else files(module)  # noqa: E731
    monkeypatch.setattr(loader.importlib.resources, "files", find)
    return tmp_path


def test_missing_photograph_is_named(folder):
    (folder / "coffee.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"scikit-image is installed without .* coffee\.png.*force-reinstall"):
        data.load_photographs()


@pytest.mark.parametrize("spoil", [lambda old: old[:-1], lambda old: b"", lambda old: old[:99] + b"?" + old[100:]])
def test_damaged_photograph_is_named(spoil, folder):
    path = folder / "camera.png"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is not the published photograph.*pip install"):
        data.load_photographs()


def test_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(ImportError, match=r"cannot be imported.*pip install scikit-image scikit-learn"):
        data.load_photographs()


def test_data_card_lists_every_photograph():
    card = (Path(loader.__file__).parents[2] / "data" / "README.md").read_text()
    words = {"train": "training", "val": "validation", "test": "test"}
    rows = [(scene, words[part], *file) for part, files in loader.SCENES.items() for scene, file in files.items()]
    for scene, part, package, file, sha256 in rows:
        (row,) = [line for line in card.splitlines() if line.startswith(f"| `{scene}`")]
        for text in (part, file, sha256, loader.PACKAGES[package][2]):
            assert text in row, scene


def test_checksums_are_those_of_scikit_image():
    from skimage.data._registry import registry

    for package, file, sha256 in FILES:
        content = importlib.resources.files(loader.PACKAGES[package][0]) / loader.PACKAGES[package][1] / file
        assert hashlib.sha256(content.read_bytes()).hexdigest() == sha256
        if package == "skimage":
            assert registry[f"data/{file}"] == sha256
