"""The time of a training step of six models, in aelib and elsewhere: python -m benchmarks.step_time

All ways to train a model take turns in random order, round by round, in two processes: one with TensorFlow, one with
PyTorch (.venv-bench). A turn is a whole call of `fit`, or a loop over the same batches. The first call, which compiles,
is reported apart.
"""

import os
import random
import statistics
import sys
import time

import numpy as np

from aelib.data import load_mnist
from benchmarks import common

CONFIG = {
    "batch_size": 128,
    "batches_per_epoch": 100,
    "steps_per_execution": 20,  # of aelib's rows: compile(steps_per_execution=20), as in the lessons
    "rounds": 5,
    "rest": 0.2,  # seconds before each turn, in which the threads of the one before fall asleep
    "matrix_size": 2048,  # the product whose rate gives the arithmetic floor
    "matrix_products": 20,
    # Widths from the pixels to the code, of which the decoder is the mirror; epochs in a turn.
    "models": {
        "dense": {"widths": [784, 256, 32], "epochs": 3},
        "deep": {"widths": [784, 1000, 500, 250, 30], "epochs": 1},
        "convolutional": {"filters": [8, 16], "latent_dim": 32, "epochs": 2},
        "VAE": {"widths": [784, 400, 20], "epochs": 3},
        "AAE": {"widths": [784, 256, 8], "discriminator": [64, 64], "epochs": 2},
        "CAE": {"widths": [784, 256], "contraction_weight": 3.0, "epochs": 3},
    },
    "ways": {
        "tensorflow": ["aelib", "bare", "keras", "aelib_xla", "aelib_keras_adam"],
        "torch": ["torch", "torch_fused", "pythae"],
    },
    "without": {"CAE": ["pythae"]},
    "targets": {"aelib / bare": 1.15, "aelib / torch_fused": 1.1, "aelib / other": 1.0},
}


def images():
    """Returns the file with the images that every process trains on, from MNIST as it is at hand."""
    common.BUILD.mkdir(parents=True, exist_ok=True)
    path = common.BUILD / "images.npy"
    x = load_mnist().x_train
    np.save(path, np.resize(x, (CONFIG["batch_size"] * CONFIG["batches_per_epoch"], x.shape[1])))
    return str(path)


def workers():
    """Returns a process for each environment that is there; without PyTorch its columns stay empty."""
    running = {"tensorflow": common.Worker(sys.executable, "step_tensorflow")}
    other = common.ROOT / ".venv-bench" / ("Scripts" if os.name == "nt" else "bin") / "python"
    if other.exists():
        running["torch"] = common.Worker(str(other), "step_torch")
    else:
        print("There is no .venv-bench: PyTorch and pythae are left out (make bench sets it up).")
    return running


def measure(running, turns):
    """Returns the seconds of the first call of each (environment, model, way), and those of its turn in each round."""

    def seconds(turn):
        environment, model, way = turn
        return running[environment].ask("seconds", model, way)

    first, rounds = {turn: seconds(turn) for turn in turns}, {turn: [] for turn in turns}
    for number in range(CONFIG["rounds"]):
        print(f"round {number + 1} of {CONFIG['rounds']}", flush=True)
        for turn in random.Random(number).sample(turns, len(turns)):
            time.sleep(CONFIG["rest"])
            rounds[turn].append(seconds(turn))
    return first, rounds


def summary(model, flop, rate, first, rounds):
    """Returns what is reported of a model, from {way: seconds of the first call} and {way: seconds in each round}."""
    steps = CONFIG["models"][model]["epochs"] * CONFIG["batches_per_epoch"]
    milliseconds = {way: [1e3 * value / steps for value in seconds] for way, seconds in rounds.items()}
    return {
        "flop": flop,
        "rounds": milliseconds,
        "milliseconds": {"floor": 1e3 * flop / rate}
        | {way: statistics.median(values) for way, values in milliseconds.items()},
        "ratio": {
            ours: {
                way: common.median_ratio(milliseconds[ours], values)
                for way, values in milliseconds.items()
                if not way.startswith("aelib")
            }
            for ours in milliseconds
            if ours.startswith("aelib")
        },
        "compile_seconds": {way: first[way] - statistics.median(seconds) for way, seconds in rounds.items()},
    }


def main():
    running, path, found = workers(), images(), {}
    for worker in running.values():
        found |= worker.ask("start", path, CONFIG)
    product = ("tensorflow", "floor", "matrix_product")
    turns = [product] + [
        (environment, model, way)
        for environment in running
        for way in CONFIG["ways"][environment]
        for model in CONFIG["models"]
        if way not in CONFIG["without"].get(model, []) and (way != "pythae" or way in found)
    ]
    first, rounds = measure(running, turns)
    operations = 2 * CONFIG["matrix_size"] ** 3 * CONFIG["matrix_products"]
    rate = operations / statistics.median(rounds[product])
    results = {}
    for model in CONFIG["models"]:
        flop = running["tensorflow"].ask("flop", model)
        of_model = ({turn[2]: value[turn] for turn in turns if turn[1] == model} for value in (first, rounds))
        results[model] = summary(model, flop, rate, *of_model)
    for worker in running.values():
        worker.close()
    common.write("step_time", CONFIG, {"gflops": rate / 1e9, "models": results}, versions=found)


if __name__ == "__main__":
    main()
