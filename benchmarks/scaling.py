"""How training scales: with the batch, the training set, the replicas and the processes: python -m benchmarks.scaling

On one machine replicas and processes share the same cores: what is measured is what TensorFlow's distribution costs,
and that the weights are those of one device.
"""

import contextlib
import itertools
import json
import os
import socket
import statistics
import time

import aelib  # noqa: F401 (first: it starts TensorFlow without its log lines)

# isort: split
import keras
import numpy as np
import tensorflow as tf

from aelib import losses, models, networks
from benchmarks import common

CONFIG = {
    "widths": [784, 256, 32],
    "rounds": 4,
    "batch": {"sizes": [16, 32, 64, 128, 256, 512, 1024, 2048, 4096], "images": 12_288},
    "stream": {"sizes": [10_000, 100_000, 1_000_000], "batch_size": 500, "distinct_images": 10_000},
    "distributed": {
        "replicas": [1, 2, 4],
        "workers": [1, 2],
        "batch_size": 512,
        "steps": 40,
        "learning_rate": 0.001,
    },
    # where it is reported that fit fails under MultiWorkerMirroredStrategy
    "report": "https://github.com/keras-team/keras/issues/20585",
    "targets": {"greatest_difference": 1e-5},
}


def autoencoder(optimizer="adam", steps_per_execution=20):
    pixels, *hidden, latent_dim = CONFIG["widths"]
    keras.utils.set_random_seed(0)
    encoder = networks.mlp_encoder(pixels, hidden, latent_dim)
    model = models.Autoencoder(encoder, networks.mlp_decoder(latent_dim, hidden[::-1], pixels))
    model.compile(optimizer, losses.SumSquaredError(), steps_per_execution=steps_per_execution)
    return model


def images(count):
    return np.random.default_rng(0).random((count, CONFIG["widths"][0]), "float32")


# ---- batch size


def throughput():
    """Returns {batch size: images a second in `fit`}."""
    tf.get_logger().setLevel("ERROR")  # it takes many models of one process for one that is traced again and again
    x, sizes = images(CONFIG["batch"]["images"]), CONFIG["batch"]["sizes"]
    compiled = {size: autoencoder() for size in sizes}
    seconds = {size: [] for size in sizes}
    for _ in range(1 + CONFIG["rounds"]):
        for size, model in compiled.items():
            begin = time.perf_counter()
            model.fit(x, batch_size=size, verbose=0)
            seconds[size].append(time.perf_counter() - begin)
    return {size: len(x) / statistics.median(values[1:]) for size, values in seconds.items()}


# ---- training-set size


def streamed(size):
    """Trains one epoch on images that exist only batch by batch; returns images a second, and megabytes at the peak.

    The megabytes are those above what a process takes that has imported the library.
    """
    before, config = common.peak_megabytes(), CONFIG["stream"]
    batch_size, pixels = config["batch_size"], CONFIG["widths"][0]
    grey = np.random.default_rng(0).integers(256, size=(config["distinct_images"], pixels), dtype="uint8")

    def batches():
        rng = np.random.default_rng(1)
        for _ in range(size // batch_size):
            yield grey[rng.integers(len(grey), size=batch_size)]

    stream = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec((batch_size, pixels), "uint8"))
    stream = stream.map(lambda batch: tf.cast(batch, "float32") / 255).prefetch(2)
    stream = stream.apply(tf.data.experimental.assert_cardinality(size // batch_size))
    begin = time.perf_counter()
    autoencoder().fit(stream, shuffle=False, verbose=0)
    return size / (time.perf_counter() - begin), common.peak_megabytes() - before


# ---- replicas and processes


def share_of_batches(context):
    """Returns the part of every batch that is one worker's, for `distribute_datasets_from_function`."""
    batch_size, steps = CONFIG["distributed"]["batch_size"], CONFIG["distributed"]["steps"]
    workers, share = context.num_input_pipelines, batch_size // context.num_input_pipelines
    rows = images(batch_size * steps).reshape(steps, workers, share, -1)[:, context.input_pipeline_id]
    dataset = tf.data.Dataset.from_tensor_slices(rows.reshape(steps * share, -1))
    return dataset.batch(context.get_per_replica_batch_size(batch_size)).repeat()


def trained(strategy, train):
    """Returns milliseconds of a step, and the weights after all rounds of `train(model, batches, steps)`."""
    steps = CONFIG["distributed"]["steps"]
    with strategy.scope():
        optimizer = keras.optimizers.SGD(CONFIG["distributed"]["learning_rate"])
        model = autoencoder(optimizer, steps_per_execution=1)
    batches = strategy.distribute_datasets_from_function(share_of_batches)
    milliseconds = []
    for _ in range(1 + CONFIG["rounds"]):
        begin = time.perf_counter()
        train(model, batches, steps)
        milliseconds.append(1e3 * (time.perf_counter() - begin) / steps)
    return statistics.median(milliseconds[1:]), model.get_weights()


def mirrored(replicas):
    """Trains on so many logical devices of this process, by `fit`."""
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])
    return trained(
        strategy,
        lambda model, batches, steps: model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0),
    )


def multi_worker(number, ports):
    """Trains as one of so many processes that talk over the loopback interface, in a loop over `train_step`.

    Keras 3's own `fit` fails under this strategy, as soon as there is more than one process.
    """
    task = {"type": "worker", "index": number}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]}, "task": task})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @tf.function
    def step(model, batch):
        strategy.run(model.train_step, args=(batch,))

    def train(model, batches, steps):
        for batch in itertools.islice(batches, steps):
            step(model, batch)

    return trained(strategy, train)


def free_ports(count):
    """Returns the numbers of ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def greatest_difference(weights, others):
    return float(max(np.max(np.abs(a - b)) for a, b in zip(weights, others, strict=True)))


def distributed():
    """Returns milliseconds of a step, and how far the weights are from those of one device, each by count."""
    results = {"replicas": {}, "workers": {}}
    for count in CONFIG["distributed"]["replicas"]:
        print(f"{count} replicas", flush=True)
        milliseconds, weights = common.in_new_process(mirrored, count)
        if count == 1:
            one_device = weights
        results["replicas"][count] = {
            "milliseconds": milliseconds,
            "difference": greatest_difference(weights, one_device),
        }
    for count in CONFIG["distributed"]["workers"]:
        print(f"{count} workers", flush=True)
        found = common.in_new_processes(count, multi_worker, free_ports(count))
        results["workers"][count] = {
            "milliseconds": max(milliseconds for milliseconds, _ in found),
            "difference": max(greatest_difference(weights, one_device) for _, weights in found),
        }
    return results


def main():
    batch = common.in_new_process(throughput)
    stream = {}
    for size in CONFIG["stream"]["sizes"]:
        print(f"{size} images streamed", flush=True)
        rate, megabytes = common.in_new_process(streamed, size)
        stream[size] = {"images_per_second": rate, "megabytes": megabytes}
    results = {"batch": batch, "stream": stream, **distributed()}
    for kind in ("replicas", "workers"):
        for count, found in results[kind].items():
            assert found["difference"] <= CONFIG["targets"]["greatest_difference"], f"{count} {kind} differ: {found}"
    common.write("scaling", CONFIG, results)


if __name__ == "__main__":
    main()
