"""Convolutional encoders and decoders."""

import math

import keras

from aelib.networks import parts


def conv_encoder(
    input_shape,
    filters,
    latent_dim,
    activation="elu",
    latent_activation=None,
    kernel_size=3,
    kernel_initializer="glorot_uniform",
    name="encoder",
):
    """A convolutional encoder: each convolution halves the image, then a dense layer makes the code.

    `h_l = a(conv_l(h_(l-1)))` with stride 2 and zero padding, so that a side of `n` pixels becomes `ceil(n / 2)`, and
    `z = a_z(W h_L + b)` of the last feature maps, flattened. Every size comes back through a `conv_decoder` with the
    same number of stages.

    Args:
        input_shape: Shape of an image, `(height, width, channels)`: `(28, 28, 1)` for MNIST.
        filters: Numbers of feature maps, from the input on, one entry a stage.
        latent_dim: Width of the code.
        activation: Activation of the convolutions.
        latent_activation: Activation of the code; linear unless told.
        kernel_size: Height and width of every kernel.
        kernel_initializer: Initializer of every kernel: a name, or a `keras.initializers.Initializer`.
        name: The model's name.

    Input shape:
        `(batch, height, width, channels)`, whatever Keras's `image_data_format`.

    Output shape:
        `(batch, latent_dim)`.

    Returns:
        A built `keras.Sequential`: convolutions `conv_1`, `conv_2`, ..., then the dense layer `code`.

    Raises:
        ValueError: If the shape does not have three sizes, a number is not a positive whole number, there is no stage,
            or a stage would have a single pixel to halve.

    Example:

    >>> encoder = conv_encoder((28, 28, 1), [16, 32], latent_dim=32)
    >>> [encoder.get_layer(name).output.shape[1:] for name in ("conv_1", "conv_2", "code")]
    [(14, 14, 16), (7, 7, 32), (32,)]

    Reference:
        J. Masci, U. Meier, D. Ciresan and J. Schmidhuber, "Stacked convolutional auto-encoders for hierarchical feature
        extraction", ICANN 2011 (with max-pooling in place of strides).
    """
    _stage_sizes(name, "input_shape", input_shape, filters)
    parts.check_positive(name, "latent_dim", [latent_dim])
    parts.check_positive(name, "kernel_size", [kernel_size])
    layers = [keras.Input(tuple(input_shape))]
    for stage, count in enumerate(filters, 1):
        layers.append(parts.conv(count, kernel_size, activation, kernel_initializer, strides=2, name=f"conv_{stage}"))
    layers.append(keras.layers.Flatten(data_format="channels_last", name="flatten"))
    layers.append(parts.dense(latent_dim, latent_activation, kernel_initializer, name="code"))
    return keras.Sequential(layers, name=name)


def conv_decoder(
    latent_dim,
    filters,
    output_shape,
    activation="elu",
    output_activation="sigmoid",
    kernel_size=3,
    kernel_initializer="glorot_uniform",
    name="decoder",
):
    """A convolutional decoder: a dense layer makes small feature maps, each stage doubles and convolves them.

    The mirror of a `conv_encoder` with the reversed `filters`. A stage repeats every pixel 2 by 2, cuts off the last
    row or column where the encoder's map had an odd size, and convolves. Unlike a transposed convolution with stride 2,
    where some pixels get more terms than their neighbours, it draws no checkerboard on a constant map.

    Args:
        latent_dim: Width of the code.
        filters: Numbers of feature maps, from the code on, one entry a stage.
        output_shape: Shape of an image, `(height, width, channels)`: `(28, 28, 1)` for MNIST.
        activation: Activation of the feature maps. With ReLU and a large learning rate a decoder of three stages often
            turns black in its first steps and stays so; ELU keeps a gradient.
        output_activation: Activation of the reconstruction. The sigmoid keeps pixels in [0, 1]; use `None` for logits
            or for data that is not bounded.
        kernel_size: Height and width of every kernel.
        kernel_initializer: Initializer of every kernel: a name, or a `keras.initializers.Initializer`.
        name: The model's name.

    Input shape:
        `(batch, latent_dim)`.

    Output shape:
        `(batch, height, width, channels)`, whatever Keras's `image_data_format`.

    Returns:
        A built `keras.Sequential`: the dense layer `maps`, then convolutions `conv_1`, ..., the last `reconstruction`.

    Raises:
        ValueError: If the shape does not have three sizes, a number is not a positive whole number, there is no stage,
            or the shape is too small for that many stages.

    Example:

    >>> decoder = conv_decoder(32, [32, 16], output_shape=(28, 27, 3))
    >>> decoder.output_shape
    (None, 28, 27, 3)

    Reference:
        A. Odena, V. Dumoulin and C. Olah, "Deconvolution and checkerboard artifacts", Distill, 2016.
    """
    *sizes, smallest = _stage_sizes(name, "output_shape", output_shape, filters)
    parts.check_positive(name, "latent_dim", [latent_dim])
    parts.check_positive(name, "kernel_size", [kernel_size])
    layers = [
        keras.Input((latent_dim,)),
        parts.dense(math.prod(smallest) * filters[0], activation, kernel_initializer, name="maps"),
        keras.layers.Reshape((*smallest, filters[0]), name="reshape"),
    ]
    for stage, (size, count) in enumerate(zip(reversed(sizes), [*filters[1:], output_shape[2]], strict=True), 1):
        last = stage == len(filters)
        layers.append(keras.layers.UpSampling2D(2, data_format="channels_last", name=f"upsampling_{stage}"))
        if any(side % 2 for side in size):
            odd = tuple((0, side % 2) for side in size)
            layers.append(keras.layers.Cropping2D(odd, data_format="channels_last", name=f"cropping_{stage}"))
        layers.append(
            parts.conv(
                count,
                kernel_size,
                output_activation if last else activation,
                kernel_initializer,
                name="reconstruction" if last else f"conv_{stage}",
            )
        )
    return keras.Sequential(layers, name=name)


def _stage_sizes(name, argument, shape, filters):
    """Returns height and width before the first stage and after each."""
    if not isinstance(shape, list | tuple) or len(shape) != 3:
        raise ValueError(
            f"{name}: {argument} must be (height, width, channels), not {shape!r}. Grey images have one channel, "
            "(28, 28, 1) for MNIST: load_mnist(flatten=False)."
        )
    parts.check_positive(name, f"every size in {argument}", shape)
    parts.check_positive(name, "every number of filters", filters)
    if not filters:
        raise ValueError(f"{name}: filters is empty; give at least one stage, or use mlp_encoder and mlp_decoder.")
    sizes = [tuple(shape[:2])]
    for _ in filters:
        height, width = sizes[-1]
        if height == width == 1:
            raise ValueError(
                f"{name}: {argument} {tuple(shape)} is a single pixel after {len(sizes) - 1} stages, but filters has "
                f"{len(filters)}. Give fewer, or larger images."
            )
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes
