import keras
import numpy as np
import pytest
from keras import ops

from aelib import layers, losses, models
from tests import fresh_process

FEATURES, UNITS = 6, 4


def data(count=32, dtype="float32"):
    return np.random.default_rng(0).uniform(size=(count, FEATURES)).astype(dtype)


def tied_autoencoder(dtype=None, kernel_regularizer=None):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(
        UNITS, "tanh", dtype=dtype, bias_initializer="normal", kernel_regularizer=kernel_regularizer
    )
    encoder = keras.Sequential([keras.Input((FEATURES,), dtype=dtype), dense])
    mirror = layers.DenseTranspose(dense, activation="sigmoid", dtype=dtype)
    decoder = keras.Sequential([keras.Input((UNITS,), dtype=dtype), mirror])
    return models.Autoencoder(encoder, decoder, dtype=dtype)


def error_by_hand(x, kernel, bias, mirror_kernel, mirror_bias):
    z = np.tanh(x @ kernel + bias)
    reconstruction = 1 / (1 + np.exp(-(z @ mirror_kernel.T + mirror_bias)))
    return np.square(x - reconstruction).sum(axis=1).mean()


def slopes(function, matrix, step=1e-6):
    """Central finite differences of a function with respect to each entry of a matrix."""
    gradient = np.zeros_like(matrix)
    for index in np.ndindex(matrix.shape):
        change = np.zeros_like(matrix)
        change[index] = step
        gradient[index] = (function(matrix + change) - function(matrix - change)) / (2 * step)
    return gradient


def test_output_is_that_of_the_transposed_kernel():
    model, x = tied_autoencoder(), data()
    kernel, bias, mirror_bias = model.get_weights()
    mirror_bias += np.arange(FEATURES, dtype="float32")
    model.set_weights([kernel, bias, mirror_bias])
    expected = 1 / (1 + np.exp(-(np.tanh(x @ kernel + bias) @ kernel.T + mirror_bias)))
    np.testing.assert_allclose(model.reconstruct(x), expected, atol=1e-6)


def test_the_gradient_of_the_kernel_is_the_sum_of_both_paths():
    model, x = tied_autoencoder("float64"), data(dtype="float64")
    kernel, bias, mirror_bias = model.get_weights()
    # SGD with a rate of 1 moves the kernel by its gradient, the one that fit really uses.
    model.compile(keras.optimizers.SGD(1.0), losses.SumSquaredError(dtype="float64"))
    model.fit(x, batch_size=len(x), epochs=1, verbose=0)
    first = slopes(lambda moved: error_by_hand(x, moved, bias, kernel, mirror_bias), kernel)
    second = slopes(lambda moved: error_by_hand(x, kernel, bias, moved, mirror_bias), kernel)
    assert min(np.abs(first).max(), np.abs(second).max()) > 0.01
    np.testing.assert_allclose(kernel - model.get_weights()[0], first + second, atol=1e-6)


def test_kernel_is_one_variable_in_weights_optimizer_and_regularization():
    model = tied_autoencoder(kernel_regularizer=keras.regularizers.L2(0.5))
    dense, mirror = model.encoder.layers[0], model.decoder.layers[0]
    assert mirror.dense.kernel is dense.kernel
    assert len(model.weights) == len(model.trainable_variables) == 3
    assert model.count_params() == FEATURES * UNITS + UNITS + FEATURES
    assert float(sum(model.losses)) == pytest.approx(0.5 * np.square(dense.kernel.numpy()).sum(), rel=1e-5)
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(model.trainable_variables)
    assert len(optimizer.variables) == 3 + 2  # a momentum for each, the step count and the rate


def test_a_tie_of_images_patches_and_sequences():
    dense = keras.layers.Dense(UNITS)
    dense.build((None, FEATURES))
    mirror = layers.DenseTranspose(dense)
    assert mirror.compute_output_shape((None, 7, UNITS)) == (None, 7, FEATURES)
    z = np.random.default_rng(1).normal(size=(2, 7, UNITS)).astype("float32")
    np.testing.assert_allclose(mirror(z).numpy(), z @ dense.kernel.numpy().T, atol=1e-6)


