"""The lessons' self-checks accept a right answer, name the symptom of a wrong one, and say when there is none."""

import ast

import nbformat
import pytest

from tools import links
from tools.lesson_form import CHECKED

NOTEBOOKS = sorted((links.ROOT / "notebooks").glob("*.ipynb"))

# For each lesson: right answers, and wrong ones with what the check must say.
RIGHT, WRONG = {}, {}

RIGHT["02"] = [
    "def survivors(eigenvalues, l2):\n    return np.sum(eigenvalues > l2)",
    "def survivors(eigenvalues, l2):\n    return np.count_nonzero(np.sqrt(np.maximum(1 - l2 / eigenvalues, 0)))",
]
WRONG["02"] = {
    "def survivors(eigenvalues, l2):\n    return np.sum(eigenvalues > 2 * l2)": "the penalty 1.2 is half",
    "def survivors(eigenvalues, l2):\n    return np.sum(np.sqrt(eigenvalues) > l2)": "is too small",
    "def survivors(eigenvalues, l2):\n    return len(eigenvalues)": "is too large",
    "def survivors(eigenvalues, l2):\n    np.sum(eigenvalues > l2)": "Is `return` missing",
}

RIGHT["05"] = [
    """
def keep_largest_of_batch(codes, k):
    smallest = tf.math.top_k(tf.reshape(codes, [-1]), k * len(codes))[0][-1]
    return tf.where(codes < smallest, 0.0, codes)
""",
    """
def keep_largest_of_batch(codes, k):
    flat = keras.ops.reshape(codes, (1, -1))
    return keras.ops.reshape(layers.KSparse(k * codes.shape[0])(flat), codes.shape)
""",
]
WRONG["05"] = {
    "keep_largest_of_batch = lambda codes, k: layers.KSparse(k)(codes)": "each has a threshold of its own",
    "def keep_largest_of_batch(codes, k):\n    return tf.where(codes < np.sort(codes, axis=None)[-k], 0.0, codes)": (
        "1/6 of what it should be, and 6 is the number of codes"
    ),
    """
def keep_largest_of_batch(codes, k):
    codes = np.asarray(codes)
    return np.where(codes < np.sort(codes, axis=None)[-k * len(codes)], 0.0, codes)
""": "No gradient reaches the codes",
    """
def keep_largest_of_batch(codes, k):
    sizes = tf.abs(codes)
    return tf.where(sizes < np.sort(sizes, axis=None)[-k * len(codes)], 0.0, codes)
""": "A number became 0, and a smaller one stayed",
    """
def keep_largest_of_batch(codes, k):
    threshold = np.sort(codes, axis=None)[-k * len(codes)]
    return tf.where(codes < threshold, 0.0, codes - threshold + 0.1)
""": "What is kept",
}

RIGHT["06"] = ["factor = np.sqrt(8)", "factor = 2.8"]
WRONG["06"] = {
    "factor = 8": "The factor is wrong. It looks squared",
    "factor = 1": "Eight independent probes scatter less",
    "factor = 64": "large",
}

RIGHT["07"] = [
    """
def share_at_14(images):
    power = np.abs(np.fft.fft2(images)) ** 2
    power[:, 0, 0] = 0
    inside = np.delete(np.delete(power, 14, axis=1), 14, axis=2)
    return 1 - inside.sum(axis=(1, 2)) / power.sum(axis=(1, 2))
""",
    """
def share_at_14(images):
    shares = []
    for image in images:
        power = np.abs(np.fft.fft2(image - image.mean())) ** 2
        shares.append((power[14].sum() + power[:, 14].sum() - power[14, 14]) / power.sum())
    return shares
""",
]
WRONG["07"] = {
    # with the mean in the whole
    """
def share_at_14(images):
    power = np.abs(np.fft.fft2(images)) ** 2
    inside = np.delete(np.delete(power, 14, axis=1), 14, axis=2)
    return 1 - inside.sum(axis=(1, 2)) / power.sum(axis=(1, 2))
""": "The share in images of stripes differs from what is expected in every value. All are too small",
    # only where both axes have it
    """
def share_at_14(images):
    power = np.abs(np.fft.fft2(images - images.mean(axis=(1, 2), keepdims=True))) ** 2
    return power[:, 14, 14] / power.sum(axis=(1, 2))
""": "The share in images of stripes is zero everywhere",
    # amplitudes for variances
    """
def share_at_14(images):
    size = np.abs(np.fft.fft2(images - images.mean(axis=(1, 2), keepdims=True)))
    return 1 - np.delete(np.delete(size, 14, axis=1), 14, axis=2).sum(axis=(1, 2)) / size.sum(axis=(1, 2))
""": "The share in images of a wave, and stripes a third as high differs",
    # one number for all images
    """
def share_at_14(images):
    power = np.abs(np.fft.fft2(images - images.mean(axis=(1, 2), keepdims=True))) ** 2
    return 1 - np.delete(np.delete(power, 14, axis=1), 14, axis=2).sum() / power.sum()
""": "Too many axes were summed",
}

