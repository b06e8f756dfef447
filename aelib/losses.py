"""Losses: a sum over an image's features, a mean over the batch; and the divergence of a variational code."""

import keras
import tensorflow as tf
from keras import ops

PACKAGE = "aelib"


class _OneValueAnExample(keras.losses.Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        shape = () if sample_weight is None else tuple(ops.convert_to_tensor(sample_weight).shape)
        if shape[1:] not in ((), (1,)):
            raise ValueError(
                f"The weights have shape {shape}, but {self.name} is one value an example: give one weight an example, "
                "shape (batch,)."
            )
        if len(getattr(getattr(y_pred, "_keras_mask", None), "shape", ())) > 1:
            raise ValueError(
                f"The reconstruction has a mask of steps, and {self.name} is one value an example: use "
                "keras.losses.MeanSquaredError, which is one value a step, or leave the mask out."
            )
        return super().__call__(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SumSquaredError(_OneValueAnExample):
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
        ValueError: If the two shapes differ, which would otherwise broadcast to a wrong value without a word, or there
            is not one weight an example.

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
        y_true, y_pred = _as_pair(y_true, y_pred)
        return ops.sum(ops.square(y_true - y_pred), axis=tuple(range(1, len(y_pred.shape))))

    def get_config(self):
        return {**super().get_config(), "dtype": self.dtype}


@keras.saving.register_keras_serializable(package=PACKAGE)
class BernoulliNLL(_OneValueAnExample):
    """Negative log-likelihood of pixels that are 1 with the predicted probabilities, in nats an example.

    `loss = mean_n sum_j -(x_nj log p_nj + (1 - x_nj) log(1 - p_nj))` with `p = sigmoid(logits)`.

    For binary `x` it is `-log p(x)`. For grey values it is a cross-entropy, at least the entropy of the pixels and not
    comparable with likelihoods, which are published for binarized images.

    Args:
        from_logits: Whether the predictions are logits, any number. Otherwise they are probabilities in [0, 1], and
            Keras moves them into `[1e-7, 1 - 1e-7]`: no pixel then costs more than 16.1 nats, however wrong it is.
        reduction: How the examples' values are joined: Keras's `"sum_over_batch_size"`, the mean, unless told.
        name: The loss's name.
        dtype: The data type it is computed in.

    Call arguments:
        y_true: The input, shape `(batch, ...)`, values in [0, 1].
        y_pred: The logits, or the probabilities, of the same shape.
        sample_weight: Optional weights, shape `(batch,)`.

    Returns:
        A scalar, or one value an example, shape `(batch,)`, with `reduction="none"`.

    Raises:
        ValueError: If the two shapes differ, there is not one weight an example, or values that must lie in [0, 1] do
            not or are not numbers. In `fit`, which runs as a graph, such values are an `InvalidArgumentError` of
            TensorFlow with the same text; compiled by XLA there is no check.

    Example:

    >>> round(float(BernoulliNLL()([[0.0, 1.0]], [[0.0, 0.0]])), 4)  # two pixels, log 2 each
    1.3863

    Reference:
        D. P. Kingma and M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114, appendix C.1.
    """

    def __init__(self, from_logits=True, reduction="sum_over_batch_size", name="bernoulli_nll", dtype=None):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        y_true, y_pred = _as_pair(y_true, y_pred)
        _check_unit_interval("pixels", y_true, "Divide grey values by 255.")
        if not self.from_logits:
            _check_unit_interval("predicted probabilities", y_pred, "Use from_logits=True for a decoder of logits.")
        nll = ops.binary_crossentropy(y_true, y_pred, from_logits=self.from_logits)
        return ops.sum(nll, axis=tuple(range(1, len(y_pred.shape))))

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits, "dtype": self.dtype}


def gaussian_kl(z_mean, z_log_var):
    """Kullback-Leibler divergence of diagonal Gaussians from the standard normal, in nats an example.

    `KL(N(m, diag(exp(v))) || N(0, I)) = 1/2 sum_j (m_j^2 + exp(v_j) - 1 - v_j)`: a sum over the numbers of the code,
    like the reconstruction's over the pixels. It is 0 for `m = v = 0`, and positive for anything else.

    Args:
        z_mean: The means `m`, shape `(batch, ...)`.
        z_log_var: The logarithms of the variances `v`, of the same shape. `exp(v)` overflows from 88 on in float32:
            bound them, as `aelib.models.VariationalAutoencoder` does.

    Returns:
        A tensor of shape `(batch,)`.

    Raises:
        ValueError: If the shapes differ, or there is no axis but the batch's.

    Example:

    >>> gaussian_kl([[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]).numpy().tolist()
    [0.0, 12.5]

    Reference:
        D. P. Kingma and M. Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114, appendix B.
    """
    z_mean, z_log_var = ops.convert_to_tensor(z_mean), ops.convert_to_tensor(z_log_var)
    if tuple(z_mean.shape) != tuple(z_log_var.shape) or len(z_mean.shape) < 2:
        raise ValueError(
            f"z_mean has shape {tuple(z_mean.shape)} and z_log_var {tuple(z_log_var.shape)}; they must be equal, "
            "(batch, latent_dim)."
        )
    divergence = ops.square(z_mean) + ops.expm1(z_log_var) - z_log_var
    return ops.sum(divergence, axis=tuple(range(1, len(z_mean.shape)))) / 2


def _as_pair(y_true, y_pred):
    """Returns both as tensors of the prediction's type; equal shapes, or an error."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    for true_size, predicted_size in zip(y_true.shape, y_pred.shape, strict=False):
        if None not in (true_size, predicted_size) and true_size != predicted_size:
            raise _shape_error(y_true, y_pred)
    if len(y_true.shape) != len(y_pred.shape):
        raise _shape_error(y_true, y_pred)
    return y_true, y_pred


def _shape_error(y_true, y_pred):
    return ValueError(
        f"The input has shape {tuple(y_true.shape)} and the reconstruction {tuple(y_pred.shape)}; they must be equal. "
        "Reshape the data, or change the decoder's output."
    )


def _check_unit_interval(what, values, remedy):
    low, high = tf.reduce_min(values), tf.reduce_max(values)
    inside = ops.logical_and(low >= 0, high <= 1)  # false for what is not a number
    text = f"BernoulliNLL needs {what} in [0, 1], but they reach from"
    if not tf.executing_eagerly():
        tf.debugging.Assert(inside, [text, low, "to", high, remedy])
    elif not inside:
        raise ValueError(f"{text} {float(low):g} to {float(high):g}. {remedy}")
