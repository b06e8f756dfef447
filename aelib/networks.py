"""Encoders and decoders as plain `keras.Sequential` models, and networks from image to image."""

import math

import keras


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
    _check_positive(name, "latent_dim", [latent_dim])
    _check_positive(name, "kernel_size", [kernel_size])
    layers = [keras.Input(tuple(input_shape))]
    for stage, count in enumerate(filters, 1):
        layers.append(_conv(count, kernel_size, activation, kernel_initializer, strides=2, name=f"conv_{stage}"))
    layers.append(keras.layers.Flatten(data_format="channels_last", name="flatten"))
    layers.append(_dense(latent_dim, latent_activation, kernel_initializer, name="code"))
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
    _check_positive(name, "latent_dim", [latent_dim])
    _check_positive(name, "kernel_size", [kernel_size])
    layers = [
        keras.Input((latent_dim,)),
        _dense(math.prod(smallest) * filters[0], activation, kernel_initializer, name="maps"),
        keras.layers.Reshape((*smallest, filters[0]), name="reshape"),
    ]
    for stage, (size, count) in enumerate(zip(reversed(sizes), [*filters[1:], output_shape[2]], strict=True), 1):
        last = stage == len(filters)
        layers.append(keras.layers.UpSampling2D(2, data_format="channels_last", name=f"upsampling_{stage}"))
        if any(side % 2 for side in size):
            odd = tuple((0, side % 2) for side in size)
            layers.append(keras.layers.Cropping2D(odd, data_format="channels_last", name=f"cropping_{stage}"))
        layers.append(
            _conv(
                count,
                kernel_size,
                output_activation if last else activation,
                kernel_initializer,
                name="reconstruction" if last else f"conv_{stage}",
            )
        )
    return keras.Sequential(layers, name=name)


def unet(
    channels=1,
    filters=(16, 32, 64),
    skip=True,
    residual=False,
    activation="relu",
    output_activation=None,
    kernel_size=3,
    kernel_initializer="glorot_uniform",
    name="unet",
):
    """A convolutional network from image to image, of any size, whose decoder may also see the encoder's feature maps.

    With `down` a convolution of stride 2, `up` a repetition of every pixel 2 by 2 and `|` side by side,

    `e_0 = a(conv(x))`, `e_l = a(conv(a(down(e_(l-1)))))`, `d_L = e_L`,
    `d_l = a(conv(up(a(conv(d_(l+1)))) | e_l))`, `r(x) = conv(d_0)`.

    Without `skip`, `| e_l` is left out, and all that the output knows of the image has passed through `e_L`. With
    `residual` the network gives the change, `r(x) = x + conv(d_0)`, and begins close to a copy.

    Args:
        channels: Number of channels of an image, 1 for grey.
        filters: Numbers of feature maps of `e_0`, ..., `e_L`: one at full resolution, then one a halving.
        skip: Whether the decoder sees the encoder's maps.
        residual: Whether the network's output is added to its input.
        activation: Activation `a` of the feature maps.
        output_activation: Activation of the output, before a residual is added; linear unless told.
        kernel_size: Height and width of every kernel.
        kernel_initializer: Initializer of every kernel: a name, or a `keras.initializers.Initializer`.
        name: The model's name.

    Input shape:
        `(batch, height, width, channels)` of any height and width, whatever Keras's `image_data_format`.

    Output shape:
        That of the input.

    Returns:
        A built functional `keras.Model`. Its layer `code` gives `e_L`, its layers `skip_0`, ..., `e_l | d`.

    Raises:
        ValueError: If a number is not a positive whole number, or there is no halving.

    Example:

    >>> network = unet(channels=3, filters=[8, 16])
    >>> network(np.zeros((2, 33, 50, 3))).shape
    TensorShape([2, 33, 50, 3])

    Reference:
        O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image segmentation",
        MICCAI 2015, figure 1 (with strides in place of pooling, and zero padding); K. Zhang, W. Zuo, Y. Chen, D. Meng
        and L. Zhang, "Beyond a Gaussian denoiser", IEEE Transactions on Image Processing 26, 2017, for the residual.
    """
    _check_stages(name, channels, filters, kernel_size)

    def conv(count, layer_name, function=activation, strides=1):
        return _conv(count, kernel_size, function, kernel_initializer, strides=strides, name=layer_name)

    inputs = keras.Input((None, None, channels))
    maps = [conv(filters[0], "conv_0")(inputs)]
    for stage, count in enumerate(filters[1:], 1):
        halved = conv(count, f"down_{stage}", strides=2)(maps[-1])
        maps.append(conv(count, "code" if stage == len(filters) - 1 else f"conv_{stage}")(halved))
    hidden = maps.pop()
    for stage, count in reversed(list(enumerate(filters[:-1]))):
        hidden = _upsampled(conv(count, f"narrow_{stage}")(hidden), maps[stage], stage)
        if skip:
            hidden = keras.layers.Concatenate(name=f"skip_{stage}")([hidden, maps[stage]])
        hidden = conv(count, f"up_{stage}")(hidden)
    outputs = conv(channels, "reconstruction", output_activation)(hidden)
    if residual:
        outputs = keras.layers.Add(name="residual")([inputs, outputs])
    return keras.Model(inputs, outputs, name=name)


