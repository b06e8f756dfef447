"""How examples reach an objective: arrays become shuffled batches, weights become means; networks encode in batches."""

import math

import keras
import numpy as np
import tensorflow as tf

from aelib.models import checks


def is_array(value):
    """Whether Keras, or NumPy, takes it for an array: no data set, no generator."""
    return isinstance(value, list) or hasattr(value, "__array__") or hasattr(value, "toarray")


def as_array(name, value):
    """A NumPy array of numbers, or a tensor as it is. A sparse matrix becomes dense: a reconstruction is so too."""
    if isinstance(value, tf.Tensor):
        return value
    try:
        array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind in "OSUMmc":
        raise ValueError(f"{name} is a {type(value).__name__} that is no array of real numbers; make it one.")
    return array


def as_examples(model, x, y, sample_weight):
    """Inputs, targets and weights as Keras takes them, checked; a target for weights, which Keras drops without one."""
    if x is None:
        raise ValueError("There is no x: give an array of examples, or a data set.")
    if is_array(x):
        x = as_array("x", x)
        checks.check_shape(model.encoder, x.shape, "x")
        checks.check_finite("x", x)
        y = y if y is None else as_array("y", y)
        if sample_weight is not None:
            sample_weight = as_array("sample_weight", sample_weight)
            checks.check_finite("sample_weight", sample_weight)
            y = x if y is None else y
        checks.check_equal_length({"x": x, "y": y, "sample_weight": sample_weight})
    elif isinstance(x, keras.utils.PyDataset):
        x = _WithTarget(x)
    return x, y, sample_weight


class _WithTarget(keras.utils.PyDataset):
    """Fills in the input for a target that is None, which Keras takes from any data set but this kind."""

    def __init__(self, examples):
        super().__init__(examples.workers, examples.use_multiprocessing, examples.max_queue_size)
        self.examples = examples

    @property
    def num_batches(self):
        return self.examples.num_batches

    def __getitem__(self, index):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.examples[index])
        return keras.utils.pack_x_y_sample_weight(x, x if y is None and sample_weight is not None else y, sample_weight)

    def on_epoch_begin(self):
        self.examples.on_epoch_begin()

    def on_epoch_end(self):
        self.examples.on_epoch_end()


def weights_of_classes(y, class_weight, sample_weight):
    """Keras's `class_weight` as weights of examples: 1 for a class that it does not name."""
    if sample_weight is not None:
        raise ValueError("class_weight and sample_weight are both given: multiply them, and give sample_weight.")
    labels = None if y is None else as_array("y", y)
    if labels is None or labels.shape[1:] not in ((), (1,)):
        found = "there is none" if y is None else f"it has shape {tuple(labels.shape)}"
        raise ValueError(f"class_weight weighs examples by their label in y, shape (n,), but {found}.")
    return np.array([class_weight.get(int(label), 1.0) for label in np.reshape(labels, -1)], "float32")


def split(arrays, validation_split):
    """The first part of the examples, to train on, and the rest, as Keras splits them."""
    n = len(arrays[0])
    kept = int(n * (1 - validation_split))
    if not 0 < kept < n:
        raise ValueError(
            f"validation_split must be between 0 and 1 and leave some of the {n} examples to train on, but it is "
            f"{validation_split}."
        )
    parts = slice(kept), slice(kept, None)
    return [tuple(each if each is None else each[part] for each in arrays) for part in parts]


def shuffled(arrays, batch_size, endless):
    """A data set of batches in a fresh random order in every epoch."""
    # Keras's own order of arrays is the same in every epoch where TensorFlow's global seed is set (Keras 3.15).
    n = len(arrays[0])
    with tf.device("CPU:0"):
        arrays = [each if each is None else _in_floatx(tf.convert_to_tensor(each)) for each in arrays]
        # As an element of a data set, because a function that captures them keeps them until Python's collector runs.
        whole = tf.data.Dataset.from_tensors(keras.utils.pack_x_y_sample_weight(*arrays)).repeat()
    seeds = tf.data.Dataset.random(rerandomize_each_iteration=True).take(-1 if endless else 1)
    orders = seeds.map(lambda seed: tf.argsort(tf.random.stateless_uniform((n,), (seed, 0))))
    batches = tf.data.Dataset.zip(orders.rebatch(batch_size), whole).map(
        lambda rows, arrays: tf.nest.map_structure(lambda each: tf.gather(each, rows), arrays)
    )
    number = tf.data.INFINITE_CARDINALITY if endless else math.ceil(n / batch_size)
    options = tf.data.Options()
    # There is nothing to tune here, and on two cores the tuner takes its time from the steps.
    options.autotune.enabled = False
    return batches.apply(tf.data.experimental.assert_cardinality(number)).with_options(options)


def _in_floatx(tensor):
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor


def mean_over_batch(values, sample_weight):
    """`mean_n w_n value_n`, as Keras weighs; 0 for an empty batch, such as a replica's share of a small one."""
    if sample_weight is not None:
        values *= tf.cast(checks.one_weight_an_example(sample_weight), values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.shape(values)[0], values.dtype))


def per_replica(loss):
    """A strategy sums the replicas' losses, and Keras divides only those that it computes itself."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync


def in_batches(network, inputs, batch_size):
    """What a network gives outside training, as a NumPy array."""
    # Keras's predict compiles anew for every model, which takes longer than the arithmetic of a small network, and
    # warns of retracing after the fifth.
    inputs = as_array("The input", inputs)
    checks.check_shape(network, inputs.shape)
    starts = range(0, len(inputs), batch_size)
    return np.concatenate([network(inputs[start : start + batch_size], training=False).numpy() for start in starts])
