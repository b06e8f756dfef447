"""Convolutional networks from image to image, of any size."""

import keras

from aelib.networks import parts


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
        return parts.conv(count, kernel_size, function, kernel_initializer, strides=strides, name=layer_name)

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
    parts.check_positive(name, "stacks", [stacks])

    def conv(count, layer_name, function=activation, size=kernel_size, strides=1):
        return parts.conv(count, size, function, kernel_initializer, strides=strides, name=layer_name)

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


def _check_stages(name, channels, filters, kernel_size):
    parts.check_positive(name, "channels", [channels])
    parts.check_positive(name, "every number of filters", filters)
    parts.check_positive(name, "kernel_size", [kernel_size])
    if len(filters) < 2:
        raise ValueError(f"{name}: filters is {filters!r}; give at least two numbers, the second after a halving.")