def stacked_hourglass(
    channels=1,
    filters=(16, 32, 64),
    stacks=2,
    activation="relu",
    output_activation=None,
    kernel_size=3,
    kernel_initializer="glorot_uniform",
    name="stacked_hourglass",
):
    """Networks from image to image in a row, each with an output of its own, for a loss at each.

    Every hourglass goes down and up, and adds what came in at a resolution to what comes back to it,

    `e_0 = h`, `e_l = a(conv(down(e_(l-1))))`, `d_L = a(conv(e_L))`, `d_l = a(conv(e_l)) + up(a(conv(d_(l+1))))`,

    then gives its image, `r_s = conv(d_0)`, and hands the next `h + conv(d_0) + conv(r_s)`, both of these with kernels
    of one pixel. The first gets `h = a(conv(x))`. So a later hourglass corrects an earlier one, which it has seen.

    Args:
        channels: Number of channels of an image, 1 for grey.
        filters: Numbers of feature maps at full resolution, then one a halving; the same in every hourglass.
        stacks: Number of hourglasses.
        activation: Activation `a` of the feature maps.
        output_activation: Activation of the outputs; linear unless told.
        kernel_size: Height and width of the other kernels.
        kernel_initializer: Initializer of every kernel: a name, or a `keras.initializers.Initializer`.
        name: The model's name.

    Input shape:
        `(batch, height, width, channels)` of any height and width, whatever Keras's `image_data_format`.

    Output shape:
        A list of `stacks` images of the input's shape. Train with a list of as many targets; the last is the result.

    Returns:
        A built functional `keras.Model`.

    Raises:
        ValueError: If a number is not a positive whole number, or there is no halving.

    Example:

    >>> network = stacked_hourglass(filters=[4, 8], stacks=2)
    >>> first, second = network(np.zeros((2, 33, 50, 1)))
    >>> second.shape
    TensorShape([2, 33, 50, 1])

    Reference:
        A. Newell, K. Yang and J. Deng, "Stacked hourglass networks for human pose estimation", ECCV 2016, sections 3.1
        and 3.3 (with single convolutions in place of residual modules, and strides in place of pooling).
    """
    _check_stages(name, channels, filters, kernel_size)
    _check_positive(name, "stacks", [stacks])

    def conv(count, layer_name, function=activation, size=kernel_size, strides=1):
        return _conv(count, size, function, kernel_initializer, strides=strides, name=layer_name)

    inputs = keras.Input((None, None, channels))
    hidden, outputs = conv(filters[0], "conv")(inputs), []
    for stack in range(1, stacks + 1):
        maps = [hidden]
        for stage, count in enumerate(filters[1:], 1):
            maps.append(conv(count, f"down_{stack}_{stage}", strides=2)(maps[-1]))
        back = conv(filters[-1], f"code_{stack}")(maps.pop())
        for stage, count in reversed(list(enumerate(filters[:-1]))):
            narrow = conv(count, f"narrow_{stack}_{stage}")(back)
            back = _upsampled(narrow, maps[stage], f"{stack}_{stage}")
            kept = conv(count, f"kept_{stack}_{stage}")(maps[stage])
            back = keras.layers.Add(name=f"skip_{stack}_{stage}")([kept, back])
        outputs.append(conv(channels, f"reconstruction_{stack}", output_activation)(back))
        if stack < stacks:
            corrected = conv(filters[0], f"from_maps_{stack}", None, size=1)(back)
            seen = conv(filters[0], f"from_image_{stack}", None, size=1)(outputs[-1])
            hidden = keras.layers.Add(name=f"next_{stack}")([hidden, corrected, seen])
    return keras.Model(inputs, outputs, name=name)


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
    _check_positive(name, "every width", [input_dim, latent_dim])
    layers = [
        keras.Input((None, input_dim)),
        keras.layers.Masking(name="mask"),
        *_recurrent(name, cell, units, kernel_initializer, last_state_only=True),
        _dense(latent_dim, latent_activation, kernel_initializer, name="code"),
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
    _check_positive(name, "every width and steps", [latent_dim, output_dim, steps])
    layers = [
        keras.Input((latent_dim,)),
        keras.layers.RepeatVector(steps, name="repeat"),
        *_recurrent(name, cell, units, kernel_initializer, last_state_only=False),
        _dense(output_dim, output_activation, kernel_initializer, name="reconstruction"),
    ]
    return keras.Sequential(layers, name=name)


def _mlp(input_dim, widths, activation, last_activation, kernel_initializer, name, last_name):
    _check_positive(name, "every width", [input_dim, *widths])
    layers = [keras.Input((input_dim,))]
    for index, width in enumerate(widths):
        last = index == len(widths) - 1
        layers.append(
            _dense(
                width,
                last_activation if last else activation,
                kernel_initializer,
                name=last_name if last else f"hidden_{index + 1}",
            )
        )
    return keras.Sequential(layers, name=name)


def _dense(units, activation, kernel_initializer, name):
    return keras.layers.Dense(units, activation, kernel_initializer=_own(kernel_initializer), name=name)


def _conv(filters, kernel_size, activation, kernel_initializer, name, strides=1):
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        data_format="channels_last",
        activation=activation,
        kernel_initializer=_own(kernel_initializer),
        name=name,
    )


