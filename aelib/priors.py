"""Distributions that the codes of an adversarial autoencoder are to take: samplers with a seed.

A prior is a function `prior(n, latent_dim, labels=None, num_labels=10, seed=None)` that returns `n` codes. To save a
model with a prior of your own, register the function with `keras.saving.register_keras_serializable`.
"""

import math
import numbers

import keras
import tensorflow as tf
from keras import ops

PACKAGE = "aelib"


@keras.saving.register_keras_serializable(package=PACKAGE)
def gaussian_prior(n, latent_dim=2, labels=None, num_labels=10, seed=None):
    """Codes from the standard normal distribution.

    `z ~ N(0, I)`

    Args:
        n: Number of codes.
        latent_dim: Width of a code.
        labels: Must be `None`: this prior has no parts that labels could choose.
        num_labels: Not used; every prior takes the same arguments.
        seed: A whole number gives the same codes at every call, a `keras.random.SeedGenerator` new ones; `None` draws
            from Keras's global generator.

    Returns:
        A float tensor of shape `(n, latent_dim)`.

    Raises:
        ValueError: If `n` or `latent_dim` is not a positive whole number, or labels are given.

    Example:

    >>> gaussian_prior(1000, 8, seed=0).shape
    TensorShape([1000, 8])

    Reference:
        A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow and B. Frey, "Adversarial autoencoders", arXiv:1511.05644,
        2015.
    """
    _check_size(n, latent_dim)
    if labels is not None:
        raise ValueError(
            "A standard normal prior has no parts that labels could choose: use gaussian_mixture_prior or "
            "swiss_roll_prior, or leave the labels out."
        )
    return keras.random.normal((n, latent_dim), seed=seed)


@keras.saving.register_keras_serializable(package=PACKAGE)
def gaussian_mixture_prior(n, latent_dim=2, labels=None, num_labels=10, seed=None):
    """Codes from a flower of two-dimensional Gaussians, one petal a label.

    `z = (2 + 0.4 e_1) (cos a, sin a) + 0.15 e_2 (-sin a, cos a)` with `e ~ N(0, I)` and the angle
    `a = 2 pi label / num_labels`: each petal is centred at distance 2 from the origin and points away from it.

    Args:
        n: Number of codes.
        latent_dim: Width of a code, which must be 2.
        labels: Optional petal of each code, whole numbers from 0 to `num_labels - 1`, shape `(n,)`; drawn with equal
            probabilities unless given.
        num_labels: Number of petals.
        seed: A whole number gives the same codes at every call, a `keras.random.SeedGenerator` new ones; `None` draws
            from Keras's global generator.

    Returns:
        A float tensor of shape `(n, 2)`.

    Raises:
        ValueError: If `latent_dim` is not 2, a number is not a positive whole number, or there is not a label for each
            code, or one is out of range.

    Example:

    >>> z = gaussian_mixture_prior(1000, labels=np.zeros(1000, int), seed=0)
    >>> [round(float(value)) for value in ops.mean(z, axis=0)]
    [2, 0]

    Reference:
        A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow and B. Frey, "Adversarial autoencoders", arXiv:1511.05644,
        2015, figure 2: a mixture of ten two-dimensional Gaussians. The petals' sizes are aelib's.
    """
    labels, uniform, noise = _draw(n, latent_dim, labels, num_labels, seed)
    if labels is None:
        labels = ops.minimum(ops.floor(num_labels * uniform), num_labels - 1)
    angle = 2 * math.pi * labels / num_labels
    along, across = 2 + 0.4 * noise[:, 0], 0.15 * noise[:, 1]
    return ops.stack(
        [along * ops.cos(angle) - across * ops.sin(angle), along * ops.sin(angle) + across * ops.cos(angle)], axis=1
    )


@keras.saving.register_keras_serializable(package=PACKAGE)
def swiss_roll_prior(n, latent_dim=2, labels=None, num_labels=10, seed=None):
    """Codes along a spiral of two turns, one piece of it a label.

    `z = r (cos a, sin a) + 0.1 e` with `r = 3 sqrt(t)`, `a = 4 pi sqrt(t)`, `t` uniform on [0, 1) and `e ~ N(0, I)`.
    The square root spreads the codes nearly evenly along the spiral; label `k` has `t` from `k / num_labels` to
    `(k + 1) / num_labels`.

    Args:
        n: Number of codes.
        latent_dim: Width of a code, which must be 2.
        labels: Optional piece of each code, whole numbers from 0 at the centre to `num_labels - 1`, shape `(n,)`.
        num_labels: Number of pieces.
        seed: A whole number gives the same codes at every call, a `keras.random.SeedGenerator` new ones; `None` draws
            from Keras's global generator.

    Returns:
        A float tensor of shape `(n, 2)`.

    Raises:
        ValueError: If `latent_dim` is not 2, a number is not a positive whole number, or there is not a label for each
            code, or one is out of range.

    Example:

    >>> z = swiss_roll_prior(1000, labels=np.full(1000, 9), seed=0)
    >>> bool(ops.all(ops.norm(z, axis=1) > 2.5))
    True

    Reference:
        A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow and B. Frey, "Adversarial autoencoders", arXiv:1511.05644,
        2015, figure 4: a swiss roll as the prior. The numbers of this one are aelib's.
    """
    labels, uniform, noise = _draw(n, latent_dim, labels, num_labels, seed)
    root = ops.sqrt(uniform if labels is None else (labels + uniform) / num_labels)
    radius, angle = 3 * root, 4 * math.pi * root
    return ops.stack([radius * ops.cos(angle), radius * ops.sin(angle)], axis=1) + 0.1 * noise


def _draw(n, latent_dim, labels, num_labels, seed):
    """Checks the arguments; returns the labels as floats or None, a uniform number a code, and two normal ones."""
    _check_size(n, latent_dim, num_labels)
    if latent_dim != 2:
        raise ValueError(f"This prior lies in the plane: latent_dim must be 2, but it is {latent_dim}.")
    if labels is not None:
        labels = _check_labels(n, labels, num_labels)
    # In one draw: with a whole number as the seed, a second one would begin with the same random bits.
    normal = keras.random.normal((n, 3), seed=seed)
    return labels, (1 + ops.erf(normal[:, 2] / math.sqrt(2))) / 2, normal[:, :2]


def _check_size(n, *widths):
    # Inside a compiled step, n is a tensor.
    for size in (*widths, *([] if ops.is_tensor(n) else [n])):
        if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
            raise ValueError(
                f"The number of codes, their width and num_labels are whole numbers above 0, not {size!r}."
            )


def _check_labels(n, labels, num_labels):
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) != 1 or (not ops.is_tensor(n) and labels.shape[0] != n):
        raise ValueError(f"The labels have shape {tuple(labels.shape)}; one for each of the {n} codes is needed: (n,).")
    # Inside a compiled step their values are not known yet.
    outside = tf.executing_eagerly() and bool(ops.any((labels < 0) | (labels >= num_labels)))
    if outside or not labels.dtype.is_integer:
        raise ValueError(f"The labels must be whole numbers from 0 to {num_labels - 1}, but they are {labels}.")
    return ops.cast(labels, "float32")
