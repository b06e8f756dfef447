"""Codes of which few numbers are large."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="aelib")
class SparsityPenalty(keras.layers.Layer):
    """Passes a code on unchanged and adds a penalty on its activity to the model's loss.

    Without a target, L1: `weight * mean_n sum_j |z_nj|`. With a target `rho`, the Kullback-Leibler divergence from it
    to each unit's mean activation over the batch, `r_j = mean_n z_nj`, summed over units:
    `weight * sum_j (rho log(rho / r_j) + (1 - rho) log((1 - rho) / (1 - r_j)))`, in nats.

    Neither is divided by the batch size, unlike a penalty given as `activity_regularizer` from Keras 3.14 on. But the
    mean of a batch of `N` scatters: a unit whose true mean is the target still pays about
    `weight * var(z_j) / (2 N rho (1 - rho))` on average, so a large weight with small batches flattens the code.

    `fit` and `evaluate` log the penalty before the weight under the layer's name, `sparsity` unless told. It is part of
    the validation loss too, and sample weights do not weigh it.

    Under a distributed strategy a replica averages over its own part of the batch. For L1 the result is that of one
    device; for the divergence, which is not linear in the mean, it is the mean of the replicas' divergences, which is
    never smaller.

    Args:
        weight: Weight of the penalty, 0 or more.
        sparsity_target: The mean activation wanted of every unit, inside (0, 1), for a code inside (0, 1), such as a
            sigmoid's; `None` for L1. A mean outside `[1e-7, 1 - 1e-7]` counts as the nearest end of that range, and
            has no gradient there: a code of another activation is not pushed to the target.
        name: The layer's name, and that of the logged value.

    Call arguments:
        inputs: The code `z`, shape `(batch, ...)`.

    Output shape:
        That of the input.

    Raises:
        ValueError: If the weight is negative, the target is outside (0, 1), or the code has no axis but the batch's.

    Example:

    >>> penalty = SparsityPenalty(0.5)
    >>> z = penalty(np.array([[1.0, -2.0], [0.0, 3.0]]))
    >>> float(penalty.losses[0])
    1.5

    Reference:
        A. Ng, "Sparse autoencoder", CS294A lecture notes, Stanford University, 2011 (the divergence).
    """

    def __init__(self, weight, sparsity_target=None, name="sparsity", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= weight < float("inf"):
            raise ValueError(f"The weight must be a number, 0 or more, but it is {weight}.")
        if sparsity_target is not None and not 0 < sparsity_target < 1:
            raise ValueError(
                f"The sparsity target is a mean activation between 0 and 1, both excluded, not {sparsity_target}. "
                "Leave it out for an L1 penalty."
            )
        self.weight = weight
        self.sparsity_target = sparsity_target
        self.supports_masking = True
        self.tracker = keras.metrics.Mean(name=name)

    def build(self, input_shape):
        if len(input_shape) < 2:
            raise ValueError(f"A code has the shape (batch, units), but this one has {tuple(input_shape)}.")

    def call(self, inputs):
        z = ops.cast(inputs, self.variable_dtype)
        # A replica's share of a small batch may be empty.
        count = ops.cast(ops.shape(z)[0], z.dtype)
        if self.sparsity_target is None:
            penalty = ops.divide_no_nan(ops.sum(ops.abs(z)), count)
        else:
            target, mean = self.sparsity_target, ops.divide_no_nan(ops.sum(z, axis=0), count)
            mean = ops.clip(mean, 1e-7, 1 - 1e-7)
            penalty = ops.sum(
                target * ops.log(target / mean) + (1 - target) * ops.log((1 - target) / (1 - mean)),
            )
            penalty *= ops.minimum(count, 1)
        self.add_loss(self.weight * penalty)
        self.tracker.update_state(penalty, sample_weight=ops.shape(z)[0])
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "sparsity_target": self.sparsity_target}


@keras.saving.register_keras_serializable(package="aelib")
class KSparse(keras.layers.Layer):
    """Keeps the k largest values of each code and sets the others to zero.

    `z_j = a_j if a_j >= a_(k), else 0`, with `a_(k)` the k-th largest of one example's values along the last axis.
    Largest by value, not by magnitude. The gradient flows through the values kept, unchanged, and through no other.
    Values tied with the k-th are kept too.

    Outside training `encoding_k` values are kept. A wider code than was trained on is better for a classifier, but
    decoding it adds up more than the decoder has learned to: to reconstruct, call the model with `training=True`, or
    leave `encoding_k` out.

    Args:
        k: Number of values kept in training.
        encoding_k: Number of values kept otherwise; `k` unless told. The paper's best classifier uses `3 * k`.
        name: The layer's name.

    Call arguments:
        inputs: Linear activations, shape `(..., units)`.
        training: Whether to keep `k` or `encoding_k` values.

    Output shape:
        That of the input.

    Raises:
        ValueError: If a number is not a positive whole number, or is larger than the number of units.

    Example:

    >>> KSparse(2)(np.array([[1.0, -4.0, 3.0, 2.0]])).numpy().tolist()
    [[0.0, 0.0, 3.0, 2.0]]

    Reference:
        A. Makhzani and B. Frey, "k-sparse autoencoders", ICLR 2014, arXiv:1312.5663, section 2.1.
    """

    def __init__(self, k, encoding_k=None, **kwargs):
        super().__init__(**kwargs)
        for value in (k, k if encoding_k is None else encoding_k):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"The number of values to keep must be a positive whole number, not {value!r}.")
        self.k = k
        self.encoding_k = encoding_k
        self.supports_masking = True

    def build(self, input_shape):
        largest = max(self.k, self.encoding_k or self.k)
        if largest > input_shape[-1]:
            raise ValueError(
                f"{largest} values cannot be kept of {input_shape[-1]}: lower k and encoding_k, or widen the code."
            )

    def call(self, inputs, training=None):
        k = self.k if training or self.encoding_k is None else self.encoding_k
        smallest_kept = ops.top_k(inputs, k)[0][..., -1:]
        return ops.where(inputs < smallest_kept, ops.zeros_like(inputs), inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "k": self.k, "encoding_k": self.encoding_k}
