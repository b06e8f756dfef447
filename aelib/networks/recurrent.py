"""Recurrent encoders and decoders, for sequences of any length."""

import keras

from aelib.networks import parts


def recurrent_encoder(
    input_dim,
    units,
    latent_dim,
    cell="gru",
    latent_activation=None,
    kernel_initializer="glorot_uniform",
    name="encoder",
):
    """A recurrent encoder: reads a sequence of any length step by step, and makes the code of its last state.

    `h_t = cell(x_t, h_(t-1))` with `h_0 = 0`, and `z = a_z(W h_L + b)` of the state after the last of `L` steps. A step
    whose values are all zero is padding: it is skipped and the state stays as it is, so the code of a sequence does not
    depend on the zeros after its end.

    Args:
        input_dim: Number of features of a step.
        units: Widths of the recurrent layers, from the input on; each but the last hands on its state at every step.
        latent_dim: Width of the code.
        cell: `"gru"` or `"lstm"`.
        latent_activation: Activation of the code; linear unless told.
        kernel_initializer: Initializer of every kernel, a name or a `keras.initializers.Initializer`; the kernels from
            state to state start orthogonal.
        name: The model's name.

    Input shape:
        `(batch, steps, input_dim)` with any number of steps.

    Output shape:
        `(batch, latent_dim)`.

    Returns:
        A built `keras.Sequential`: `mask`, `recurrent_1`, `recurrent_2`, ..., then the dense layer `code`.

    Raises:
        ValueError: If a number is not a positive whole number, there is no recurrent layer, or the cell is another.

    Example:

    >>> encoder = recurrent_encoder(12, [32], latent_dim=8)
    >>> x = np.ones((1, 5, 12), "float32")
    >>> padded = np.pad(x, ((0, 0), (0, 4), (0, 0)))
    >>> encoder.output_shape, np.allclose(encoder(x), encoder(padded), atol=1e-6)
    ((None, 8), True)

    Reference:
        K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
        EMNLP 2014, arXiv:1406.1078, section 2.2 (the GRU); N. Srivastava, E. Mansimov and R. Salakhutdinov,
        "Unsupervised learning of video representations using LSTMs", ICML 2015, arXiv:1502.04681, section 2.2.
    """
    parts.check_positive(name, "every width", [input_dim, latent_dim])
    layers = [
        keras.Input((None, input_dim)),
        keras.layers.Masking(name="mask"),
        *_recurrent(name, cell, units, kernel_initializer, last_state_only=True),
        parts.dense(latent_dim, latent_activation, kernel_initializer, name="code"),
    ]
    return keras.Sequential(layers, name=name)


def recurrent_decoder(
    latent_dim,
    units,
    output_dim,
    steps,
    cell="gru",
    output_activation=None,
    kernel_initializer="glorot_uniform",
    name="decoder",
):
    """A recurrent decoder: it reads the code again at every step, and makes a step of the reconstruction of each state.

    `h_t = cell(z, h_(t-1))` with `h_0 = 0`, and `x_t = a(W h_t + b)` for `t = 1, ..., steps`. It never sees what it
    made before. No weight belongs to a step: with the weights of another decoder it goes on for as many steps as it is
    built with, and its first steps are the other's.

    Args:
        latent_dim: Width of the code.
        units: Widths of the recurrent layers, from the code on.
        output_dim: Number of features of a step.
        steps: Number of steps to make, for training that of the padded sequences. Those after a sequence's end are to
            be left out of the loss, by weights of the steps.
        cell: `"gru"` or `"lstm"`.
        output_activation: Activation of the reconstruction; linear unless told, since sequences are seldom bounded.
        kernel_initializer: Initializer of every kernel, a name or a `keras.initializers.Initializer`; the kernels from
            state to state start orthogonal.
        name: The model's name.

    Input shape:
        `(batch, latent_dim)`.

    Output shape:
        `(batch, steps, output_dim)`.

    Returns:
        A built `keras.Sequential`: `repeat`, `recurrent_1`, `recurrent_2`, ..., then the dense layer `reconstruction`.

    Raises:
        ValueError: If a number is not a positive whole number, there is no recurrent layer, or the cell is another.

    Example:

    >>> decoder = recurrent_decoder(8, [32], 12, steps=29)
    >>> longer = recurrent_decoder(8, [32], 12, steps=60)
    >>> longer.set_weights(decoder.get_weights())
    >>> z = np.ones((1, 8), "float32")
    >>> longer.output_shape, np.allclose(longer(z)[:, :29], decoder(z), atol=1e-6)
    ((None, 60, 12), True)

    Reference:
        N. Srivastava, E. Mansimov and R. Salakhutdinov, "Unsupervised learning of video representations using LSTMs",
        ICML 2015, arXiv:1502.04681, section 2.2 (unconditioned decoder, with the code as the first state).
    """
    parts.check_positive(name, "every width and steps", [latent_dim, output_dim, steps])
    layers = [
        keras.Input((latent_dim,)),
        keras.layers.RepeatVector(steps, name="repeat"),
        *_recurrent(name, cell, units, kernel_initializer, last_state_only=False),
        parts.dense(output_dim, output_activation, kernel_initializer, name="reconstruction"),
    ]
    return keras.Sequential(layers, name=name)


def _recurrent(name, cell, units, kernel_initializer, last_state_only):
    kinds = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
    if cell not in kinds:
        raise ValueError(f'{name}: the cell is {cell!r}; give "gru" or "lstm".')
    parts.check_positive(name, "every number of units", units)
    if not units:
        raise ValueError(f"{name}: units is empty; give at least one recurrent layer.")
    for layer, width in enumerate(units, 1):
        yield kinds[cell](
            width,
            kernel_initializer=parts.own(kernel_initializer),
            return_sequences=layer < len(units) or not last_state_only,
            name=f"recurrent_{layer}",
        )
