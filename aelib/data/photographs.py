"""Photographs that ship inside scikit-image and scikit-learn: checked, scaled to [0, 1], and split by scene."""

import dataclasses
import hashlib
import importlib.resources

import numpy as np

# The folder of each package's files, and its name for pip.
PACKAGES = {"skimage": ("skimage.data", "", "scikit-image"), "sklearn": ("sklearn.datasets", "images", "scikit-learn")}

# Package, file and the file's sha256, by part and scene. Only files that the packages' wheels hold: scikit-image would
# download the others. Every test scene is in colour, for the reader who judges by looking.
SCENES = {
    "train": {
        "brick": ("skimage", "brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
        "china": ("sklearn", "china.jpg", "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
        "coins": ("skimage", "coins.png", "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
        "grass": ("skimage", "grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
        "gravel": ("skimage", "gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
        "motorcycle": (
            "skimage",
            "motorcycle_left.png",
            "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        ),
        "rocket": ("skimage", "rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
        "tissue": ("skimage", "ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    },
    "val": {
        "camera": ("skimage", "camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
        "flower": ("sklearn", "flower.jpg", "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638"),
    },
    "test": {
        "astronaut": ("skimage", "astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
        "chelsea": ("skimage", "chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
        "coffee": ("skimage", "coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    },
}


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoSplits:
    """Photographs in three parts without a common scene.

    Args:
        train, val, test: A dictionary each, from a scene's name to its photograph: float32 in [0, 1], shape
            `(height, width, channels)`, of different sizes.
    """

    train: dict
    val: dict
    test: dict


def load_photographs(color=False):
    """Loads the thirteen photographs of the course, split by scene, and prints one line that says where they are from.

    Eleven ship inside scikit-image, two inside scikit-learn; nothing is downloaded, and every file is checked by its
    sha256. A scene is in one part only: `brick`, `china`, `coins`, `grass`, `gravel`, `motorcycle`, `rocket` and
    `tissue` are for training, `camera` and `flower` for validation, `astronaut`, `chelsea` and `coffee` for the test.
    data/README.md names authors and licences.

    A colour photograph becomes grey by `0.2125 red + 0.7154 green + 0.0721 blue`.

    Args:
        color: Whether photographs that were taken in colour keep their three channels. The others (`brick`, `coins`,
            `grass`, `gravel`, `camera`) have one channel in either case; every test photograph is in colour.

    Returns:
        A `PhotoSplits`.

    Raises:
        ImportError: If a package is not installed.
        FileNotFoundError: If a package is installed without its photographs.
        ValueError: If a file is not the published one.

    Example:

    >>> photographs = load_photographs()
    Photographs: 8 scenes for training, 2 for validation, 3 for the test, from scikit-image and scikit-learn
    >>> photographs.test["coffee"].shape
    (400, 600, 1)
    >>> sorted(photographs.val)
    ['camera', 'flower']
    """
    splits = {
        part: {scene: _as_floats(_read(*file), color) for scene, file in files.items()}
        for part, files in SCENES.items()
    }
    sizes = [len(part) for part in splits.values()]
    print(
        f"Photographs: {sizes[0]} scenes for training, {sizes[1]} for validation, {sizes[2]} for the test, "
        "from scikit-image and scikit-learn"
    )
    return PhotoSplits(**splits)


def _read(package, file, sha256):
    """Returns the file's bytes as an array, of one or three channels."""
    module, subfolder, name = PACKAGES[package]
    try:
        path = importlib.resources.files(module) / subfolder / file
        from skimage import io
    except ImportError as error:
        raise ImportError(
            f"The photographs are part of scikit-image and scikit-learn, of which one cannot be imported ({error}). "
            "Run `pip install scikit-image scikit-learn`."
        ) from error
    remedy = f"Run `pip install --force-reinstall {name}`: its wheel holds the file."
    if not path.is_file():
        raise FileNotFoundError(f"{name} is installed without the photograph {file}, looked for at {path}. {remedy}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{path} is not the published photograph (its sha256 differs). {remedy}")
    return io.imread(str(path))


def _as_floats(pixels, color):
    if pixels.ndim == 3 and not color:
        from skimage.color import rgb2gray

        pixels = 255 * rgb2gray(pixels)
    pixels = np.atleast_3d(pixels).astype("float32") / 255
    return np.clip(pixels, 0, 1)  # the grey weights' sum is one only up to rounding
