"""Runs code in a second Python process, for what one process cannot show: loading a model, and several devices.

The process is started at the first use and kept, because starting TensorFlow takes seconds. It has imported aelib and
Keras and nothing of the tests, and has two logical CPU devices; each call gets names of its own.
"""

import concurrent.futures
import contextlib
import functools
import io
import multiprocessing
import os


@functools.cache
def _process():
    return concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


@functools.cache
def _names():
    import keras
    import numpy as np
    import tensorflow as tf

    import aelib

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return {"aelib": aelib, "keras": keras, "np": np, "tf": tf, "strategy": strategy}


def _execute(code, folder):
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, dict(_names()))
    return printed.getvalue()


def run(code, folder):
    """Runs Python code in `folder`, with `aelib`, `keras`, `np`, `tf` and `strategy`; returns what it printed."""
    return _process().submit(_execute, code, folder).result(timeout=300)