@keras.saving.register_keras_serializable(package="aelib")
class _CropLike(keras.layers.Layer):
    """Cuts the first image to the height and width of the second, which are not known before there is one."""

    def call(self, inputs):
        image, like = inputs
        _, height, width, _ = keras.ops.shape(like)
        return image[:, :height, :width]

    def compute_output_shape(self, input_shape):
        image, like = input_shape
        return (*like[:3], image[3])


def _upsampled(maps, like, name):
    """Repeats every pixel 2 by 2 and cuts off the last row and column where the map that was halved was odd."""
    doubled = keras.layers.UpSampling2D(2, data_format="channels_last", name=f"upsampling_{name}")(maps)
    return _CropLike(name=f"cropping_{name}")([doubled, like])


def _recurrent(name, cell, units, kernel_initializer, last_state_only):
    kinds = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
    if cell not in kinds:
        raise ValueError(f'{name}: the cell is {cell!r}; give "gru" or "lstm".')
    _check_positive(name, "every number of units", units)
    if not units:
        raise ValueError(f"{name}: units is empty; give at least one recurrent layer.")
    for layer, width in enumerate(units, 1):
        yield kinds[cell](
            width,
            kernel_initializer=_own(kernel_initializer),
            return_sequences=layer < len(units) or not last_state_only,
            name=f"recurrent_{layer}",
        )


def _own(kernel_initializer):
    # An initializer object draws the same values every time it is called: each layer gets a clone with its own seed.
    initializer = keras.initializers.get(kernel_initializer)
    return initializer.clone() if hasattr(initializer, "clone") else initializer


def _stage_sizes(name, argument, shape, filters):
    """Returns height and width before the first stage and after each."""
    if not isinstance(shape, list | tuple) or len(shape) != 3:
        raise ValueError(
            f"{name}: {argument} must be (height, width, channels), not {shape!r}. Grey images have one channel, "
            "(28, 28, 1) for MNIST: load_mnist(flatten=False)."
        )
    _check_positive(name, f"every size in {argument}", shape)
    _check_positive(name, "every number of filters", filters)
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


def _check_stages(name, channels, filters, kernel_size):
    _check_positive(name, "channels", [channels])
    _check_positive(name, "every number of filters", filters)
    _check_positive(name, "kernel_size", [kernel_size])
    if len(filters) < 2:
        raise ValueError(f"{name}: filters is {filters!r}; give at least two numbers, the second after a halving.")


def _check_positive(name, what, values):
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: {what} must be a positive whole number, but one is {value!r}.")
