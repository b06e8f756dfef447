"""The Jacobian of an encoder, the contractive penalties that are built on it, and its spectrum.

`J(x) = dz/dx` has a row a code unit and a column an input feature; the contractive penalty is its squared Frobenius
norm `||J(x)||^2 = sum_ij (dz_i / dx_j)^2`. Every function takes a built encoder, a Keras model or layer, and
differentiates it as it encodes, with `training=False`: noise and dropout are off, and the examples of a batch do not
depend on each other. The results can be differentiated again with respect to the encoder's weights, so that each can
stand in a loss.
"""

import math
import numbers

import keras
import tensorflow as tf


def encoder_jacobian(encoder, x):
    """The Jacobian of an encoder at each example.

    `J_nij = dz_ni / dx_nj`, with code and input flattened, so that an encoder of images has one matrix an example too.
    It costs one backward pass a code unit: 784 inputs, 1000 units and 128 examples take seconds and a gigabyte.

    Args:
        encoder: A built Keras model or layer from `x` to the code.
        x: Inputs, shape `(batch, ...)`.

    Returns:
        A tensor of shape `(batch, latent, features)`.

    Raises:
        ValueError: If the encoder is not built, does not give one tensor, or gives integers, which have no derivative,
            or if `x` has no batch axis.

    Example:

    >>> import keras
    >>> double = keras.layers.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Identity(gain=2.0))
    >>> double.build((None, 2))
    >>> encoder_jacobian(double, [[5.0, 7.0]]).numpy().tolist()
    [[[2.0, 0.0], [0.0, 2.0]]]

    Reference:
        S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio, "Contractive auto-encoders: explicit invariance during
        feature extraction", ICML 2011, equation 1.
    """
    x = _as_input(encoder, x)

    def matrices(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            z = _encode(encoder, x)
        return tf.reshape(tape.batch_jacobian(z, x), (tf.shape(x)[0], z.shape[1], math.prod(x.shape[1:])))

    # Outside a graph batch_jacobian traces one at every call, and TensorFlow warns of it after the fifth.
    return tf.function(matrices).get_concrete_function(x)(x) if tf.executing_eagerly() else matrices(x)


def jacobian_penalty(encoder, x):
    """The contractive penalty, exactly, for any encoder.

    `penalty_n = sum_ij (dz_ni / dx_nj)^2`. It costs what `encoder_jacobian` costs; `dense_jacobian_penalty` gives the
    same number at the price of a forward pass for one dense layer, `projected_jacobian_penalty` an estimate of it for
    any encoder.

    Args:
        encoder: A built Keras model or layer from `x` to the code.
        x: Inputs, shape `(batch, ...)`.

    Returns:
        A tensor of shape `(batch,)`.

    Raises:
        ValueError: As `encoder_jacobian`.

    Example:

    >>> import keras
    >>> double = keras.layers.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Identity(gain=2.0))
    >>> double.build((None, 2))
    >>> jacobian_penalty(double, [[5.0, 7.0]]).numpy().tolist()
    [8.0]

    Reference:
        S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio, "Contractive auto-encoders: explicit invariance during
        feature extraction", ICML 2011, equation 1.
    """
    return tf.reduce_sum(tf.square(encoder_jacobian(encoder, x)), axis=(1, 2))


def dense_jacobian_penalty(dense, x, z=None):
    """The contractive penalty of one dense layer in closed form.

    `penalty_n = sum_i phi'(a_ni)^2 sum_j W_ji^2` with `z = phi(a)`, `a = x W + b`. The derivative comes from the code
    itself: `z (1 - z)` for the sigmoid, `1 - z^2` for tanh, 1 where `z > 0` for the ReLU, 1 for a linear layer (whose
    penalty is thus weight decay).

    Args:
        dense: A built `keras.layers.Dense` with the activation linear, sigmoid, tanh or relu, or a model that has this
            one layer only.
        x: Inputs, shape `(batch, features)`.
        z: The code of `x`, shape `(batch, units)`, where it is at hand; unless given, `x` is encoded.

    Returns:
        A tensor of shape `(batch,)`.

    Raises:
        ValueError: If `dense` is not such a layer, `x` is not a matrix, or `z` is not its code.

    Example:

    >>> import keras
    >>> layer = keras.layers.Dense(2, "sigmoid", kernel_initializer=keras.initializers.Identity(gain=4.0))
    >>> layer.build((None, 2))
    >>> dense_jacobian_penalty(layer, [[0.0, 0.0]]).numpy().tolist()
    [2.0]

    Reference:
        S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio, "Contractive auto-encoders: explicit invariance during
        feature extraction", ICML 2011, the closed form for the sigmoid.
    """
    dense = _only_layer(dense)
    slope = _slope_of(dense)
    x = _as_input(dense, x)
    if x.shape.rank != 2:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; the closed form needs (batch, features). Flatten each example."
        )
    z = tf.cast(dense(x) if z is None else z, x.dtype)
    if z.shape.rank != 2 or z.shape[1] != dense.units:
        raise ValueError(f"z has shape {tuple(z.shape)}; the code of x has shape (batch, {dense.units}).")
    return tf.linalg.matvec(tf.square(slope(z)), tf.reduce_sum(tf.square(dense.kernel), axis=0))


