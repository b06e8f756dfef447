import keras
import numpy as np
import pytest
from scipy.signal import correlate2d

from aelib import losses, networks
from aelib.models import Autoencoder
from tests import fresh_process


def correlate(x, kernel, bias, stride=1):
    """A zero-padded convolution by SciPy: `x` is (height, width, channels), `kernel` (k, k, channels, filters)."""
    size = len(kernel)
    padding = []
    for side in x.shape[:2]:
        total = max((-(-side // stride) - 1) * stride + size - side, 0)  # as much as the last stride needs
        padding.append((total // 2, total - total // 2))
    padded = np.pad(x, (*padding, (0, 0)))
    maps = [
        sum(correlate2d(padded[..., c], kernel[..., c, f], mode="valid") for c in range(x.shape[2])) + bias[f]
        for f in range(kernel.shape[3])
    ]
    return np.stack(maps, axis=-1)[::stride, ::stride]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def with_random_biases(network):
    rng = np.random.default_rng(1)
    network.set_weights([w if w.ndim > 1 else rng.normal(scale=0.3, size=w.shape) for w in network.get_weights()])
    return network


@pytest.mark.parametrize(("shape", "kernel_size"), [((8, 8, 1), 3), ((7, 10, 3), 3), ((9, 5, 2), 2), ((6, 7, 1), 5)])
def test_encoder_is_its_formula(shape, kernel_size):
    encoder = networks.conv_encoder(shape, [4, 5], 3, "tanh", "sigmoid", kernel_size=kernel_size)
    k1, b1, k2, b2, w, b = with_random_biases(encoder).get_weights()
    assert k1.shape[:2] == k2.shape[:2] == (kernel_size, kernel_size)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    expected = []
    for image in x:
        hidden = np.tanh(correlate(image, k1, b1, stride=2))
        hidden = np.tanh(correlate(hidden, k2, b2, stride=2))
        expected.append(sigmoid(hidden.reshape(-1) @ w + b))
    np.testing.assert_allclose(encoder(x).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("shape", "kernel_size"), [((8, 8, 1), 3), ((7, 10, 3), 3), ((9, 5, 2), 2), ((6, 7, 1), 5)])
def test_decoder_is_its_formula(shape, kernel_size):
    decoder = networks.conv_decoder(3, [5, 4], shape, "tanh", kernel_size=kernel_size)
    w, b, k1, b1, k2, b2 = with_random_biases(decoder).get_weights()
    assert k1.shape[:2] == k2.shape[:2] == (kernel_size, kernel_size)
    z = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    height, width, _ = shape
    half = (height + 1) // 2, (width + 1) // 2
    quarter = (half[0] + 1) // 2, (half[1] + 1) // 2
    expected = []
    for code in z:
        hidden = np.tanh(code @ w + b).reshape(*quarter, 5)
        hidden = hidden.repeat(2, axis=0).repeat(2, axis=1)[: half[0], : half[1]]
        hidden = np.tanh(correlate(hidden, k1, b1))
        hidden = hidden.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        expected.append(sigmoid(correlate(hidden, k2, b2)))
    np.testing.assert_allclose(decoder(z).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (29, 27, 1), (1, 5, 2), (2, 2, 1), (17, 64, 4)], ids=str)
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_every_size_comes_back(shape, stages):
    filters = [3, 4, 5][:stages]
    sizes = [shape[:2]]
    while len(sizes) <= stages and sizes[-1] != (1, 1):
        sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
    if len(sizes) <= stages:
        with pytest.raises(ValueError, match=f"single pixel after {len(sizes) - 1} stages"):
            networks.conv_encoder(shape, filters, 2)
        with pytest.raises(ValueError, match=f"single pixel after {len(sizes) - 1} stages"):
            networks.conv_decoder(2, filters[::-1], shape)
        return
    encoder, decoder = networks.conv_encoder(shape, filters, 2), networks.conv_decoder(2, filters[::-1], shape)
    maps = [layer for layer in encoder.layers if layer.name.startswith("conv")]
    assert [tuple(layer.output.shape[1:3]) for layer in maps] == sizes[1:]
    assert [layer.output.shape[3] for layer in maps] == filters
    assert decoder.get_layer("reshape").output.shape[1:] == (*sizes[-1], filters[-1])
    maps_back = [layer for layer in decoder.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.output.shape[3] for layer in maps_back] == [*filters[-2::-1], shape[2]]
    assert Autoencoder(encoder, decoder)(np.zeros((2, *shape), "float32")).shape == (2, *shape)


def test_layers_are_called_by_their_place_and_only_odd_maps_are_cut():
    names = [layer.name for layer in networks.conv_decoder(2, [4, 3, 2], (28, 28, 1)).layers]
    stages = [
        ["upsampling_1", "cropping_1", "conv_1"],
        ["upsampling_2", "conv_2"],
        ["upsampling_3", "reconstruction"],
    ]
    assert names == ["maps", "reshape", *stages[0], *stages[1], *stages[2]]


def test_constant_maps_are_drawn_without_a_checkerboard():
    """Away from the borders a constant code gives a constant image: no pixel gets more terms than its neighbour."""
    decoder = networks.conv_decoder(1, [4, 3], (28, 28, 1), output_activation=None, kernel_initializer="ones")
    weights = decoder.get_weights()
    decoder.set_weights([np.full_like(weights[0], 0.1), *weights[1:]])
    inner = decoder(np.ones((1, 1))).numpy()[0, 4:-4, 4:-4]
    assert inner.min() > 0
    np.testing.assert_allclose(inner, inner[0, 0, 0], rtol=1e-6)


def test_channels_stay_last_whatever_keras_is_set_to():
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype("float32")
    encoders, decoders = [], []
    try:
        for data_format in ("channels_first", "channels_last"):
            keras.config.set_image_data_format(data_format)
            keras.utils.set_random_seed(0)
            encoders.append(networks.conv_encoder((9, 8, 2), [3, 4], 5))
            decoders.append(networks.conv_decoder(5, [4, 3], (9, 8, 2)))
    finally:
        keras.config.set_image_data_format("channels_last")
    codes = [encoder(x).numpy() for encoder in encoders]
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(decoders[0](codes[0]).numpy(), decoders[1](codes[0]).numpy())


def test_code_and_logits_are_linear_and_the_image_is_not():
    assert networks.conv_encoder((8, 8, 1), [2], 3).get_layer("code").activation.__name__ == "linear"
    decoder = networks.conv_decoder(3, [2], (8, 8, 1))
    assert decoder.get_layer("reconstruction").activation.__name__ == "sigmoid"
    logits = networks.conv_decoder(3, [2], (8, 8, 1), output_activation=None)
    assert logits.get_layer("reconstruction").activation.__name__ == "linear"


def test_layers_of_one_shape_start_from_different_weights():
    initializer = keras.initializers.RandomNormal(stddev=0.1)
    decoder = networks.conv_decoder(2, [3, 3, 3], (16, 16, 3), kernel_initializer=initializer)
    kernels = [layer.kernel.numpy() for layer in decoder.layers if isinstance(layer, keras.layers.Conv2D)]
    assert not np.allclose(kernels[0], kernels[1]) and not np.allclose(kernels[1], kernels[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((28, 28), [4], 3), "must be \\(height, width, channels\\)"),
        ((784, [4], 3), "must be \\(height, width, channels\\)"),
        (((28, 0, 1), [4], 3), "every size in input_shape"),
        (((28, None, 1), [4], 3), "every size in input_shape"),
        (((28, 28, 1), [4, 0], 3), "every number of filters"),
        (((28, 28, 1), [4.0], 3), "every number of filters"),
        (((28, 28, 1), [], 3), "filters is empty"),
        (((28, 28, 1), [4], 0), "latent_dim"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    shape, filters, latent_dim = arguments
    with pytest.raises(ValueError, match=message):
        networks.conv_encoder(shape, filters, latent_dim)
    with pytest.raises(ValueError, match=message.replace("input_shape", "output_shape")):
        networks.conv_decoder(latent_dim, filters, shape)


def test_bad_kernel_sizes_are_refused():
    with pytest.raises(ValueError, match="kernel_size must be a positive whole number"):
        networks.conv_encoder((8, 8, 1), [4], 3, kernel_size=0)
    with pytest.raises(ValueError, match="kernel_size must be a positive whole number"):
        networks.conv_decoder(3, [4], (8, 8, 1), kernel_size=0)


def conv_autoencoder(**compile_options):
    keras.utils.set_random_seed(0)
    encoder, decoder = networks.conv_encoder((9, 8, 2), [4, 6], 5), networks.conv_decoder(5, [6, 4], (9, 8, 2))
    model = Autoencoder(encoder, decoder)
    model.compile(optimizer=keras.optimizers.SGD(2e-2), loss=losses.SumSquaredError(), **compile_options)
    return model


def test_saved_and_trained_elsewhere(tmp_path):
    """In a fresh process: a loaded model gives the same numbers; two devices, and XLA, do as one device without."""
    x = np.random.default_rng(0).uniform(size=(48, 9, 8, 2)).astype("float32") ** 4
    np.save(tmp_path / "x.npy", x)
    model = conv_autoencoder(jit_compile=False)
    model.save(tmp_path / "start.keras")
    conv_autoencoder(jit_compile=True).save(tmp_path / "compiled.keras")
    start = model.get_weights()
    model.fit(x, batch_size=16, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "trained.keras")
    code = """
x = np.load("x.npy")
trained = keras.saving.load_model("trained.keras", safe_mode=True)
np.save("reconstruction.npy", trained.reconstruct(x))
compiled = keras.saving.load_model("compiled.keras", safe_mode=True)
with strategy.scope():
    replicated = keras.saving.load_model("start.keras", safe_mode=True)
print(compiled.jit_compile, replicated.jit_compile)
for name, model in {"compiled": compiled, "replicated": replicated}.items():
    model.fit(x, batch_size=16, epochs=2, shuffle=False, verbose=0)
    np.savez(f"{name}.npz", *model.get_weights())
"""
    printed = fresh_process.run(code, tmp_path)
    assert printed.split() == ["True", "False"]
    np.testing.assert_array_equal(np.load(tmp_path / "reconstruction.npy"), model.reconstruct(x))
    assert max(np.abs(a - b).max() for a, b in zip(start, model.get_weights(), strict=True)) > 0.1
    for name in ("compiled", "replicated"):
        for one, other in zip(model.get_weights(), np.load(tmp_path / f"{name}.npz").values(), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-5)
