"""Lesson 13's four shapes of a denoiser, and its two copiers, under three seeds: python -m benchmarks.photograph_shapes

Every run is that of the lesson, with another seed. It is noted in build/benchmarks/photograph_shapes.jsonl as soon as
it is done, so that an interrupted script goes on. At the end all are stored in results/photograph_shapes.json, as PSNR
in decibels: of the test photographs' middles in colour with noise, the mean of the three; and of grey copies, with
their own code and with another's.
"""

import json

import keras
import numpy as np
import tensorflow as tf
from sklearn.feature_extraction.image import extract_patches_2d

from aelib import data, networks, optimizers
from benchmarks import common

CONFIG = {
    "lesson": "13",
    "denoising": {"steps": 400, "seeds": [1, 2, 3]},
    "copying": {"steps": 200, "seeds": [1, 2, 3]},
    "batch": 8,
    "learning rate": 3e-3,
    "patch": 32,
    "patches of a scene": 500,
    "noises of the test, times 255": [15, 25],
    "size of the test": 96,
}
SHAPES = {
    "no skips": lambda: networks.unet(filters=(17, 34, 67), skip=False),
    "U-Net": networks.unet,
    "U-Net, residual": lambda: networks.unet(residual=True),
    "two hourglasses": lambda: networks.stacked_hourglass(filters=(12, 25, 50)),
}
COPIERS = ("no skips", "U-Net")


def with_noise(x):
    stddev = 0.2 * tf.random.uniform((tf.shape(x)[0], 1, 1, 1)) ** 1.5
    weight = 0.01 / (stddev[..., 0] ** 2 + 0.001)
    return x + stddev * tf.random.normal(tf.shape(x)), x, weight


def unchanged(x):
    return x, x, tf.ones_like(x[..., 0])


def train(network, patches, prepare, steps):
    outputs = len(network.outputs)

    def for_each_output(x, y, weight):
        return (x, (y,) * outputs, (weight,) * outputs) if outputs > 1 else (x, y, weight)

    batches = tf.data.Dataset.from_tensor_slices(patches).shuffle(len(patches)).repeat().batch(CONFIG["batch"])
    batches = batches.map(prepare).map(for_each_output)
    schedule = keras.optimizers.schedules.CosineDecay(CONFIG["learning rate"], steps)
    network.compile(optimizers.Adam(schedule), ["mse"] * outputs, steps_per_execution=25)
    network.fit(batches, steps_per_epoch=100, epochs=steps // 100, shuffle=False, verbose=0)


def psnr(x, photo):
    return float(-10 * np.log10(np.mean(np.square(np.clip(x, 0, 1) - photo))))


def denoised_psnr(network, photos, stddev, seed):
    """Returns the mean PSNR of photographs of shape (height, width, channels); the channels go in as a batch."""
    rng, scores = np.random.default_rng(seed), []
    for photo in photos:
        channels = np.moveaxis(photo, -1, 0)[..., np.newaxis]
        noisy = channels + stddev / 255 * rng.standard_normal(channels.shape)
        outputs = network(noisy.astype("float32"))
        scores.append(psnr(np.asarray(outputs[-1] if len(network.outputs) > 1 else outputs), channels))
    return float(np.mean(scores))


def with_code_of_another(network, x):
    encoder = keras.Model(network.input, [network.get_layer(name).output for name in ("code", "conv_0", "conv_1")])
    code, *maps = encoder(x)
    return keras.Model(encoder.outputs, network.output)([tf.roll(code, 1, axis=0), *maps]).numpy()


def run(task, name, seed, patches, photos):
    """Returns the PSNRs of one network: `denoising`, or `copying` with its own code and with another's."""
    keras.utils.set_random_seed(seed)
    network, steps = SHAPES[name](), CONFIG[task]["steps"]
    if task == "denoising":
        train(network, patches, with_noise, steps)
        noises = CONFIG["noises of the test, times 255"]
        return {f"noise {stddev}": denoised_psnr(network, photos, stddev, seed) for stddev in noises}
    train(network, patches, unchanged, steps)
    grey = np.stack([photo.mean(axis=-1, keepdims=True) for photo in photos])
    return {"own": psnr(network(grey).numpy(), grey), "another's": psnr(with_code_of_another(network, grey), grey)}


def runs():
    """Returns all (task, shape, seed)."""
    names = {"denoising": SHAPES, "copying": COPIERS}
    return [(task, name, seed) for task in names for seed in CONFIG[task]["seeds"] for name in names[task]]


def main():
    common.BUILD.mkdir(parents=True, exist_ok=True)
    notes = common.BUILD / "photograph_shapes.jsonl"
    known = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    photographs = data.load_photographs(color=True)
    scenes = [scene.mean(axis=-1) for scene in photographs.train.values()]
    side, count = CONFIG["patch"], CONFIG["patches of a scene"]
    patches = [extract_patches_2d(scene, (side, side), max_patches=count, random_state=0) for scene in scenes]
    patches, half = np.concatenate(patches)[..., np.newaxis], CONFIG["size of the test"] // 2
    photos = []
    for photo in photographs.test.values():
        row, column = (length // 2 for length in photo.shape[:2])
        photos.append(photo[row - half : row + half, column - half : column + half])
    for each in runs():
        if list(each) not in [line[0] for line in known]:
            known.append([list(each), run(*each, patches, photos)])
            with notes.open("a") as file:
                file.write(json.dumps(known[-1]) + "\n")
    found = {"parameters": {name: make().count_params() for name, make in SHAPES.items()}}
    for (task, name, _), scores in known:
        for score, value in scores.items():
            found.setdefault(task, {}).setdefault(name, {}).setdefault(score, []).append(value)
    common.write("photograph_shapes", CONFIG, found)


if __name__ == "__main__":
    main()