def projected_jacobian_penalty(encoder, x, num_probes=1, seed=None):
    """An unbiased estimate of the contractive penalty from random projections, for any encoder.

    `penalty_n = mean_k ||J_n^T v_nk||^2` with signs `v_nki = +1 or -1` at random, drawn anew for every example and
    probe. As `E[v v^T] = I`, its mean is `||J_n||^2`; its variance falls as one over `num_probes`. Each probe costs one
    backward pass, whatever the width of the code.

    Args:
        encoder: A built Keras model or layer from `x` to the code.
        x: Inputs, shape `(batch, ...)`.
        num_probes: Number of random directions an example.
        seed: A `keras.random.SeedGenerator` for new directions on every call, an integer for the same ones on every
            call, or `None` for Keras's global generator.

    Returns:
        A tensor of shape `(batch,)`.

    Raises:
        ValueError: As `encoder_jacobian`, and if `num_probes` is not a positive whole number.

    Example:

    >>> import keras
    >>> double = keras.layers.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Identity(gain=2.0))
    >>> double.build((None, 2))
    >>> projected_jacobian_penalty(double, [[5.0, 7.0]], seed=0).numpy().tolist()
    [8.0]

    Reference:
        M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines",
        Communications in Statistics 19, 1990, applied to the trace of `J J^T`.
    """
    _check_num_probes(num_probes)
    x = tf.repeat(_as_input(encoder, x), num_probes, axis=0)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        z = _encode(encoder, x)
        signs = tf.where(keras.random.uniform(tf.shape(z), seed=seed) < 0.5, -1.0, 1.0)
        projection = tf.reduce_sum(z * tf.cast(signs, z.dtype))
    gradient = tape.gradient(projection, x, unconnected_gradients="zero")
    squared_norm = tf.reduce_sum(tf.square(gradient), axis=tuple(range(1, x.shape.rank)))
    return tf.reduce_mean(tf.reshape(squared_norm, (-1, num_probes)), axis=1)


def stochastic_contraction_penalty(encoder, x, stddev, seed=None):
    """How far noise on the input moves the code: the term of the stochastic contractive autoencoder.

    `penalty_n = ||f(x_n + e_n) - f(x_n)||^2` with `e_n ~ N(0, stddev^2 I)`, one draw an example. Its mean is
    `stddev^2 ||J_n||^2` to leading order: divide by `stddev^2` to compare it with the other penalties.

    Args:
        encoder: A built Keras model or layer from `x` to the code, `f`.
        x: Inputs, shape `(batch, ...)`.
        stddev: Standard deviation of the noise, in units of `x`.
        seed: A `keras.random.SeedGenerator` for new noise on every call, an integer for the same noise on every call,
            or `None` for Keras's global generator.

    Returns:
        A tensor of shape `(batch,)`.

    Raises:
        ValueError: If `stddev` is not a positive number; as `encoder_jacobian`.

    Example:

    >>> import keras
    >>> double = keras.layers.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Identity(gain=2.0))
    >>> double.build((None, 2))
    >>> many = stochastic_contraction_penalty(double, np.zeros((10000, 2)), stddev=0.1, seed=0) / 0.1**2
    >>> round(float(many.numpy().mean()))
    8

    Reference:
        The name was spread by H. Lee's lecture "All about autoencoders" (NAVER D2). Its analytic counterpart is
        S. Rifai et al., "Contractive auto-encoders: explicit invariance during feature extraction", ICML 2011.
    """
    _check_stddev(stddev)
    x = _as_input(encoder, x)
    noise = keras.random.normal(tf.shape(x), stddev=stddev, dtype=x.dtype, seed=seed)
    return tf.reduce_sum(tf.square(_encode(encoder, x + noise) - _encode(encoder, x)), axis=1)


