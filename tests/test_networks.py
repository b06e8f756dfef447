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


def test_layers_of_one_shape_start_from_different_weights():
    for initializer in ("he_normal", networks.keras.initializers.RandomNormal(stddev=0.01)):
        encoder = networks.mlp_encoder(4, [4, 4], 4, kernel_initializer=initializer)
        first, second, third = (layer.kernel.numpy() for layer in encoder.layers)
        assert not np.allclose(first, second) and not np.allclose(second, third)


@pytest.mark.parametrize("widths", [(0, [5], 3), (6, [0], 3), (6, [5], -1), (6, [5], 2.5), (True, [5], 3)])
def test_bad_widths_are_refused(widths):
    with pytest.raises(ValueError, match="positive whole number"):
        networks.mlp_encoder(*widths)
