"""Trains the denoiser of photographs that lesson 13 restores with: python -m benchmarks.photograph_denoiser FILE

It sees grey patches of the eight training scenes (the channels of colour ones, too; each scene also at smaller
sizes) with Gaussian noise of a standard deviation drawn anew for every patch. The file is a Keras model without an
optimizer. The seeds are fixed; two machines still differ in the last digits of a weight. A run that was interrupted
goes on from FILE.state.keras, which is written after each part.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from skimage.transform import rescale

from aelib import data, networks, optimizers

SEED = 13
PATCH = 48
PATCHES_A_SCENE = 2000
SCALES = (1.0, 0.75, 0.5)
LARGEST_STDDEV = 0.2
BATCH_SIZE = 16
STEPS = 3000
PARTS = 20
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
    network = networks.unet(filters=FILTERS, residual=True, name="photograph_denoiser")
    network.compile(optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, STEPS)), "mse")
    return network


def train(file):
    keras.utils.set_random_seed(SEED)
    photographs = data.load_photographs(color=True)
    clean = patches(photographs.train, PATCHES_A_SCENE, np.random.default_rng(SEED))
    state = Path(f"{file}.state.keras")
    network = keras.models.load_model(state) if state.exists() else new_network()
    for part in range(int(network.optimizer.iterations) // (STEPS // PARTS), PARTS):
        history = network.fit(NoisyPatches(clean, part), verbose=0).history
        network.save(state)
        scores = validation_psnr(network, photographs.val)
        print(json.dumps({"part": part + 1, "loss": history["loss"][0], "psnr": scores}), flush=True)
    bare = keras.models.clone_model(network)  # without the optimizer's moments, twice the size of the weights
    bare.set_weights(network.get_weights())
    bare.save(file)


if __name__ == "__main__":
    train(sys.argv[1])
