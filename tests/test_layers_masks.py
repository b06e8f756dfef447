"""The mask of padded steps, which the layers pass on as Keras's own do."""

import keras
import numpy as np
import pytest

from aelib import layers


def mirror():
    dense = keras.layers.Dense(6)
    dense.build((None, 6))
    return layers.DenseTranspose(dense)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.MaskingNoise(0.0),
        lambda: layers.SaltAndPepperNoise(0.0),
        lambda: layers.SparsityPenalty(1.0),
        lambda: layers.KSparse(2),
        mirror,
    ],
    ids=["masking", "salt and pepper", "penalty", "k-sparse", "transpose"],
)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.filterwarnings("error:Layer .* does not support masking")
def test_padded_steps_do_not_reach_the_layer_behind(make, training):
    layer = make()
    x = np.random.default_rng(0).uniform(size=(2, 5, 6)).astype("float32")
    x[0, 3:], x[1, 1:] = 0, 0
    y = layer(x, training=training).numpy()
    model = keras.Sequential(
        [keras.Input((5, 6)), keras.layers.Masking(), layer, keras.layers.GlobalAveragePooling1D()]
    )
    np.testing.assert_allclose(model(x, training=training), [y[0, :3].mean(axis=0), y[1, 0]], rtol=1e-5)
