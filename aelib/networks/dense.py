"""Dense encoders and decoders."""

import keras

from aelib.networks import parts


def mlp_encoder(
    input_dim,
    hidden_units,
    latent_dim,
    activation="relu",
    latent_activation=None,
    kernel_initializer="glorot_uniform",
    name="encoder",
):
    """A dense encoder: hidden layers of the given widths, then the code.

    `z = a_L(W_L ... a_1(W_1 x + b_1) ... + b_L)`

    Args:
        input_dim: Number of features of an example, 784 for MNIST.
        hidden_units: Widths of the hidden layers, from the input on; empty for a single layer.
        latent_dim: Width of the code.
        activation: Activation of the hidden layers.
        latent_activation: Activation of the code; linear unless told.
        kernel_initializer: Initializer of every kernel: a name, or a `keras.initializers.Initializer`.
        name: The model's name.

    Returns:
        A built `keras.Sequential` from `(batch, input_dim)` to `(batch, latent_dim)`.

    Raises:
        ValueError: If a width is not a positive whole number.

    Example:

    >>> mlp_encoder(784, [256, 64], 32).output_shape
    (None, 32)
    """
    return _mlp(
        input_dim,
        [*hidden_units, latent_dim],
        activation,
        latent_activation,
        kernel_initializer,
        name,
        last_name="code",
    )


def mlp_decoder(
    latent_dim,
    hidden_units,
    output_dim,
    activation="relu",
    output_activation="sigmoid",
    kernel_initializer="glorot_uniform",
    name="decoder",
):
    """A dense decoder: hidden layers of the given widths, then the reconstruction.

    Args:
        latent_dim: Width of the code.
        hidden_units: Widths of the hidden layers, from the code on; empty for a single layer.
        output_dim: Number of features of an example, 784 for MNIST.
        activation: Activation of the hidden layers.
        output_activation: Activation of the reconstruction. The sigmoid keeps pixels in [0, 1]; use `None` for logits
            or for data that is not bounded.
        kernel_initializer: Initializer of every kernel: a name, or a `keras.initializers.Initializer`.
        name: The model's name.

    Returns:
        A built `keras.Sequential` from `(batch, latent_dim)` to `(batch, output_dim)`.

    Raises:
        ValueError: If a width is not a positive whole number.

    Example:

    >>> mlp_decoder(32, [64, 256], 784).output_shape
    (None, 784)
    """
    return _mlp(
        latent_dim,
        [*hidden_units, output_dim],
        activation,
        output_activation,
        kernel_initializer,
        name,
        last_name="reconstruction",
    )


def _mlp(input_dim, widths, activation, last_activation, kernel_initializer, name, last_name):
    parts.check_positive(name, "every width", [input_dim, *widths])
    layers = [keras.Input((input_dim,))]
    for index, width in enumerate(widths):
        last = index == len(widths) - 1
        layers.append(
            parts.dense(
                width,
                last_activation if last else activation,
                kernel_initializer,
                name=last_name if last else f"hidden_{index + 1}",
            )
        )
    return keras.Sequential(layers, name=name)
