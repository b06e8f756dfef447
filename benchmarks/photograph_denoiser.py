"""Trains the denoiser of photographs that comes with aelib, for lesson 13: python -m benchmarks.photograph_denoiser

It sees grey patches of the eight training scenes (the channels of colour ones, too; each scene also at smaller
sizes) with Gaussian noise of a standard deviation drawn anew for every patch. The weights are stored in
aelib/networks/photograph_denoiser.weights.h5, without an optimizer; results/photograph_denoiser.json has their checksum
and, after each part of the training, the loss and the PSNR on the validation scenes. The seeds are fixed; two machines
still differ in the last digits of a weight. After each part build/benchmarks/photograph_denoiser.keras is written, from
which an interrupted run goes on, as that of the stored weights did several times; Keras then shuffles the batches of
the parts that are left in another order.
"""

import hashlib
import json

import keras
import numpy as np
from skimage.transform import rescale

from aelib import data, networks, optimizers
from aelib.networks import stored
from benchmarks import common

SEED = 13
PATCH = 48
PATCHES_A_SCENE = 2000
SCALES = (1.0, 0.75, 0.5)
LARGEST_STDDEV = 0.2
BATCH_SIZE = 16
LEARNING_RATE = 2e-3
STEPS = 8000
PARTS = 40
FILTERS = (16, 32, 64)


def grey_images(scenes):
    """Returns lists of grey images, one list a scene: each channel, and their mean, at each scale."""
    found = []
    for image in scenes.values():
        layers = [*np.moveaxis(image, -1, 0), image.mean(axis=-1)] if image.shape[-1] == 3 else [image[..., 0]]
        found.append([rescale(layer, scale, anti_aliasing=scale < 1) for layer in layers for scale in SCALES])
    return found


def patches(scenes, count, rng):
    """Returns `count` random patches of each scene, turned and mirrored at random, as bytes."""
    cut = []
    for images in grey_images(scenes):
        for _ in range(count):
            image = images[rng.integers(len(images))]
            row, column = (rng.integers(side - PATCH + 1) for side in image.shape)
            patch = image[row : row + PATCH, column : column + PATCH]
            patch = np.rot90(patch, rng.integers(4))[:, :: rng.choice([-1, 1])]
            cut.append(np.round(255 * np.clip(patch, 0, 1)).astype("uint8"))
    return np.stack(cut)[..., np.newaxis]


class NoisyPatches(keras.utils.PyDataset):
    """Batches of noisy patches, their clean ones, and weights that keep strong noise from ruling the loss."""

    def __init__(self, clean, part):
        super().__init__()
        self.clean, self.part = clean, part

    def __len__(self):
        return STEPS // PARTS

    def __getitem__(self, index):
        rng = np.random.default_rng([SEED, self.part, index])
        clean = self.clean[rng.integers(len(self.clean), size=BATCH_SIZE)].astype("float32") / 255
        stddev = LARGEST_STDDEV * rng.uniform(size=(BATCH_SIZE, 1, 1, 1)) ** 1.5
        noisy = clean + stddev * rng.standard_normal(clean.shape)
        return noisy.astype("float32"), clean, 1e-2 / (stddev[..., 0] ** 2 + 1e-3)


def validation_psnr(network, scenes):
    """Returns the PSNR on the middle of each validation photograph, by the noise's standard deviation times 255."""
    clean = np.stack([image[100:356, 100:356].mean(axis=-1, keepdims=True) for image in scenes.values()])
    scores = {}
    for stddev in (10, 25, 50):
        noise = np.random.default_rng(0).standard_normal(clean.shape)
        denoised = np.asarray(network((clean + stddev / 255 * noise).astype("float32")))
        error = np.mean((np.clip(denoised, 0, 1) - clean) ** 2, axis=(1, 2, 3))
        scores[stddev] = [round(float(value), 2) for value in -10 * np.log10(error)]
    return scores


def new_network():
    return networks.unet(filters=FILTERS, residual=True, name="photograph_denoiser")


def compiled(network):
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS)
    network.compile(optimizers.Adam(schedule), "mse", steps_per_execution=20)
    return network


def main():
    keras.utils.set_random_seed(SEED)
    photographs = data.load_photographs(color=True)
    clean = patches(photographs.train, PATCHES_A_SCENE, np.random.default_rng(SEED))
    common.BUILD.mkdir(parents=True, exist_ok=True)
    state, unfinished = (common.BUILD / f"photograph_denoiser.{name}keras" for name in ("", "unfinished."))
    notes = state.with_suffix(".jsonl")
    network = keras.models.load_model(state) if state.exists() else compiled(new_network())
    for part in range(int(network.optimizer.iterations) // (STEPS // PARTS), PARTS):
        history = network.fit(NoisyPatches(clean, part), verbose=0).history
        scores = validation_psnr(network, photographs.val)
        with notes.open("a") as file:
            file.write(json.dumps({"part": part + 1, "loss": history["loss"][0], "psnr": scores}) + "\n")
        network.save(unfinished)
        unfinished.replace(state)  # so that an interruption leaves no half file
    bare = new_network()  # without the optimizer's moments, twice the size of the weights
    bare.set_weights(network.get_weights())
    bare.save_weights(stored.WEIGHTS)
    config = {"seed": SEED, "patch": PATCH, "patches of a scene": PATCHES_A_SCENE, "scales": SCALES}
    config |= {"largest stddev": LARGEST_STDDEV, "batch": BATCH_SIZE, "learning rate": LEARNING_RATE}
    config |= {"steps": STEPS, "parts": PARTS, "filters": FILTERS}
    noted = {line["part"]: line for line in map(json.loads, notes.read_text(encoding="utf-8").splitlines())}
    sha256 = hashlib.sha256(stored.WEIGHTS.read_bytes()).hexdigest()
    common.write("photograph_denoiser", config, {"sha256": sha256, "validation": list(noted.values())})


if __name__ == "__main__":
    main()
