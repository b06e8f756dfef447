import keras
import numpy as np
import pytest

from aelib.losses import SumSquaredError

rng = np.random.default_rng(0)


def test_is_the_sum_over_features_and_the_mean_over_the_batch():
    x, reconstruction = rng.normal(size=(2, 5, 4, 3, 2)).astype("float32")
    total = 0.0
    for image, other in zip(x, reconstruction, strict=True):
        total += np.linalg.norm((image - other).ravel()) ** 2
    assert float(SumSquaredError()(x, reconstruction)) == pytest.approx(total / 5, rel=1e-6)


def test_is_mse_times_the_number_of_features():
    x, reconstruction = rng.uniform(size=(2, 7, 784)).astype("float32")
    mse = float(keras.losses.MeanSquaredError()(x, reconstruction))
    assert float(SumSquaredError()(x, reconstruction)) == pytest.approx(784 * mse, rel=1e-5)


def test_one_value_an_example_and_weights():
    x, reconstruction = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 0.0]])
    assert SumSquaredError(reduction="none")(x, reconstruction).numpy().tolist() == [5.0, 9.0]
    assert float(SumSquaredError()(x, reconstruction, sample_weight=[1.0, 0.0])) == 2.5


@pytest.mark.parametrize("shape", [(4, 1), (4,), (1, 3), (4, 3, 1)])
def test_shapes_that_would_broadcast_are_refused(shape):
    with pytest.raises(ValueError, match="must be equal"):
        SumSquaredError().call(np.zeros((4, 3), "float32"), np.zeros(shape, "float32"))


def test_is_kept_by_serialization():
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(SumSquaredError(name="error")))
    assert isinstance(loss, SumSquaredError) and loss.name == "error"
