"""Arrays of every kind reach the models, and what does not fit is refused in one sentence."""

import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from aelib import layers
from aelib.models import Autoencoder
from tests import fresh_process
from tests.examples import (
    FEATURES,
    KINDS,
    LABELS,
    UNLABELLED,
    N,
    as_data_set,
    as_generator,
    assert_equal,
    make,
    pair,
    trained,
)


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(2, size=(N, FEATURES)).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(2).integers(LABELS, size=N)


ARRAYS = {
    "float64": lambda x: x.astype("float64"),
    "integers": lambda x: x.astype("uint8"),
    "Booleans": lambda x: x.astype(bool),
    "tensor": tf.constant,
    "list of lists": lambda x: x.tolist(),
    "DataFrame": pd.DataFrame,
    "sparse matrix": scipy.sparse.csr_matrix,
    "sparse array": scipy.sparse.coo_array,
}


@pytest.mark.parametrize(
    ("kind", "array"), [("plain", array) for array in ARRAYS] + [(kind, "integers") for kind in UNLABELLED[1:]]
)
def test_arrays_of_every_kind_are_taken(kind, array, x):
    given = ARRAYS[array](x)
    assert_equal(trained(kind, given, validation_data=(given,)), trained(kind, x, validation_data=(x,)))
    model = make(kind)
    model.fit(given, sample_weight=list(range(N)), validation_split=0.25, verbose=0)
    for name in ("encode", "reconstruct"):
        np.testing.assert_allclose(getattr(model, name)(given), getattr(model, name)(x), atol=1e-6)