def jacobian_spectrum(encoder, x):
    """The singular values of the encoder's Jacobian at each example, largest first.

    Singular value `s_k` is how far the code moves for a unit step along the k-th input direction. Their squares sum to
    the contractive penalty.

    Args:
        encoder: A built Keras model or layer from `x` to the code.
        x: Inputs, shape `(batch, ...)`.

    Returns:
        A tensor of shape `(batch, min(latent, features))`.

    Raises:
        ValueError: As `encoder_jacobian`.

    Example:

    >>> import keras
    >>> double = keras.layers.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Identity(gain=2.0))
    >>> double.build((None, 2))
    >>> jacobian_spectrum(double, [[5.0, 7.0]]).numpy().tolist()
    [[2.0, 2.0]]

    Reference:
        S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio, "Contractive auto-encoders: explicit invariance during
        feature extraction", ICML 2011, the average spectrum of the Jacobian.
    """
    return tf.linalg.svd(encoder_jacobian(encoder, x), compute_uv=False)


def _as_input(encoder, x):
    if not (isinstance(encoder, keras.Layer) and encoder.built):
        raise ValueError(
            f"Give a built Keras model or layer, not {encoder!r}. Start it with keras.Input, or call it once."
        )
    x = tf.cast(x, encoder.variable_dtype)
    if x.shape.rank < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; it needs a batch axis: (batch, ...).")
    return x


def _encode(encoder, x):
    z = encoder(x, training=False)
    if not tf.is_tensor(z):
        raise ValueError(f"{encoder.name} gives {type(z).__name__}, not one tensor. Take the output that is the code.")
    if not z.dtype.is_floating:
        raise ValueError(
            f"{encoder.name} gives {z.dtype.name}, which has no derivative. Give it a floating-point code."
        )
    # In the variables' type: in half precision a square overflows at 256.
    return tf.reshape(tf.cast(z, encoder.variable_dtype), (tf.shape(z)[0], math.prod(z.shape[1:])))


# The derivative of an activation, from its output. The ReLU's is a constant on either side of 0.
_SLOPES = {
    keras.activations.linear: tf.ones_like,
    keras.activations.sigmoid: lambda z: z * (1 - z),
    keras.activations.tanh: lambda z: 1 - tf.square(z),
    keras.activations.relu: lambda z: tf.cast(z > 0, z.dtype),
}


def _only_layer(encoder):
    layers = [layer for layer in getattr(encoder, "layers", ()) if not isinstance(layer, keras.layers.InputLayer)]
    return layers[0] if len(layers) == 1 else encoder


def _slope_of(dense):
    if not isinstance(dense, keras.layers.Dense) or dense.activation not in _SLOPES:
        what = type(dense).__name__
        if isinstance(dense, keras.layers.Dense):
            what += f" with the activation {getattr(dense.activation, '__name__', dense.activation)}"
        elif getattr(dense, "layers", ()):
            what += f" of {', '.join(type(layer).__name__ for layer in dense.layers)}"
        raise ValueError(
            "The closed form holds for one Dense layer with the activation linear, sigmoid, tanh or relu, not for "
            f"{what}. Use projected_jacobian_penalty (an unbiased estimate) or jacobian_penalty (exact, slow)."
        )
    return _SLOPES[dense.activation]


def _check_num_probes(num_probes):
    if not isinstance(num_probes, int) or isinstance(num_probes, bool) or num_probes < 1:
        raise ValueError(f"num_probes must be a positive whole number, but it is {num_probes!r}.")


def _check_stddev(stddev):
    if not (isinstance(stddev, numbers.Real) and 0 < stddev < math.inf):
        raise ValueError(f"stddev must be a positive number, in units of x, but it is {stddev!r}.")
