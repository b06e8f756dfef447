"""Reconstruction losses: a sum over an image's features, a mean over the batch."""

import keras
from keras import ops

PACKAGE = "aelib"


@keras.saving.register_keras_serializable(package=PACKAGE)
class SumSquaredError(keras.losses.Loss):
    """Squared error summed over an example's features and averaged over the batch.

    `loss = mean_n sum_j (x_nj - r_nj)^2`, in squared units of the data. For pixels in [0, 1] it is the error that
    Hinton and Salakhutdinov report; it equals Keras's `mean_squared_error` times the number of features, 784 on MNIST.

    Args:
        reduction: How the examples' errors are joined: Keras's `"sum_over_batch_size"`, the mean, unless told.
        name: The loss's name.
        dtype: The data type it is computed in.

    Call arguments:
        y_true: The clean input, shape `(batch, ...)`.
        y_pred: The reconstruction, of the same shape.
        sample_weight: Optional weights, shape `(batch,)`.

    Returns:
        A scalar, or one value an example, shape `(batch,)`, with `reduction="none"`.

    Raises:
        ValueError: If the two shapes differ, which would otherwise broadcast to a wrong value without a word.

    Example:

    >>> float(SumSquaredError()([[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]))
    1.5

    Reference:
        G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural networks",
        Science 313, 2006, figure 2 (average squared error).
    """

    def __init__(self, reduction="sum_over_batch_size", name="sum_squared_error", dtype=None):
        super().__init__(reduction=reduction, name=name, dtype=dtype)

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        for true_size, predicted_size in zip(y_true.shape, y_pred.shape, strict=False):
            if None not in (true_size, predicted_size) and true_size != predicted_size:
                raise _shape_error(y_true, y_pred)
        if len(y_true.shape) != len(y_pred.shape):
            raise _shape_error(y_true, y_pred)
        return ops.sum(ops.square(y_true - y_pred), axis=tuple(range(1, len(y_pred.shape))))


def _shape_error(y_true, y_pred):
    return ValueError(
        f"The input has shape {tuple(y_true.shape)} and the reconstruction {tuple(y_pred.shape)}; they must be equal. "
        "Reshape the data, or change the decoder's output."
    )