def test_targets_and_labels_of_every_kind_are_taken(x, labels):
    expected = trained("adversarial, labelled", x, labels)
    for given in (labels.tolist(), pd.Series(labels), tf.constant(labels), labels.astype("uint8")):
        assert_equal(trained("adversarial, labelled", x, given), expected)
    assert_equal(trained("plain", x, pd.DataFrame(1 - x)), trained("plain", x, 1 - x))


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("corruption", [keras.layers.GaussianNoise(0.1, seed=0), layers.MaskingNoise(0.5, seed=0)])
def test_corruptions_take_integers(x, dtype, corruption):
    model = Autoencoder(*pair(), type(corruption).from_config(corruption.get_config()))
    model.compile("sgd", "mse", run_eagerly=True)
    other = Autoencoder(model.encoder, model.decoder, type(corruption).from_config(corruption.get_config()))
    np.testing.assert_array_equal(model(x.astype(dtype), training=True), other(x, training=True))
    model.fit(x.astype(dtype), verbose=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_example_is_a_batch(kind, x, labels):
    target = labels[:1] if kind == "adversarial, labelled" else None
    logged = trained(kind, x[:1], target, validation_data=(x[:1], target))
    assert all(np.isfinite(value).all() for value in logged.values())
    assert make(kind).reconstruct(x[:1]).shape == (1, FEATURES)


def with_nan(x):
    x = x.copy()
    x[[3, 5], 2] = np.nan, np.inf
    return x


REFUSED = {
    "one-dimensional": (lambda x: x[0], r"encoder takes x of shape \(n, 6\) .*not \(6,\).*x\[None\]"),
    "another width": (lambda x: x[:, :5], r"encoder takes x of shape \(n, 6\) with n at least 1, not \(10, 5\)"),
    "another rank": (lambda x: x[..., None], r"not \(10, 6, 1\)"),
    "scalar": (lambda x: np.float32(1), r"not \(\)"),
    "empty": (lambda x: x[:0], r"n at least 1, not \(0, 6\)"),
    "not finite": (with_nan, "x has values that are not finite in 2 of 10 examples, the first at index 3"),
    "objects": (lambda x: x.astype(object), "x is a ndarray that is no array of real numbers"),
    "words": (lambda x: x.astype(str).tolist(), "x is a list that is no array of real numbers"),
    "complex": (lambda x: x + 1j, "x is a ndarray that is no array of real numbers"),
    "ragged": (lambda x: [[1.0, 2.0], [3.0]], "x is a list that is no array of real numbers"),
    "DataFrame of words": (lambda x: pd.DataFrame({"a": ["b"]}), "x is a DataFrame that is no array of real numbers"),
}


@pytest.mark.parametrize("bad", REFUSED)
@pytest.mark.parametrize("kind", UNLABELLED)
def test_arrays_that_do_not_fit_are_refused_in_one_sentence(kind, bad, x):
    change, message = REFUSED[bad]
    model = make(kind)
    for attempt in (
        lambda: model.fit(change(x), verbose=0),
        lambda: model.fit(change(x), shuffle=False, validation_split=0.5, verbose=0),
        lambda: model.fit(x, validation_data=(change(x),), verbose=0),
        lambda: model.evaluate(change(x), verbose=0),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
    if bad != "not finite":
        for attempt in (model.encode, model.reconstruct):
            with pytest.raises(ValueError, match=message.replace("takes x of", "takes an array of").removeprefix("x")):
                attempt(change(x))


def test_images_without_their_last_axis_are_named():
    encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    with pytest.raises(ValueError, match=r"not \(3, 4, 4\)\. Add the last axis: x\[..., None\]"):
        Autoencoder(encoder, decoder).encode(np.zeros((3, 4, 4)))


def test_what_goes_with_x_is_checked_too(x):
    for arguments, message in [
        ({"y": x[:5]}, "10 in x and 5 in y"),
        ({"sample_weight": np.ones(5)}, "10 in x and 10 in y and 5 in sample_weight"),
        ({"sample_weight": np.full(N, np.nan)}, "sample_weight has values that are not finite in 10 of 10"),
        ({"validation_data": (x, None, np.ones(5))}, "5 in sample_weight"),
        ({"x": as_data_set(x, x), "sample_weight": np.ones(N)}, "sample_weights. should not be passed"),
        ({"x": None}, "There is no x: give an array"),
        ({"x": as_generator(x, x), "class_weight": {0: 1.0}}, "target of this model has none"),
    ]:
        with pytest.raises(ValueError, match=message):
            make("plain").fit(**{"x": x, "verbose": 0} | arguments)


@pytest.mark.filterwarnings("ignore:overflow")
def test_large_values_are_finite(x):
    model = make("plain")
    model.evaluate(np.where(x == 0, x, 3e38).astype("float32"), verbose=0)
    model.evaluate(tf.constant(np.where(x == 0, x, 3e38), "float32"), verbose=0)


@pytest.mark.parametrize("kind", UNLABELLED)
def test_an_empty_batch_adds_nothing(kind, x):
    """Such as a replica has of a batch that is smaller than the number of replicas."""
    batch, empty = tf.data.Dataset.from_tensor_slices(x).batch(N), tf.data.Dataset.from_tensors(x[:0])
    model, expected = make(kind, run_eagerly=False), trained(kind, batch)
    logged = model.fit(batch.concatenate(empty), validation_data=batch.concatenate(empty), verbose=0).history
    for index, weight in enumerate(model.get_weights()):
        np.testing.assert_allclose(weight, expected[index], rtol=1e-5)
    for key, (value,) in logged.items():
        assert value == pytest.approx(expected[key], rel=1e-5) if key in expected else np.isfinite(value), key


def test_a_sparse_code_of_an_empty_batch_adds_nothing(x):
    for penalty in (layers.SparsityPenalty(0.1), layers.SparsityPenalty(0.1, sparsity_target=0.2)):
        z = keras.Variable(np.zeros((0, 3)))
        with tf.GradientTape() as tape:
            penalty(z.value)
            loss = penalty.losses[0]
        assert float(loss) == 0 and tape.gradient(loss, z.value).shape == (0, 3)


def test_a_data_set_is_taken_without_a_warning(x):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*shuffle")
        make("plain").fit(as_data_set(x, x), verbose=0)
        make("plain").fit(as_generator(x, x), steps_per_epoch=2, verbose=0)


ONE_EXAMPLE_ON_TWO_DEVICES = """
from aelib import losses, models, networks

x = np.random.default_rng(0).integers(2, size=(5, 6)).astype("float32")
with strategy.scope():
    def pair(code=2):
        return networks.mlp_encoder(6, [], code), networks.mlp_decoder(2, [], 6, output_activation=None)
    made = [
        models.Autoencoder(*pair()),
        models.ContractiveAutoencoder(*pair(), 0.1),
        models.VariationalAutoencoder(*pair(4)),
        models.AdversarialAutoencoder(*pair(), networks.mlp_encoder(2, [], 1)),
    ]
    for model in made:
        model.compile("sgd", losses.SumSquaredError())
for model in made:
    logged = model.fit(x, batch_size=4, verbose=0).history
    values = [*logged.values(), *model.get_weights()]
    print(type(model).__name__, all(np.isfinite(value).all() for value in values))
"""


def test_a_batch_of_one_on_two_devices(tmp_path):
    printed = fresh_process.run(ONE_EXAMPLE_ON_TWO_DEVICES, tmp_path).split()
    assert printed[1::2] == ["True"] * 4
