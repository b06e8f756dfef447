"""Greedy layer-wise pretraining of deep autoencoders."""

import numbers

import keras
import numpy as np

from aelib import callbacks, losses, models, networks


def pretrain_layerwise(
    x,
    widths,
    activation="sigmoid",
    latent_activation=None,
    output_activation="sigmoid",
    kernel_initializer="glorot_uniform",
    corruption=None,
    optimizer="adam",
    loss=None,
    epochs=10,
    batch_size=128,
    verbose=1,
):
    """Trains a deep autoencoder one layer at a time, from the outside in.

    Stage `k` is an autoencoder with a single hidden layer, `h_k = f_k(h_(k-1))` and back, where `h_0 = x`; the layers
    before it stay as they are. Its encoder becomes layer `k` of the deep encoder, its decoder the mirrored layer of the
    deep decoder: `r = g_1(g_2(... g_K(h_K)))`. Each stage has an optimizer of its own.

    Args:
        x: Training inputs, shape `(n, features)`.
        widths: Widths of the encoder's layers, from the input on; the last is the code's.
        activation: Activation of the hidden layers. A stage's decoder has it too, because it rebuilds what such a layer
            gave.
        latent_activation: Activation of the code; linear unless told.
        output_activation: Activation of the reconstruction of `x`.
        kernel_initializer: Initializer of every kernel: a name, or a `keras.initializers.Initializer`.
        corruption: Optional list with one entry a stage, a layer that damages this stage's input in training, such as
            `layers.MaskingNoise(0.25)`, or `None`. The result is a stacked denoising autoencoder.
        optimizer: A name, or a function without arguments that returns a new optimizer, called once a stage.
        loss: The loss of every stage: a name, or a `keras.losses.Loss`. Unless told, the first stage's pixels and the
            other stages' codes are both compared by `losses.SumSquaredError`.
        epochs: Number of epochs of each stage.
        batch_size: Number of examples in a gradient step.
        verbose: 1 prints a line a stage and shows a progress bar in a notebook, 0 nothing.

    Returns:
        The unrolled `models.Autoencoder`, without corruption and not compiled, ready to `compile` and `fit` as a whole.
        Its layers are the stages' own.

    Raises:
        ValueError: If `x` is not a matrix of finite numbers, a width or a number of epochs is not a positive whole
            number, `corruption` does not have one entry a stage, or stages would share an optimizer.

    Example:

    >>> x = np.random.default_rng(0).uniform(size=(256, 20)).astype("float32")
    >>> autoencoder = pretrain_layerwise(x, [12, 6, 3], epochs=2, verbose=0)
    >>> [layer.units for layer in autoencoder.encoder.layers], [layer.units for layer in autoencoder.decoder.layers]
    ([12, 6, 3], [6, 12, 20])

    Reference:
        Y. Bengio, P. Lamblin, D. Popovici and H. Larochelle, "Greedy layer-wise training of deep networks", NIPS 2006
        (autoencoders in place of restricted Boltzmann machines); P. Vincent and others, "Stacked denoising
        autoencoders", JMLR 11, 2010 (with corruption).
    """
    x, widths, corruption = _checked(x, widths, corruption, epochs)
    optimizers = _new_optimizers(optimizer, len(widths))
    features = x.shape[1]
    encoder = networks.mlp_encoder(features, widths[:-1], widths[-1], activation, latent_activation, kernel_initializer)
    decoder = networks.mlp_decoder(
        widths[-1], widths[-2::-1], features, activation, output_activation, kernel_initializer
    )
    inputs = x
    shown = "auto" if verbose and callbacks.in_notebook() else 0
    for stage, (inner, outer) in enumerate(zip(encoder.layers, reversed(decoder.layers), strict=True)):
        autoencoder = models.Autoencoder(_alone(inner), _alone(outer), corruption[stage])
        autoencoder.compile(optimizer=optimizers[stage], loss=losses.SumSquaredError() if loss is None else loss)
        history = autoencoder.fit(inputs, batch_size=batch_size, epochs=epochs, verbose=shown).history["loss"]
        if verbose:
            print(
                f"stage {stage + 1} of {len(widths)}: {inputs.shape[1]} to {widths[stage]} and back, "
                f"mean loss {history[0]:.4g} in the first epoch, {history[-1]:.4g} in the last"
            )
        inputs = autoencoder.encode(inputs)
    return models.Autoencoder(encoder, decoder)


def _alone(layer):
    return keras.Sequential([keras.Input((layer.kernel.shape[0],)), layer])


def _checked(x, widths, corruption, epochs):
    x = np.asarray(x)
    if x.ndim != 2 or len(x) == 0 or not np.issubdtype(x.dtype, np.number) or not np.isfinite(x).all():
        raise ValueError(
            f"x has shape {x.shape} and type {x.dtype}; a matrix (n, features) of finite numbers is needed. Flatten "
            "images, and remove or fill in missing values."
        )
    widths = list(widths)
    for name, number in [("epochs", epochs), *(("a width", width) for width in widths)]:
        if isinstance(number, bool) or not isinstance(number, numbers.Integral) or number < 1:
            raise ValueError(f"{name} is {number!r}; give a positive whole number.")
    if not widths:
        raise ValueError("widths is empty; give at least one, the code's.")
    corruption = [None] * len(widths) if corruption is None else corruption
    if not isinstance(corruption, list | tuple) or len(corruption) != len(widths):
        raise ValueError(
            f"corruption is {corruption!r}; give a list of {len(widths)} entries, one a stage, each a layer or None."
        )
    return x, [int(width) for width in widths], corruption


def _new_optimizers(optimizer, count):
    if isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"optimizer is one {type(optimizer).__name__} for all stages, but it belongs to the weights it was first "
            "used on. Give its name, or a function that makes a new one: lambda: keras.optimizers.SGD(0.1)."
        )
    optimizers = [optimizer() if callable(optimizer) else keras.optimizers.get(optimizer) for _ in range(count)]
    if len({id(one) for one in optimizers}) < count:
        raise ValueError("optimizer returned the same object twice; each stage needs a new one. Make it inside.")
    return optimizers
