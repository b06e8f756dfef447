import keras
import numpy as np
import pytest

from aelib import networks


def test_encoder_is_its_formula():
    encoder = networks.mlp_encoder(6, [5, 4], 3, activation="tanh", latent_activation="sigmoid")
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    w1, b1, w2, b2, w3, b3 = encoder.get_weights()
    expected = np.tanh(np.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3
    np.testing.assert_allclose(encoder(x).numpy(), 1 / (1 + np.exp(-expected)), atol=1e-6)


def test_decoder_is_its_formula():
    decoder = networks.mlp_decoder(3, [5], 6)
    z = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    w1, b1, w2, b2 = decoder.get_weights()
    expected = np.maximum(z @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(decoder(z).numpy(), 1 / (1 + np.exp(-expected)), atol=1e-6)


def test_code_is_linear_and_logits_are_possible():
    assert networks.mlp_encoder(6, [5], 3).layers[-1].activation.__name__ == "linear"
    assert networks.mlp_decoder(3, [], 6, output_activation=None).layers[-1].activation.__name__ == "linear"


@pytest.mark.parametrize(
    "network, arguments",
    [
        (networks.mlp_encoder, (6, [5, 4], 3)),
        (networks.mlp_decoder, (3, [4, 5], 6)),
        (networks.conv_encoder, ((8, 8, 1), [2, 3], 4)),
        (networks.conv_decoder, (4, [3, 2], (8, 8, 1))),
    ],
)
def test_every_kernel_has_the_initializer_and_every_bias_starts_at_zero(network, arguments):
    weights = network(*arguments, kernel_initializer=keras.initializers.Constant(0.5)).weights
    assert [{0.5} if weight.name == "kernel" else {0.0} for weight in weights] == [
        set(np.unique(weight.numpy())) for weight in weights
    ]
    assert len(weights) == 6


def test_layers_are_called_by_their_place():
    encoder, decoder = networks.mlp_encoder(6, [5, 4], 3, name="e"), networks.mlp_decoder(3, [4, 5], 6, name="d")
    assert (encoder.name, decoder.name) == ("e", "d")
    assert [layer.name for layer in encoder.layers] == ["hidden_1", "hidden_2", "code"]
    assert [layer.name for layer in decoder.layers] == ["hidden_1", "hidden_2", "reconstruction"]


def test_layers_of_one_shape_start_from_different_weights():
    for initializer in ("he_normal", keras.initializers.RandomNormal(stddev=0.01)):
        encoder = networks.mlp_encoder(4, [4, 4], 4, kernel_initializer=initializer)
        first, second, third = (layer.kernel.numpy() for layer in encoder.layers)
        assert not np.allclose(first, second) and not np.allclose(second, third)


@pytest.mark.parametrize("widths", [(0, [5], 3), (6, [0], 3), (6, [5], -1), (6, [5], 2.5), (True, [5], 3)])
def test_bad_widths_are_refused(widths):
    with pytest.raises(ValueError, match="positive whole number"):
        networks.mlp_encoder(*widths)