RIGHT["10"] = [
    "def distance_from_mean(image, mean):\n    return np.abs(filters.gaussian(image, 2) - mean)",
    "def distance_from_mean(image, mean):\n    return np.sqrt(filters.gaussian(image - mean, 2) ** 2)",
]
WRONG["10"] = {
    "def distance_from_mean(image, mean):\n    return filters.gaussian(np.abs(image - mean), 2)": "a fine checkerboard",
    "def distance_from_mean(image, mean):\n    return filters.gaussian(image, 2) - mean": "opposite sign",
    "def distance_from_mean(image, mean):\n    return (filters.gaussian(image, 2) - mean) ** 2": "It looks squared",
    "def distance_from_mean(image, mean):\n    return np.abs(image - mean)": "as if nothing had been smoothed",
}

RIGHT["01"] = [
    """
def cross_entropy(x, reconstruction):
    return x.shape[1] * keras.losses.binary_crossentropy(x, reconstruction)
""",
    """
def cross_entropy(x, reconstruction):
    r = np.clip(reconstruction, 1e-7, 1 - 1e-7)
    return -np.sum(x * np.log(r) + (1 - x) * np.log(1 - r), axis=1)
""",
]
WRONG["01"] = {
    "cross_entropy = lambda x, r: keras.losses.binary_crossentropy(x, r)": (
        "1/3 of what it should be, and 3 is the number of pixels"
    ),
    "cross_entropy = lambda x, r: np.sum(x * np.log(r) + (1 - x) * np.log(1 - r), axis=1)": "opposite sign",
    "cross_entropy = lambda x, r: -np.sum(x * np.log(r), axis=1)": "The cross-entropy",
    "cross_entropy = lambda x, r: -np.sum(x * np.log(r) + (1 - x) * np.log(1 - r), axis=1)": (
        "a perfect copy is not finite"
    ),
    "cross_entropy = lambda x, r: keras.losses.BinaryCrossentropy()(x, r)": "Too many axes were summed",
}

RIGHT["11"] = [
    """
def distance_to_nearest(codes, known):
    return NearestNeighbors(n_neighbors=1).fit(known).kneighbors(codes)[0][:, 0]
""",
    """
def distance_to_nearest(codes, known):
    return np.linalg.norm(codes[:, None] - known[None], axis=2).min(axis=1)
""",
]
WRONG["11"] = {
    "distance_to_nearest = lambda codes, known: np.sum((codes[:, None] - known) ** 2, axis=2).min(axis=1)": (
        "It looks squared"
    ),
    "distance_to_nearest = lambda codes, known: np.linalg.norm(codes - known.mean(axis=0), axis=1)": "The distance",
    "distance_to_nearest = lambda codes, known: np.linalg.norm(codes[:, None] - known, axis=2).min(axis=0)": (
        "Was the wrong axis summed over"
    ),
    "distance_to_nearest = lambda codes, known: NearestNeighbors(n_neighbors=1).fit(known).kneighbors(codes)[0]": (
        "an axis of length 1 too many"
    ),
    "distance_to_nearest = lambda codes, known: np.linalg.norm(codes, axis=1)": "The distance",
}

RIGHT["03"] = [
    """
def leaving(curve, mean_image):
    for place, error in enumerate(curve):
        if error < 0.98 * mean_image:
            return 40 * place
""",
    """
def leaving(curve, mean_image):
    below = np.flatnonzero(np.array(curve) < 0.98 * mean_image)
    return 40 * below[0] if len(below) else None
""",
]
WRONG["03"] = {
    "leaving = lambda curve, mean_image: int(np.argmax(np.array(curve) < 0.98 * mean_image))": "the place in the curve",
    "leaving = lambda curve, mean_image: 40 * (1 + np.argmax(np.array(curve) < 0.98 * mean_image))": "begins at step 0",
    "leaving = lambda curve, mean_image: 40 * np.argmax(np.array(curve) < mean_image)": "by less than 2 %",
    "leaving = lambda curve, mean_image: 40 * np.argmax(np.array(curve) < 0.98 * mean_image)": (
        "A network that stays at the mean image has not left it"
    ),
    "leaving = lambda curve, mean_image: 40 * np.argmax(np.array(curve) < 0.98 * curve[0])": "by less than 2 %",
}

