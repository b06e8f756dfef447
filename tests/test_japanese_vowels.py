import dataclasses
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aelib import data
from aelib.data import files, japanese_vowels

LINE = "JapaneseVowels: 270 + 370 utterances "
COPY = Path(japanese_vowels._package_folder())


@pytest.fixture(autouse=True)
def clean_machine(monkeypatch, tmp_path):
    """No clone, an empty Keras cache, an origin that is not there."""
    monkeypatch.delenv("AELIB_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(files, "PROJECT", tmp_path / "no clone")
    change(monkeypatch, origin="file:///no/such/archive")


def change(monkeypatch, **parts):
    monkeypatch.setattr(japanese_vowels, "ARCHIVE", dataclasses.replace(japanese_vowels.ARCHIVE, **parts))


@pytest.fixture
def without_sktime(monkeypatch):
    monkeypatch.setattr(japanese_vowels, "_package_folder", lambda: None)


def rows_of_copy(part):
    """What sktime's file says, as text: the coefficients of each utterance, and its speaker."""
    text = (COPY / f"JapaneseVowels_{part.upper()}.ts").read_text()
    for line in text.split("@data\n")[1].splitlines():
        *coefficients, speaker = line.split(":")
        yield list(zip(*[one.split(",") for one in coefficients], strict=True)), int(speaker)


@pytest.fixture(scope="module")
def archive():
    """The bytes of an archive such as UCI's, written from the copy."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for part in ("train", "test"):
            rows, speakers = zip(*rows_of_copy(part), strict=True)
            lines = ["".join(" ".join(step) + " \n" for step in utterance) for utterance in rows]
            written.writestr(f"ae.{part}", "\n".join(lines) + "\n")
            written.writestr(f"size_ae.{part}", " ".join(map(str, np.bincount(speakers)[1:])) + " \n")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def vowels():
    return data.load_japanese_vowels("sktime")


def test_steps_are_the_published_ones(vowels):
    """The first line of UCI's `ae.train`, and the first of the 346th utterance of `ae.test`."""
    first = [1.860936, -0.207383, 0.261557, -0.214562, -0.171253, -0.118167]
    np.testing.assert_allclose(vowels.x_train[0, 0, :6], first, rtol=1e-6)
    late = [1.254300, -0.061214, 0.161361, -0.465982, -0.123012, -0.522620]
    np.testing.assert_allclose(vowels.x_test[345, 0, :6], late, rtol=1e-6)
    assert (vowels.speakers_train[0], vowels.speakers_test[345], vowels.lengths_test[345]) == (1, 9, 20)


def test_published_counts(vowels):
    """30 training utterances of each speaker, these of the test set, 7 to 29 steps (UCI's description)."""
    speakers = np.concatenate([vowels.speakers_train, vowels.speakers_val])
    assert np.bincount(speakers).tolist() == [0] + 9 * [30]
    assert np.bincount(vowels.speakers_val).tolist() == [0] + 9 * [6]
    assert np.bincount(vowels.speakers_test).tolist() == [0, 31, 35, 88, 44, 29, 24, 40, 50, 29]
    lengths = np.concatenate([vowels.lengths_train, vowels.lengths_val, vowels.lengths_test])
    assert (lengths.min(), lengths.max()) == (7, 29)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_padded_with_zeros_after_the_end_and_never_before(part, vowels):
    x, lengths = getattr(vowels, f"x_{part}"), getattr(vowels, f"lengths_{part}")
    assert x.dtype == np.float32 and x.shape[1:] == (29, 12) and lengths.dtype == np.int64
    assert getattr(vowels, f"speakers_{part}").dtype == np.int64
    np.testing.assert_array_equal(x.any(axis=2), np.arange(29) < lengths[:, None])


def test_each_utterance_is_in_one_part(vowels):
    x = np.concatenate([vowels.x_train, vowels.x_val, vowels.x_test])
    expected = [rows for part in ("train", "test") for rows, _ in rows_of_copy(part)]
    assert len({row.tobytes() for row in x}) == len(expected) == 640
    padded = [np.pad(np.array(rows, "float32"), ((0, 29 - len(rows)), (0, 0))).tobytes() for rows in expected]
    assert {row.tobytes() for row in x} == set(padded)
    last = [padded[30 * speaker + number] for speaker in range(9) for number in range(24, 30)]
    assert [row.tobytes() for row in vowels.x_val] == last


def test_archive_and_copy_are_the_same(archive, vowels, monkeypatch, tmp_path, capsys):
    (tmp_path / "japanese_vowels.zip").write_bytes(archive)
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    found = data.load_japanese_vowels("uci")
    assert capsys.readouterr().out == LINE + "from the folder in AELIB_DATA_DIR\n"
    assert (found.source, vowels.source) == ("uci", "sktime")
    for field in dataclasses.fields(found)[:-1]:
        np.testing.assert_array_equal(getattr(found, field.name), getattr(vowels, field.name))


def test_search_order(archive, monkeypatch, tmp_path, capsys):
    """The places are filled from the last to the first, and each wins over those that were filled before it."""
    origin, project = tmp_path / "origin.zip", tmp_path / "clone"
    origin.write_bytes(archive)
    change(monkeypatch, origin=origin.as_uri())
    with monkeypatch.context() as patch:
        patch.setattr(japanese_vowels, "_package_folder", lambda: None)
        data.load_japanese_vowels()
    cache = tmp_path / "keras" / "datasets" / "japanese_vowels.zip"
    assert cache.read_bytes() == archive
    cache.unlink()
    data.load_japanese_vowels()
    cache.write_bytes(archive)
    data.load_japanese_vowels()
    (project / "data").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    (project / "data" / "japanese_vowels.zip").write_bytes(archive)
    monkeypatch.setattr(files, "PROJECT", project)
    data.load_japanese_vowels()
    data.load_japanese_vowels("sktime")
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    data.load_japanese_vowels()  # set for MNIST, say
    places = ["downloaded into Keras's cache", "from the copy in sktime", "from Keras's cache"]
    places += ["from the project's data folder", "from the copy in sktime"]
    places += ["from the copy in sktime (the folder in AELIB_DATA_DIR has no japanese_vowels.zip)"]
    assert capsys.readouterr().out == "".join(f"{LINE}{place}\n" for place in places)


def test_without_any_says_what_to_do(without_sktime, monkeypatch, tmp_path):
    for source in ("auto", "uci"):
        with pytest.raises(ConnectionError, match=r"AELIB_DATA_DIR .*pip install --no-deps sktime"):
            data.load_japanese_vowels(source)
    with pytest.raises(ImportError, match="pip install --no-deps sktime"):
        data.load_japanese_vowels("sktime")
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"without japanese_vowels\.zip.* pip install --no-deps sktime"):
        data.load_japanese_vowels()