def functional_model(x):
    """A network in one piece, trained a little, that has a dense layer and its mirror."""
    keras.utils.set_random_seed(0)
    inputs, dense = keras.Input((FEATURES,)), keras.layers.Dense(UNITS, "tanh")
    model = keras.Model(inputs, layers.DenseTranspose(dense_built(dense), "sigmoid")(dense(inputs)))
    model.compile("adam", losses.SumSquaredError())
    model.fit(x, x, epochs=2, verbose=0)
    return model


def dense_built(dense):
    dense.build((None, FEATURES))
    return dense


LOADED = """
from aelib import layers, losses, models
for name in ("functional", "decoder"):
    model = keras.models.load_model(f"{name}.keras", safe_mode=True)
    np.save(f"{name}.out.npy", model(np.load(f"{name}.npy")).numpy())
    print(name, len(model.weights), sum(weight.name == "kernel" for weight in model.weights))
"""

TWO_DEVICES = """
from aelib import layers, losses, models

def train(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        dense = keras.layers.Dense(4, "tanh")
        encoder = keras.Sequential([keras.Input((6,)), dense])
        decoder = keras.Sequential([keras.Input((4,)), layers.DenseTranspose(dense, "sigmoid")])
        model = models.Autoencoder(encoder, decoder)
        model.compile(keras.optimizers.SGD(0.1), losses.SumSquaredError())
    model.fit(np.load("functional.npy"), batch_size=16, epochs=3, shuffle=False, verbose=0)
    return model.get_weights()

one, two = train(tf.distribute.OneDeviceStrategy("CPU:0")), train(strategy)
print("devices", max(np.abs(a - b).max() for a, b in zip(one, two, strict=True)))
"""


def test_loaded_in_a_fresh_process_and_on_two_devices(tmp_path):
    x, z = data(), np.random.default_rng(1).normal(size=(8, UNITS)).astype("float32")
    saved = {"functional": (functional_model(x), x), "decoder": (tied_autoencoder().decoder, z)}
    for name, (model, inputs) in saved.items():
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", inputs)
    out = fresh_process.run(TWO_DEVICES + LOADED, tmp_path)
    devices, *loaded = out.splitlines()
    assert float(devices.split()[1]) < 1e-6
    assert loaded == ["functional 3 1", "decoder 3 1"]
    for name, (model, inputs) in saved.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.out.npy"), model(inputs).numpy(), atol=1e-7)


def test_autoencoder_is_loaded_with_its_one_kernel(tmp_path):
    model, x = tied_autoencoder(), data()
    model.compile("adam", losses.SumSquaredError())
    model.fit(x, epochs=2, verbose=0)
    model.save(tmp_path / "tied.keras")
    loaded = keras.models.load_model(tmp_path / "tied.keras")
    assert loaded.decoder.layers[0].dense is loaded.encoder.layers[0]
    np.testing.assert_array_equal(loaded.reconstruct(x), model.reconstruct(x))
    for one in (model, loaded):
        one.fit(x, epochs=2, shuffle=False, verbose=0)
    assert len(loaded.weights) == 3
    np.testing.assert_allclose(loaded.reconstruct(x), model.reconstruct(x), atol=1e-6)


def test_what_cannot_be_mirrored_is_refused():
    for layer, message in [
        (keras.layers.Dense(3), "not built"),
        (keras.layers.Conv2D(3, 3), "got <Conv2D"),
        (None, "got None"),
    ]:
        with pytest.raises(ValueError, match=message):
            layers.DenseTranspose(layer)
    with pytest.raises(ValueError, match=r"4 units.*\(2, 5\)"):
        layers.DenseTranspose(dense_built(keras.layers.Dense(UNITS)))(ops.zeros((2, 5)))