RIGHT["04"] = [
    """
def draw(repair, levels, x):
    for level, following in zip(levels[:-1], levels[1:], strict=True):
        x = x + (1 - following / level) * (repair(x, level) - x)
    return x
""",
    """
def draw(repair, levels, x):
    for i in range(len(levels) - 1):
        repaired = repair(x, levels[i])
        x = repaired + levels[i + 1] / levels[i] * (x - repaired)
    return x
""",
]
WRONG["04"] = {
    # asked at the level to come
    """
def draw(repair, levels, x):
    for level, following in zip(levels[:-1], levels[1:], strict=True):
        x = x + (1 - following / level) * (repair(x, following) - x)
    return x
""": "The list of the levels at which the denoiser was asked",
    # asked at the last level, too
    """
def draw(repair, levels, x):
    for level, following in zip(levels, [*levels[1:], 0], strict=True):
        x = x + (1 - following / level) * (repair(x, level) - x)
    return x
""": "the denoiser was asked 10 times",
    # the share that is kept for the share that is corrected
    """
def draw(repair, levels, x):
    for level, following in zip(levels[:-1], levels[1:], strict=True):
        x = x + following / level * (repair(x, level) - x)
    return x
""": "What is left where all clean data are one point",
    # the whole correction
    """
def draw(repair, levels, x):
    for level in levels[:-1]:
        x = repair(x, level)
    return x
""": "What is left where all clean data are one point",
    # the first points, not those of the step before, are repaired
    """
def draw(repair, levels, x):
    start = x
    for level, following in zip(levels[:-1], levels[1:], strict=True):
        x = x + (1 - following / level) * (repair(start, level) - x)
    return x
""": "What is left where clean data are normal",
}

RIGHT["08"] = [
    "def kl_weight(epoch):\n    return min(1, epoch / 12)",
    "def kl_weight(epoch):\n    return float(np.clip(100 * epoch / 1200, 0, 1))",
]
WRONG["08"] = {
    "def kl_weight(epoch):\n    return min(1, epoch / 6)": "is right in 3 of 5 values",
    "def kl_weight(epoch):\n    return epoch / 12": "is right in 4 of 5 values",
    "def kl_weight(epoch):\n    return min(1, epoch / 1200)": "is right in 1 of 5 values",
    "def kl_weight(epoch):\n    return 1 - min(1, epoch / 12)": "The list of weights",
}

RIGHT["09"] = [
    'def new_discriminator():\n    return networks.mlp_encoder(2, (128, 128), 1, activation="tanh")',
    """
def new_discriminator():
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input((2,)), dense(128, "tanh"), dense(128, "tanh"), dense(1)])
""",
]
WRONG["09"] = {
    'def new_discriminator():\n    return networks.mlp_encoder(2, (128, 128), 1, activation="leaky_relu")': (
        "What it says of mirrored codes"
    ),
    "def new_discriminator():\n    return networks.mlp_encoder(2, (128, 128), 1, activation=None)": (
        "What it says ten times as far out"
    ),
    'def new_discriminator():\n    return networks.mlp_encoder(2, (128, 128), 1, "tanh", latent_activation="tanh")': (
        "no logit above 1"
    ),
    'def new_discriminator():\n    return networks.mlp_encoder(2, (128, 128), 2, activation="tanh")': "Its size",
}

RIGHT["12"] = [
    "def whitened(codes, known):\n    return PCA(known.shape[1], whiten=True).fit(known).transform(codes)",
    """
def whitened(codes, known):
    values, vectors = np.linalg.eigh(np.cov(known.T))
    return (codes - known.mean(axis=0)) @ (vectors / np.sqrt(values)) @ vectors.T
""",
]
WRONG["12"] = {
    "def whitened(codes, known):\n    return (codes - known.mean(axis=0)) / known.std(axis=0)": "still vary together",
    "whitened = lambda codes, known: PCA(4).fit(known).transform(codes)": "do not get variance 1",
    "whitened = lambda codes, known: PCA(4, whiten=True).fit_transform(codes)": "by the codes themselves",
    "whitened = lambda codes, known: PCA(3, whiten=True).fit(known).transform(codes)": "The shape",
    "whitened = lambda codes, known: codes @ np.linalg.cholesky(np.linalg.inv(np.cov(known.T)))": "The mean",
    "def whitened(codes, known):\n    PCA(4, whiten=True).fit(known).transform(codes)": "where `return` is missing",
}