def test_named_folder_must_be_one_and_hold_the_archive_where_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"without japanese_vowels\.zip"):
        data.load_japanese_vowels("uci")
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match="not a folder"):
        data.load_japanese_vowels()


def test_bad_source():
    with pytest.raises(ValueError, match=r"'full'; give \"auto\", \"uci\" or \"sktime\""):
        data.load_japanese_vowels("full")


def replaced(archive, name, change):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as original, zipfile.ZipFile(buffer, "w") as written:
        for member in original.namelist():
            content = original.read(member)
            content = change(content) if member == name else content
            if content is not None:
                written.writestr(member, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name, change, match",
    [
        ("ae.test", lambda text: text.replace(b"1.2543 ", b"1.2544 "), "values of steps_test"),
        ("ae.train", lambda text: text.replace(b" \n\n", b" \n"), "lengths_train has shape"),
        ("ae.train", lambda text: text[: len(text) // 2], "shape|reshape"),
        ("size_ae.test", lambda text: text.replace(b"31 35", b"35 31"), "values of speakers_test"),
        ("size_ae.train", lambda text: None, "size_ae.train"),
    ],
)
def test_damaged_archive_is_an_error_that_names_it(name, change, match, archive, monkeypatch, tmp_path):
    file = tmp_path / "japanese_vowels.zip"
    file.write_bytes(replaced(archive, name, change))
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=match) as caught:
        data.load_japanese_vowels()
    assert str(file) in str(caught.value) and "Delete it" in str(caught.value)


@pytest.mark.parametrize("old, new", [(b"\n", b"\r\n"), (b"\n\n", b"\n" + 12 * b"1.0 " + b"\n \n")])
def test_line_ends_and_lines_of_ones_make_no_difference(old, new, archive, monkeypatch, tmp_path):
    content = replaced(archive, "ae.test", lambda text: text.replace(old, new))
    (tmp_path / "japanese_vowels.zip").write_bytes(content)
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    assert data.load_japanese_vowels("uci").lengths_test[345] == 20


@pytest.mark.parametrize("damage", ["a changed value", "no file"])
def test_foreign_copy_is_refused(damage, monkeypatch, tmp_path):
    if damage == "a changed value":
        for file in COPY.iterdir():
            (tmp_path / file.name).write_text(file.read_text().replace("1.860936", "1.860937"))
    monkeypatch.setattr(japanese_vowels, "_package_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=r"sktime's copy .*--force-reinstall --no-deps sktime"):
        data.load_japanese_vowels()


def test_sktime_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "sktime.datasets", None)  # importing it fails from now on
    data.load_japanese_vowels("sktime")
    assert "sktime" not in sys.modules


def test_data_card_lists_every_checksum():
    card = (Path(japanese_vowels.__file__).parents[2] / "data" / "README.md").read_text()
    assert all(sha256 in card for _, sha256 in japanese_vowels.ARCHIVE.arrays.values())
    assert "https://archive.ics.uci.edu/static/public/128/japanese+vowels.zip" in card
