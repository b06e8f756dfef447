"""What a contractive penalty costs, in time and memory, by width and by depth: python -m benchmarks.penalty_cost

Every step is one of `fit`, on aelib's models as lesson 06 builds them. Times: the penalties take turns in random order.
Memory: each point in a process of its own, the peak above that of training a single hidden unit.
"""

import random
import statistics
import time

import aelib  # noqa: F401 (first: it starts TensorFlow without its log lines)

# isort: split
import keras
import numpy as np
import tensorflow as tf

from aelib import layers, models, networks
from benchmarks import common

CONFIG = {
    "batch_size": 128,
    "pixels": 784,
    "rounds": 5,
    "executions": 6,  # in a turn, of which the first is not timed
    "executions_exact": 2,  # the same for the exact penalty, and for the memory of all
    "steps_per_execution": 20,
    "steps_per_execution_exact": 1,
    "penalties": ["none", "closed_form", "projected", "stochastic", "exact"],
    "widths": [64, 250, 500, 1000, 2000],
    "exact_up_to": 1000,  # where it takes gigabytes already
    "depths": [1, 2, 3, 4],
    "units_of_a_layer": 100,
    "targets": {"closed_form / none": 1.2, "projected / none": 2.5},
}


def cross_entropy(x, reconstruction):
    return CONFIG["pixels"] * keras.losses.binary_crossentropy(x, reconstruction)


def autoencoder(widths, penalty):
    """Returns a compiled model: sigmoid layers of these widths, and a decoder with the same kernels, transposed."""
    encoder = networks.mlp_encoder(CONFIG["pixels"], widths[:-1], widths[-1], "sigmoid", latent_activation="sigmoid")
    tied = [layers.DenseTranspose(dense, "sigmoid") for dense in reversed(encoder.layers)]
    decoder = keras.Sequential([keras.Input((widths[-1],)), *tied])
    if penalty == "none":
        model = models.Autoencoder(encoder, decoder)
    else:
        model = models.ContractiveAutoencoder(encoder, decoder, contraction_weight=3, penalty=penalty)
    exact = "_exact" if penalty == "exact" else ""
    model.compile("adam", cross_entropy, steps_per_execution=CONFIG[f"steps_per_execution{exact}"])
    return model


def turn(model, executions=CONFIG["executions_exact"]):
    """Returns the milliseconds of a step in `fit`, without what a call of `fit` takes to start."""
    steps = executions * model.steps_per_execution
    x = np.random.default_rng(0).random((steps * CONFIG["batch_size"], CONFIG["pixels"]), "float32")
    ends = []
    note_time = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    model.fit(x, batch_size=CONFIG["batch_size"], verbose=0, callbacks=[note_time])
    return 1e3 * (ends[-1] - ends[0]) / (steps - model.steps_per_execution)


def times(widths, penalties):
    """Returns {penalty: milliseconds of a step in each round}."""
    tf.get_logger().setLevel("ERROR")  # it takes many models of one process for one that is traced again and again
    compiled = {penalty: autoencoder(widths, penalty) for penalty in penalties}
    for model in compiled.values():
        turn(model)
    rounds = {penalty: [] for penalty in penalties}
    for number in range(CONFIG["rounds"]):
        for penalty in random.Random(number).sample(penalties, len(penalties)):
            executions = CONFIG["executions_exact" if penalty == "exact" else "executions"]
            rounds[penalty].append(turn(compiled[penalty], executions))
    return rounds


def memory(widths, penalty):
    """Returns the megabytes at the peak of a step, above those of a process that has trained a single hidden unit."""
    turn(autoencoder([1], "none"))
    before = common.peak_megabytes()
    turn(autoencoder(widths, penalty))
    return common.peak_megabytes() - before


def measure(name, points, penalties_of):
    """Returns times, ratios and memory at the points, {key: widths of the layers}, and how they grow with the key."""
    milliseconds, ratio, megabytes = {}, {}, {}
    for key, widths in points.items():
        print(f"{name} {key}", flush=True)
        rounds = common.in_new_process(times, widths, penalties_of(key))
        for penalty, values in rounds.items():
            milliseconds.setdefault(penalty, {})[key] = statistics.median(values)
            ratio.setdefault(penalty, {})[key] = common.median_ratio(values, rounds["none"])
            megabytes.setdefault(penalty, {})[key] = common.in_new_process(memory, widths, penalty)
    return {
        "milliseconds": milliseconds,
        "ratio": ratio,
        "megabytes": megabytes,
        "exponent_of_time": {penalty: exponent(values) for penalty, values in milliseconds.items()},
        "exponent_of_memory": {penalty: exponent(values) for penalty, values in megabytes.items()},
    }


def exponent(values):
    """Returns p of the power law `value = c key^p` that fits best: the slope of a line through the logarithms."""
    points = {key: value for key, value in values.items() if value > 0}
    if len(points) < 2:
        return None
    return float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])


def main():
    def for_width(width):
        return [each for each in CONFIG["penalties"] if each != "exact" or width <= CONFIG["exact_up_to"]]

    def for_depth(depth):
        return [each for each in CONFIG["penalties"] if each != "closed_form" or depth == 1]

    units = CONFIG["units_of_a_layer"]
    results = {
        "width": measure("width", {width: [width] for width in CONFIG["widths"]}, for_width),
        "depth": measure("depth", {depth: depth * [units] for depth in CONFIG["depths"]}, for_depth),
    }
    common.write("penalty_cost", CONFIG, results)


if __name__ == "__main__":
    main()
