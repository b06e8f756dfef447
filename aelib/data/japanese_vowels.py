"""JapaneseVowels, sequences of differing length: checked, padded with zeros and split."""

import dataclasses
import importlib.util
import re
import zipfile
from pathlib import Path

import numpy as np

from aelib.data import files

COEFFICIENTS = 12
LONGEST = 29  # steps of the longest utterance of all
SPEAKERS = 9
VALIDATION_PER_SPEAKER = 6


def read_zip(path, names):
    """The arrays of UCI's archive: a line is a step, an empty line ends an utterance, and the files of sizes tell how
    many utterances each speaker has, in order."""
    with zipfile.ZipFile(path) as opened:
        parts = {}
        for part in ("train", "test"):
            blocks = re.split(r"\n\s*\n", opened.read(f"ae.{part}").decode("ascii").strip())
            utterances = [
                _without_end(np.array(block.split(), "float64").reshape(-1, COEFFICIENTS)) for block in blocks
            ]
            counts = [int(count) for count in opened.read(f"size_ae.{part}").split()]
            parts[part] = utterances, np.repeat(np.arange(1, len(counts) + 1), counts)
    return _as_arrays(parts)


def _without_end(numbers):
    # Copies are in circulation in which a line of ones stands at the end of each utterance.
    utterance = numbers.reshape(-1, COEFFICIENTS)
    return utterance[(utterance != 1).any(axis=1)]


def read_package(folder):
    """The arrays of sktime's copy: a line is an utterance, its coefficients one after the other, then its speaker."""
    parts = {}
    for part in ("train", "test"):
        lines = Path(folder, f"JapaneseVowels_{part.upper()}.ts").read_text(encoding="utf-8").splitlines()
        rows = [line.split(":") for line in lines if line and line[0] not in "#@"]
        utterances = [np.array([one.split(",") for one in coefficients], "float64").T for *coefficients, _ in rows]
        parts[part] = utterances, np.array([speaker for *_, speaker in rows], "int64")
    return _as_arrays(parts)


def _as_arrays(parts):
    arrays = {}
    for part, (utterances, speakers) in parts.items():
        arrays[f"steps_{part}"] = np.concatenate(utterances).astype("float32")
        arrays[f"lengths_{part}"] = np.array([len(utterance) for utterance in utterances], "int64")
        arrays[f"speakers_{part}"] = speakers.astype("int64")
    return arrays


ARCHIVE = files.Archive(
    title="JapaneseVowels",
    name="japanese_vowels.zip",
    origin="https://archive.ics.uci.edu/static/public/128/japanese+vowels.zip",
    sha256=None,  # what is in it is checked, however it is packed
    arrays={
        "steps_train": ((4274, 12), "b531e6680122bee893af0ee8794a696bb7caad40d5abe04cc19dd8be9bc61172"),
        "lengths_train": ((270,), "7a96637927b94a25f3a9c56a0da937c1c5088a00e6e6cef77f02d702b858386d"),
        "speakers_train": ((270,), "be6c1ef3f1fe050a5210962a28f0b6a7d9acc19f74460aeecb77ed7c320a9b45"),
        "steps_test": ((5687, 12), "7c71160980b89a87419481f63e5e0687879d87e97d824d2d77393df866943db5"),
        "lengths_test": ((370,), "b3b90bb51a7c73e4f56748fa87ffa3c37f9548c464c285bc949aec831046aff2"),
        "speakers_test": ((370,), "71b9816bf683a45a6abc919be0f69e3fb89d6974f43d19eeaeebe6efca496a24"),
    },
    substitute="install the package that has a copy: pip install --no-deps sktime",
    read=read_zip,
    dtypes={
        **dict.fromkeys(["steps_train", "steps_test"], "float32"),
        **dict.fromkeys(["lengths_train", "speakers_train", "lengths_test", "speakers_test"], "int64"),
    },
)


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceSplits:
    """Sequences, their lengths and who spoke them, in three disjoint parts.

    Args:
        x_train, x_val, x_test: Sequences, float32, shape `(n, steps, coefficients)`: as many steps as the longest of
            all three parts has, and zeros after a sequence's end.
        lengths_train, lengths_val, lengths_test: Numbers of steps of each sequence, int64, shape `(n,)`.
        speakers_train, speakers_val, speakers_test: Speakers, int64 from 1, shape `(n,)`.
        source: `"uci"` or `"sktime"`.
    """

    x_train: np.ndarray
    lengths_train: np.ndarray
    speakers_train: np.ndarray
    x_val: np.ndarray
    lengths_val: np.ndarray
    speakers_val: np.ndarray
    x_test: np.ndarray
    lengths_test: np.ndarray
    speakers_test: np.ndarray
    source: str


