"""Sequences of any length and images of any size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import layers, losses
from aelib.models import Autoencoder, ContractiveAutoencoder, VariationalAutoencoder


def open_model(kind, code=2):
    """Networks that take sequences of any length, or images of any size, step by step."""
    dense = keras.layers.Dense
    shape = (None, None, 3) if kind == "images" else (None, 3)
    wide = (*shape[:-1], code)
    encoder = keras.Sequential([keras.Input(shape), dense(2 * code if kind == "variational" else code)])
    decoder = keras.Sequential([keras.Input(wide), dense(3)], name="decoder")
    if kind in ("plain", "images"):
        model = Autoencoder(encoder, decoder, layers.MaskingNoise(0.1))
    elif kind == "variational":
        model = VariationalAutoencoder(encoder, decoder)
    else:
        model = ContractiveAutoencoder(encoder, decoder, 0.1, penalty=kind)
    model.compile(keras.optimizers.SGD(0.01), losses.SumSquaredError())
    return model


@pytest.mark.parametrize("kind", ["plain", "images", "exact", "projected", "stochastic", "variational"])
def test_open_axes_take_any_size(kind):
    shapes = [(4, 5, 3), (4, 2, 3)] if kind != "images" else [(4, 5, 2, 3), (4, 2, 6, 3)]
    model = open_model(kind)
    for shape in shapes:
        x = np.random.default_rng(0).uniform(size=shape).astype("float32")
        model.fit(x, batch_size=3, validation_split=0.25, verbose=0)
        assert np.isfinite(model.evaluate(x, sample_weight=np.ones(4), verbose=0)).all()
        assert model.encode(x).shape == (*shape[:-1], 2)
        np.testing.assert_allclose(model.reconstruct(x), model.decode(model.encode(x)), rtol=1e-5)
        assert model.reconstruct(x, batch_size=3).shape == shape
    several = tf.data.Dataset.from_generator(
        lambda: (np.ones(shape, "float32") for shape in shapes),
        output_signature=tf.TensorSpec((None, *model.encoder.input_shape[1:])),
    )
    assert np.isfinite(model.fit(several, epochs=2, verbose=0, steps_per_epoch=1).history["loss"]).all()
    wrong = np.zeros((*shapes[0][:-1], 2))
    with pytest.raises(ValueError, match=rf"\(n, None, (None, )?3\) with n at least 1, not \({wrong.shape[0]}, 5, "):
        model.encode(wrong)
    with pytest.raises(ValueError, match=r"decoder takes an array of shape \(n, None, (None, )?2\).*not \(4, 2\)"):
        model.decode(np.zeros((4, 2)))


def test_the_penalty_of_a_sequence_is_that_of_its_matrix():
    """A dense layer at each step: `||J||^2 = steps * ||W||^2`."""
    model = open_model("exact")
    kernel = model.encoder.get_weights()[0]
    for steps in (2, 5):
        logged = model.evaluate(np.ones((3, steps, 3)), verbose=0, return_dict=True)
        assert logged["contraction"] == pytest.approx(steps * np.square(kernel).sum(), rel=1e-5)


def test_a_code_of_any_size_has_no_size_to_sample():
    with pytest.raises(ValueError, match=r"codes of any size, \(None, None, 2\): draw some .* and decode them"):
        open_model("variational").sample(3)


def test_an_open_axis_of_one_part_fits_any_size_of_the_other():
    closed = keras.Sequential([keras.Input((5, 3)), keras.layers.Dense(2)])
    decoder = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(3)])
    assert Autoencoder(closed, decoder).reconstruct(np.zeros((4, 5, 3))).shape == (4, 5, 3)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_a_mask_of_steps_counts_where_the_loss_is_one_value_a_step_and_is_refused_elsewhere():
    x = np.random.default_rng(0).uniform(1, 2, size=(4, 4, 3)).astype("float32")  # as many steps as examples
    x[0, 2:], x[1, 1:] = 0, 0
    encoder = keras.Sequential([keras.Input((None, 3)), keras.layers.Masking(), keras.layers.Dense(2)])
    model = Autoencoder(encoder, keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(3)]))
    model.compile("sgd", "mse", run_eagerly=True)
    expected = np.square(x - model.reconstruct(x))[x.any(axis=2)].mean()
    assert model.evaluate(x, verbose=0) == pytest.approx(expected, rel=1e-5)
    model.compile("sgd", losses.SumSquaredError(), run_eagerly=True)
    with pytest.raises(ValueError, match="mask of steps, and sum_squared_error is one value an example"):
        model.evaluate(x, verbose=0)
