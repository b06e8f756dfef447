"""Layers, losses, penalties and models for autoencoders in Keras 3 on TensorFlow.

Import it before TensorFlow: it starts TensorFlow without the log lines that would otherwise fill a notebook's first
cell. With it all layers, losses, models and optimizers are registered, so that `keras.saving.load_model` knows them.
Only `aelib.plots`, which has to be imported by name, needs matplotlib.
"""

import contextlib
import os
import platform
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"

# pyproject.toml's lower bounds, checked here too because Colab installs aelib without its dependencies.
MINIMUM_VERSIONS = {"tensorflow": (2, 18), "keras": (3, 10)}


@contextlib.contextmanager
def _quiet_stderr():
    """Discards what C++ code writes to file descriptor 2; Python's own `sys.stderr` is heard again afterwards."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


# TF_CPP_MIN_LOG_LEVEL alone does not silence TensorFlow's start. No tensor is made here: that would fix the devices,
# and whoever imports aelib could no longer choose them.
with _quiet_stderr():
    import keras
    import tensorflow as tf


def _check_environment():
    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            f"aelib needs Keras's TensorFlow backend, but Keras runs on {keras.backend.backend()!r}. "
            "Set the environment variable KERAS_BACKEND=tensorflow, or import aelib before keras."
        )
    for name, version in (("tensorflow", tf.__version__), ("keras", keras.__version__)):
        minimum = MINIMUM_VERSIONS[name]
        if tuple(int(part) for part in version.split(".")[:2]) < minimum:
            wanted = ".".join(map(str, minimum))
            raise ImportError(f"aelib needs {name} {wanted} or newer, but {version} is installed: upgrade {name}.")


_check_environment()

from aelib import callbacks, data, jacobian, layers, losses, metrics, models, networks, optimizers, priors, restoration  # noqa: E402, F401


def print_versions():
    """Prints the versions of Python, TensorFlow, Keras and aelib on one line.

    Example:

    >>> print_versions()  # doctest: +ELLIPSIS
    Python 3..., TensorFlow 2..., Keras 3..., aelib ...
    """
    print(
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"aelib {__version__}"
    )
