import keras
import numpy as np
import pytest

from aelib import networks
from tests import fresh_process
from tests.test_networks_conv import correlate, with_random_biases


def doubled(maps, like):
    return maps.repeat(2, axis=0).repeat(2, axis=1)[: like.shape[0], : like.shape[1]]


class ByNumPy:
    """The layers of a network with ReLU, one image at a time, by SciPy's correlation."""

    def __init__(self, network):
        self.network = network

    def __call__(self, name, x, stride=1, linear=False):
        kernel, bias = self.network.get_layer(name).get_weights()
        result = correlate(x, kernel, bias, stride)
        return result if linear else np.maximum(result, 0)


SHAPES = [(8, 8, 1), (7, 10, 3), (9, 5, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_unet_is_its_formula(shape, skip, residual):
    network = with_random_biases(networks.unet(shape[2], [3, 4, 5], skip, residual))
    conv = ByNumPy(network)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    expected = []
    for image in x:
        e0 = conv("conv_0", image)
        e1 = conv("conv_1", conv("down_1", e0, stride=2))
        d = conv("code", conv("down_2", e1, stride=2))
        for stage, e in ((1, e1), (0, e0)):
            d = doubled(conv(f"narrow_{stage}", d), e)
            d = conv(f"up_{stage}", np.concatenate([d, e], axis=-1) if skip else d)
        out = conv("reconstruction", d, linear=True)
        expected.append(image + out if residual else out)
    np.testing.assert_allclose(network(x).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_hourglasses_are_their_formula(shape):
    network = with_random_biases(networks.stacked_hourglass(shape[2], [3, 4, 5], stacks=2))
    conv = ByNumPy(network)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    expected = [[], []]
    for image in x:
        h = conv("conv", image)
        for stack in (1, 2):
            e1 = conv(f"down_{stack}_1", h, stride=2)
            e2 = conv(f"down_{stack}_2", e1, stride=2)
            d = conv(f"code_{stack}", e2)
            for stage, e in ((1, e1), (0, h)):
                up = doubled(conv(f"narrow_{stack}_{stage}", d), e)
                d = conv(f"kept_{stack}_{stage}", e) + up
            out = conv(f"reconstruction_{stack}", d, linear=True)
            expected[stack - 1].append(out)
            if stack == 1:
                h = h + conv("from_maps_1", d, linear=True) + conv("from_image_1", out, linear=True)
    for found, wanted in zip(network(x), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (33, 50), (16, 64)], ids=str)
def test_every_size_comes_back(size):
    x = np.random.default_rng(0).normal(size=(2, *size, 1)).astype("float32")
    assert networks.unet(filters=[2, 3, 4])(x).shape == x.shape
    assert networks.unet(filters=[2, 3, 4], skip=False)(x).shape == x.shape
    outputs = networks.stacked_hourglass(filters=[2, 3, 4], stacks=3)(x)
    assert [each.shape for each in outputs] == [x.shape] * 3


def test_without_skips_nothing_passes_beside_the_code():
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 1)).astype("float32")
    for skip in (True, False):
        network = networks.unet(filters=[4, 6, 8], skip=skip)
        code = network.get_layer("code")
        code.set_weights([np.zeros_like(each) for each in code.get_weights()])
        first, second = network(x).numpy()
        assert (np.abs(first - second).max() > 1e-3) == skip


def test_a_residual_network_starts_from_a_copy():
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 1)).astype("float32")
    network = networks.unet(filters=[4, 6], residual=True)
    last = network.get_layer("reconstruction")
    last.set_weights([np.zeros_like(each) for each in last.get_weights()])
    np.testing.assert_array_equal(network(x).numpy(), x)


def test_numbers_of_parameters():
    def kernel(inputs, outputs, size=3):
        return size * size * inputs * outputs + outputs

    plain = kernel(1, 4) + kernel(4, 6) + kernel(6, 6) + kernel(6, 4) + kernel(4, 4) + kernel(4, 1)
    assert networks.unet(filters=[4, 6], skip=False).count_params() == plain
    assert networks.unet(filters=[4, 6]).count_params() == plain + 9 * 4 * 4
    hourglass = kernel(4, 6) + kernel(6, 6) + kernel(6, 4) + kernel(4, 4) + kernel(4, 1)
    between = kernel(4, 4, size=1) + kernel(1, 4, size=1)
    assert networks.stacked_hourglass(filters=[4, 6]).count_params() == kernel(1, 4) + 2 * hourglass + between


def test_a_loss_at_each_hourglass_trains_each():
    x = np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype("float32")
    network = networks.stacked_hourglass(filters=[4, 6])
    network.compile("sgd", ["mse", "mse"])
    before = [network.get_layer(f"reconstruction_{stack}").kernel.numpy() for stack in (1, 2)]
    network.fit(x, [x, x], verbose=0)
    for stack, kernel in enumerate(before, 1):
        assert np.abs(network.get_layer(f"reconstruction_{stack}").kernel.numpy() - kernel).max() > 0


def test_channels_stay_last_whatever_keras_is_set_to():
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype("float32")
    results = []
    try:
        for data_format in ("channels_first", "channels_last"):
            keras.config.set_image_data_format(data_format)
            keras.utils.set_random_seed(0)
            results.append((networks.unet(2, [3, 4])(x), networks.stacked_hourglass(2, [3, 4])(x)[1]))
    finally:
        keras.config.set_image_data_format("channels_last")
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_saved_and_loaded_in_a_fresh_process(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 9, 11, 1)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    unet, hourglass = networks.unet(filters=[3, 4], residual=True), networks.stacked_hourglass(filters=[3, 4])
    unet.save(tmp_path / "unet.keras")
    hourglass.save(tmp_path / "hourglass.keras")
    code = """
x = np.load("x.npy")
np.save("unet.npy", keras.saving.load_model("unet.keras", safe_mode=True)(x))
np.save("hourglass.npy", keras.saving.load_model("hourglass.keras", safe_mode=True)(x)[1])
"""
    fresh_process.run(code, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "unet.npy"), unet(x).numpy())
    np.testing.assert_array_equal(np.load(tmp_path / "hourglass.npy"), hourglass(x)[1].numpy())


@pytest.mark.parametrize("network", [networks.unet, networks.stacked_hourglass])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels must be a positive whole number"),
        ({"filters": [4, 0]}, "every number of filters must be a positive whole number"),
        ({"filters": [4]}, "give at least two numbers, the second after a halving"),
        ({"kernel_size": 0}, "kernel_size must be a positive whole number"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


def test_no_hourglass_is_refused():
    with pytest.raises(ValueError, match="stacks must be a positive whole number"):
        networks.stacked_hourglass(stacks=0)