RIGHT["14"] = [
    """
def pulling_away_term(codes):
    directions = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    squares = (directions @ directions.T) ** 2
    return (np.sum(squares) - len(codes)) / (len(codes) * (len(codes) - 1))
""",
    """
def pulling_away_term(codes):
    directions = tf.math.l2_normalize(codes, axis=1)
    squares = tf.matmul(directions, directions, transpose_b=True) ** 2
    return tf.reduce_mean(squares[~np.eye(len(codes), dtype=bool)])
""",
]
PAIRS = "cosines = (codes / np.linalg.norm(codes, axis=1, keepdims=True)) @ codes.T / np.linalg.norm(codes, axis=1)"
WRONG["14"] = {
    f"def pulling_away_term(codes):\n    {PAIRS}\n    return np.mean(cosines**2)": "The term of codes at right angles",
    f"def pulling_away_term(codes):\n    {PAIRS}\n    return cosines[~np.eye(len(codes), dtype=bool)].mean()": (
        "two opposite codes is wrong. It has the opposite sign"
    ),
    "def pulling_away_term(codes):\n    return ((codes @ codes.T) ** 2)[~np.eye(len(codes), dtype=bool)].mean()": (
        "The term of equal codes"
    ),
    f"def pulling_away_term(codes):\n    {PAIRS}\n    return (cosines**2)[~np.eye(len(codes), dtype=bool)]": "shape",
}

RIGHT["13"] = [
    """
def motion_blur(x):
    padded = tf.pad(x, [[0, 0], [0, 0], [3, 3], [0, 0]], "SYMMETRIC")
    return tf.nn.conv2d(padded, tf.ones((1, 7, 1, 1)) / 7, strides=1, padding="VALID")
""",
    """
def motion_blur(x):
    rows = tf.concat([x[:, :, 2::-1], x, x[:, :, :-4:-1]], axis=2)
    return sum(rows[:, :, place : place + x.shape[2]] for place in range(7)) / 7
""",
]
BLUR = "tf.nn.conv2d(tf.pad(x, [[0, 0], {}, {}, [0, 0]], '{}'), tf.ones(({}, 1, 1)) / 7, 1, 'VALID')"
WRONG["13"] = {
    "motion_blur = lambda x: " + BLUR.format([3, 3], [0, 0], "SYMMETRIC", "7, 1"): "It blurs down the columns",
    "motion_blur = lambda x: " + BLUR.format([0, 0], [3, 3], "CONSTANT", "1, 7"): "takes images for black",
    "motion_blur = lambda x: " + BLUR.format([0, 0], [3, 3], "REFLECT", "1, 7"): "not mirrored with its own pixels",
    "motion_blur = lambda x: 7 * " + BLUR.format([0, 0], [3, 3], "SYMMETRIC", "1, 7"): "7",
    "motion_blur = lambda x: tf.nn.conv2d(x, tf.ones((1, 7, 1, 1)) / 7, 1, 'VALID')": "shape",
    "motion_blur = lambda x: tf.constant(np.asarray(x))": "No gradient reaches x",
}

CASES = [(number, code, "") for number, answers in RIGHT.items() for code in answers]
CASES += [(number, code, message) for number, answers in WRONG.items() for code, message in answers.items()]


def lesson(number):
    [path] = [path for path in NOTEBOOKS if path.name.startswith(number)]
    return nbformat.read(path, as_version=4)


def said(number, answer, capsys):
    """Returns what the self-check prints in a lesson of which nothing but the imports was executed."""
    cells = lesson(number).cells
    source = "\n".join(cell.source for cell in cells if cell.id.startswith("self-check"))
    stub = next(node for node in ast.parse(source).body if not isinstance(node, ast.ImportFrom))
    if answer:
        lines = source.splitlines()
        source = "\n".join([*lines[: stub.lineno - 1], answer, *lines[stub.end_lineno :]])
    names = {}
    [imports] = [cell.source for cell in cells if "plots.use_style()" in cell.source]
    exec(imports, names)
    capsys.readouterr()
    exec(source, names)
    return capsys.readouterr().out


def test_every_lesson_has_one():
    assert sorted(RIGHT) == sorted(WRONG) == [path.name[:2] for path in NOTEBOOKS]


@pytest.mark.parametrize("number", RIGHT)
def test_unanswered_check_says_so_and_that_is_stored(number, capsys):
    assert said(number, None, capsys) == "Not answered yet.\n"
    [cell] = [cell for cell in lesson(number).cells if cell.id == "self-check"]
    assert [output.text for output in cell.outputs] == ["Not answered yet.\n"]
    assert cell.metadata.tags == [CHECKED]


@pytest.mark.parametrize(
    "number, answer, message", CASES, ids=[f"{number}-{i}" for i, (number, *_) in enumerate(CASES)]
)
def test_right_answer_is_accepted_and_a_wrong_one_told_its_symptom(number, answer, message, capsys):
    verdict = said(number, answer, capsys)
    if message:
        assert verdict.startswith("Not yet. ") and message in verdict, verdict
    else:
        assert verdict == "Right.\n"


@pytest.mark.parametrize("number", RIGHT)
def test_check_stands_among_the_exercises(number):
    cells = lesson(number).cells
    place = [cell.id.startswith("self-check") for cell in cells].index(True)
    assert cells[place - 1].source.startswith("## Exercises")
