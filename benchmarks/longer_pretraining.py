"""Lesson 03's networks without and with pretraining, at four times its cost: python -m benchmarks.longer_pretraining

results/longer_pretraining.json holds, for every arm, the squared error per test image at the lesson's cost and at the
longer one, a number for each seed. Where the layers are trained first, that takes half of the cost. What is stored
under the same configuration is not trained again.
"""

import json

import keras

from aelib import data, losses, metrics, models, networks, optimizers, pretraining
from benchmarks import common

CONFIG = {
    "widths": [1000, 500, 250, 30],
    "images": 10_240,
    "batch": 64,
    "learning_rate": 1e-3,
    "steps": [320, 1280],
    "seeds": [1, 2],
}
# The activation, the initializer of the kernels, and whether the layers are trained one at a time first.
ARMS = {
    "sigmoid, gain one": (
        "sigmoid",
        keras.initializers.VarianceScaling(16, mode="fan_in", distribution="untruncated_normal"),
        False,
    ),
    "sigmoid, small, pretrained": ("sigmoid", keras.initializers.RandomNormal(stddev=0.01), True),
    "ReLU, He": ("relu", "he_normal", False),
    "ReLU, He, pretrained": ("relu", "he_normal", True),
}


def network(x, activation, initializer, stage_steps, config):
    """Returns the network, its layers trained for so many steps each where these are not 0."""
    widths, options = config["widths"], {"activation": activation, "kernel_initializer": initializer}
    if stage_steps:
        options |= {"optimizer": lambda: optimizers.Adam(config["learning_rate"]), "verbose": 0}
        epochs = round(stage_steps * config["batch"] / len(x))
        return pretraining.pretrain_layerwise(x, widths, batch_size=config["batch"], epochs=epochs, **options)
    encoder = networks.mlp_encoder(784, widths[:-1], widths[-1], **options)
    return models.Autoencoder(encoder, networks.mlp_decoder(widths[-1], widths[-2::-1], 784, **options))


def error(digits, arm, steps, config):
    """Squared error per test image after a cost of so many steps of the whole network."""
    activation, initializer, pretrained = ARMS[arm]
    x = digits.x_train[: config["images"]]
    # The stages have the weights of the deep network once: they cost what half of the steps cost.
    whole = steps // 2 if pretrained else steps
    model = network(x, activation, initializer, steps - whole, config)
    model.compile(optimizers.Adam(config["learning_rate"]), losses.SumSquaredError(), steps_per_execution=40)
    model.fit(x, batch_size=config["batch"], steps_per_epoch=40, epochs=whole // 40, verbose=0)
    return metrics.squared_error_per_image(digits.x_test, model.reconstruct(digits.x_test)).mean()


def run(digits, config=CONFIG):
    """Trains what is not stored under this configuration."""
    path = common.RESULTS / "longer_pretraining.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    errors = stored["errors"] if stored.get("configuration") == config else {}
    for arm in ARMS:
        for steps in map(str, config["steps"]):
            found = errors.setdefault(arm, {}).setdefault(steps, [])
            for seed in config["seeds"][len(found) :]:
                keras.utils.set_random_seed(seed)
                found.append(float(error(digits, arm, int(steps), config)))
                common.write("longer_pretraining", config, {"errors": errors})


if __name__ == "__main__":
    run(data.load_mnist("full"))
