"""Archives of arrays: where they are looked for, their download, their checks."""

import collections.abc
import contextlib
import dataclasses
import hashlib
import os
import tempfile
import threading
from pathlib import Path

import keras
import numpy as np

PROJECT = Path(__file__).resolve().parents[2]

# A download is given up when fewer than these bytes arrive in as many seconds, the connection's start included.
WATCH_SECONDS = 8
WATCH_BYTES = 50_000


def read_npz(path, names):
    """Returns these arrays of an `.npz` file, by name."""
    with np.load(path, allow_pickle=False) as opened:
        return {name: opened[name] for name in names}


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file of arrays, and how to know it.

    Args:
        title: The data set's name, for messages.
        name: The file's name.
        origin: The address to download it from.
        sha256: That of the file at this address, or `None` where the arrays alone are checked.
        arrays: Shape and sha256 of each array in C order, by name; the file may be compressed in any way.
        substitute: What to do without the file, for messages.
        read: Makes the arrays, by name, of the file's path and their names.
        dtypes: Type of each array that is not uint8, by name.
    """

    title: str
    name: str
    origin: str
    sha256: str | None
    arrays: dict
    substitute: str
    read: collections.abc.Callable = read_npz
    dtypes: dict = dataclasses.field(default_factory=dict)


def load(archive):
    """Returns the arrays of an archive, found or downloaded, and the words for the place where it was.

    Raises:
        ValueError: If a file was found that is not this archive.
        ConnectionError: If none was found, and none can be downloaded.
        OSError: If `AELIB_DATA_DIR` is set and has none.
    """
    return find(archive) or download(archive)


def check_arrays(arrays, expected, dtypes=None):
    """Raises a `ValueError` unless every array has the shape, the type and the sha256 that are expected of it."""
    for name, (shape, sha256) in expected.items():
        array, dtype = arrays[name], np.dtype((dtypes or {}).get(name, "uint8"))
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}, not {shape} and {dtype}")
        if hashlib.sha256(np.ascontiguousarray(array)).hexdigest() != sha256:
            raise ValueError(f"the values of {name} are not the published ones (their sha256 differs)")


def _homes():
    """Folders that keep archives, each with the words that name it."""
    if (PROJECT / "pyproject.toml").is_file():
        yield PROJECT / "data", "the project's data folder"
    yield Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets", "Keras's cache"


def find(archive):
    """Returns the arrays of the first file found and the words for its place, or None where there is none."""
    if named := os.environ.get("AELIB_DATA_DIR"):
        folder = Path(named).expanduser()
        remedy = f"Set AELIB_DATA_DIR to a folder that holds {archive.name}, or unset it."
        if not folder.is_dir():
            raise NotADirectoryError(f"AELIB_DATA_DIR is {named!r}, which is not a folder. {remedy}")
        if not os.path.lexists(folder / archive.name):
            raise FileNotFoundError(f"AELIB_DATA_DIR is {named!r}, a folder without {archive.name}. {remedy}")
        return _read(archive, folder / archive.name), "from the folder in AELIB_DATA_DIR"
    for folder, words in _homes():
        if os.path.lexists(folder / archive.name):  # a dangling link is a damaged archive, not a missing one
            return _read(archive, folder / archive.name), f"from {words}"
    return None


def _read(archive, path):
    try:
        arrays = archive.read(path, archive.arrays)
        check_arrays(arrays, archive.arrays, archive.dtypes)
    except Exception as error:  # a damaged archive fails in NumPy, zipfile, zlib or the file system
        raise ValueError(
            f"{path} is not a whole {archive.title} archive: {error or type(error).__name__}. "
            "Delete it, or put an intact one in its place (data/README.md says where to get it)."
        ) from error
    return arrays


def download(archive):
    """Downloads the file to where the next load finds it; returns its arrays and the words for its place."""
    try:
        home, scratch, place = _open_scratch()
        with scratch as folder:
            _fetch(archive, folder)
            path = Path(folder, archive.name)
            arrays = _read(archive, path)
            if home:
                os.replace(path, home / archive.name)  # one step: nobody ever sees a part of it under this name
    except OSError as error:
        raise ConnectionError(
            f"The full {archive.title} set was not found, and could not be downloaded from {archive.origin}: {error}. "
            f"Put {archive.name} into a folder and set AELIB_DATA_DIR to it (data/README.md says where to get it), "
            f"or {archive.substitute}."
        ) from error
    return arrays, place


def _open_scratch():
    """Makes a folder for one download beside the file's final place, or in the system's where none is writable."""
    for home, words in _homes():
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(prefix="download-", dir=home, ignore_cleanup_errors=True)
            return home, scratch, f"downloaded into {words}"
    scratch = tempfile.TemporaryDirectory(prefix="download-", ignore_cleanup_errors=True)
    return None, scratch, "downloaded for this run only, because no folder that could keep it is writable"


def _fetch(archive, folder):
    """Lets Keras download into `folder`, and gives up when too little arrives.

    A thread, because a socket's timeout is started anew by every address of the server and by every byte.
    """
    path, errors = Path(folder, archive.name), []

    def download():
        keras.config.disable_interactive_logging()  # in this thread only: no progress bar in a notebook
        file = {"fname": archive.name, "origin": archive.origin, "file_hash": archive.sha256}
        try:
            keras.utils.get_file(**file, cache_dir=folder, cache_subdir="")
        except Exception as error:
            errors.append(error)

    thread, received = threading.Thread(target=download, daemon=True), 0
    thread.start()
    while thread.is_alive():
        thread.join(WATCH_SECONDS)
        before, received = received, path.stat().st_size if path.exists() else 0
        if thread.is_alive() and received - before < WATCH_BYTES:
            raise TimeoutError(f"{received - before} bytes in {WATCH_SECONDS} seconds")
    if errors:
        raise ConnectionError(errors[0]) from errors[0]