def load_japanese_vowels(source="auto"):
    """Loads JapaneseVowels, split for training, validation and test, and prints one line that says where it came from.

    640 utterances of two Japanese vowels, one after the other, by nine men. A step is a window of 25.6 ms, the next
    begins 6.4 ms later, and its 12 numbers are cepstral coefficients from a linear prediction: the shape of its
    spectrum on a logarithmic scale, without units. An utterance has 7 to 29 steps.

    The data are looked for in the folder named by the environment variable `AELIB_DATA_DIR`; unless that is set, in
    the project's `data/` when aelib runs from a clone, and in Keras's cache; then in the package sktime, which has a
    copy; and at last, unless `AELIB_DATA_DIR` is set, at UCI's download address. Every array is checked by its sha256,
    so it makes no difference which of them it was. The validation utterances are the last six of each speaker's thirty
    training utterances; the test utterances are the data set's own.

    Args:
        source: `"uci"` for UCI's archive, found or downloaded, `"sktime"` for the package's copy, or `"auto"`.

    Returns:
        A `SequenceSplits` of 216 / 54 / 370 utterances, arrays of shape `(n, 29, 12)`, speakers 1 to 9.

    Raises:
        ValueError: If `source` is not one of these, or what was found is not JapaneseVowels.
        OSError: If it is not where `AELIB_DATA_DIR` says, or was not found and cannot be downloaded.
        ImportError: If `source` is `"sktime"`, which is not installed.

    Example:

    >>> vowels = load_japanese_vowels("sktime")
    JapaneseVowels: 270 + 370 utterances from the copy in sktime
    >>> vowels.x_train.shape, vowels.lengths_train[:3], vowels.speakers_train[:3]
    ((216, 29, 12), array([20, 26, 22]), array([1, 1, 1]))

    Reference:
        M. Kudo, J. Toyama and M. Shimbo, "Multidimensional curve classification using passing-through regions",
        Pattern Recognition Letters 20, 1999.
    """
    if source not in ("auto", "uci", "sktime"):
        raise ValueError(f'The source is {source!r}; give "auto", "uci" or "sktime".')
    arrays, place, kind = _load(source)
    print(f"JapaneseVowels: 270 + 370 utterances {place}")
    return SequenceSplits(**_split(arrays), source=kind)


def _load(source):
    missing = None
    if source != "sktime":
        try:
            found = files.find(ARCHIVE)
        except FileNotFoundError as error:
            if source == "uci":
                raise
            found, missing = None, error
        if found:
            return *found, "uci"
    package = _package_folder() if source != "uci" else None
    if package:
        note = f" (the folder in AELIB_DATA_DIR has no {ARCHIVE.name})" if missing else ""
        return _read_copy(package), "from the copy in sktime" + note, "sktime"
    if source == "sktime":
        raise ImportError(
            "The offline copy of JapaneseVowels is part of sktime, which is not installed. "
            "Run `pip install --no-deps sktime`, or put UCI's archive in place (data/README.md)."
        )
    if missing:
        raise FileNotFoundError(f"{missing} Or {ARCHIVE.substitute}.") from missing
    return *files.download(ARCHIVE), "uci"


def _package_folder():
    # Found without being imported: that would take seconds, and packages that are not needed to read a text file.
    spec = importlib.util.find_spec("sktime")
    return Path(spec.origin).parent / "datasets" / "data" / "JapaneseVowels" if spec else None


def _read_copy(folder):
    try:
        arrays = read_package(folder)
        files.check_arrays(arrays, ARCHIVE.arrays, ARCHIVE.dtypes)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"sktime's copy of JapaneseVowels is not the expected one: {error}. "
            "Run `pip install --force-reinstall --no-deps sktime`, or put UCI's archive in place (data/README.md)."
        ) from error
    return arrays


def _split(arrays):
    parts = {}
    for part in ("train", "test"):
        lengths = arrays[f"lengths_{part}"]
        x = np.zeros((len(lengths), LONGEST, COEFFICIENTS), "float32")
        x[np.arange(LONGEST) < lengths[:, None]] = arrays[f"steps_{part}"]
        parts[part] = {"x": x, "lengths": lengths, "speakers": arrays[f"speakers_{part}"]}
    is_last = np.zeros((SPEAKERS, len(parts["train"]["x"]) // SPEAKERS), bool)  # the utterances come speaker by speaker
    is_last[:, -VALIDATION_PER_SPEAKER:] = True
    parts["val"] = {name: array[is_last.ravel()] for name, array in parts["train"].items()}
    parts["train"] = {name: array[~is_last.ravel()] for name, array in parts["train"].items()}
    return {f"{name}_{part}": array for part, named in parts.items() for name, array in named.items()}
