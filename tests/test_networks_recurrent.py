import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import losses, networks
from aelib.models import Autoencoder
from tests import fresh_process

CELLS = ["gru", "lstm"]
LENGTHS = [2, 5, 3, 5, 2, 4]
STEPS = 6  # one more than the longest has


def sequences(features=3):
    """Padded with zeros after their ends, and which steps are real."""
    x = np.random.default_rng(0).normal(size=(len(LENGTHS), STEPS, features)).astype("float32")
    mask = np.arange(STEPS) < np.array(LENGTHS)[:, None]
    return x * mask[..., None], mask


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x, kernel, recurrent, bias):
    """The states of every step of one sequence, from Cho's equations, in the order z, r, h; biases before and after."""
    width, states = recurrent.shape[0], [np.zeros(recurrent.shape[0])]
    for step in x:
        from_input = np.split(step @ kernel + bias[0], 3)
        from_state = np.split(states[-1] @ recurrent + bias[1], 3)
        update = sigmoid(from_input[0] + from_state[0])
        reset = sigmoid(from_input[1] + from_state[1])
        proposed = np.tanh(from_input[2] + reset * from_state[2])
        states.append(update * states[-1] + (1 - update) * proposed)
    assert states[-1].shape == (width,)
    return np.array(states[1:])


def lstm(x, kernel, recurrent, bias):
    """In the order input gate, forget gate, proposed cell, output gate."""
    state = cell = np.zeros(recurrent.shape[0])
    states = []
    for step in x:
        enter, keep, proposed, leave = np.split(step @ kernel + state @ recurrent + bias, 4)
        cell = sigmoid(keep) * cell + sigmoid(enter) * np.tanh(proposed)
        state = sigmoid(leave) * np.tanh(cell)
        states.append(state)
    return np.array(states)


FORMULAS = {"gru": gru, "lstm": lstm}


def randomized(network):
    """With biases that are not zero, too."""
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
    return network


@pytest.mark.parametrize("cell", CELLS)
def test_encoder_is_its_formula_and_stops_at_the_end(cell):
    encoder = randomized(networks.recurrent_encoder(3, [4, 5], 2, cell, latent_activation="tanh"))
    x, _ = sequences()
    *weights, w, b = encoder.get_weights()
    expected = []
    for one, length in zip(x, LENGTHS, strict=True):
        states = FORMULAS[cell](FORMULAS[cell](one[:length], *weights[:3]), *weights[3:])
        expected.append(np.tanh(states[-1] @ w + b))
    np.testing.assert_allclose(encoder(x), expected, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_decoder_is_its_formula(cell):
    decoder = randomized(networks.recurrent_decoder(2, [4, 5], 3, STEPS, cell, output_activation="sigmoid"))
    z = np.random.default_rng(0).normal(size=(3, 2))
    *weights, w, b = decoder.get_weights()
    repeated = [np.repeat(one[None], STEPS, axis=0) for one in z]
    states = [FORMULAS[cell](FORMULAS[cell](one, *weights[:3]), *weights[3:]) for one in repeated]
    np.testing.assert_allclose(decoder(z), sigmoid(np.array(states) @ w + b), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_any_number_of_steps(cell):
    encoder = randomized(networks.recurrent_encoder(3, [4], 2, cell))
    x, _ = sequences()
    codes = encoder(x).numpy()
    for more in (1, 20):  # zeros after the end change nothing
        np.testing.assert_allclose(encoder(np.pad(x, ((0, 0), (0, more), (0, 0)))), codes, atol=1e-6)
    short, long = (randomized(networks.recurrent_decoder(2, [4], 3, steps, cell)) for steps in (STEPS, 40))
    np.testing.assert_allclose(long(codes)[:, :STEPS], short(codes), atol=1e-6)


def loss_and_gradients(model, x, weights):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y_pred=model(x, training=True), sample_weight=weights)
    return loss.numpy(), [gradient.numpy() for gradient in tape.gradient(loss, model.trainable_variables)]


@pytest.mark.parametrize("cell", CELLS)
def test_a_padded_batch_has_the_loss_and_the_gradients_of_batches_of_one_length(cell):
    """With the weights `steps / length` of the real steps, a loss is the mean over the sequences of the means over
    their own steps."""
    encoder = randomized(networks.recurrent_encoder(3, [4], 2, cell))
    x, mask = sequences()
    padded = Autoencoder(encoder, randomized(networks.recurrent_decoder(2, [4], 3, STEPS, cell)))
    padded.compile("sgd", "mse")
    together = loss_and_gradients(padded, x, mask * STEPS / mask.sum(axis=1, keepdims=True))
    apart = []
    for length in set(LENGTHS):
        kind = np.array(LENGTHS) == length
        decoder = networks.recurrent_decoder(2, [4], 3, length, cell)
        decoder.set_weights(padded.decoder.get_weights())
        model = Autoencoder(encoder, decoder)
        model.compile("sgd", "mse")
        loss, gradients = loss_and_gradients(model, x[kind, :length], None)
        apart.append([kind.mean() * loss, *(kind.mean() * gradient for gradient in gradients)])
    expected = [sum(parts) for parts in zip(*apart, strict=True)]
    for found, wanted in zip([together[0], *together[1]], expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    unmasked, _ = loss_and_gradients(padded, x, None)
    assert abs(unmasked / expected[0] - 1) > 0.01


def test_padding_is_not_trained_on_by_fit_and_not_counted_by_evaluate():
    x, mask = sequences()
    keras.utils.set_random_seed(0)
    model = Autoencoder(networks.recurrent_encoder(3, [4], 2), networks.recurrent_decoder(2, [4], 3, STEPS))
    model.compile("sgd", "mse")
    start = model.get_weights()
    weights = mask * STEPS / mask.sum(axis=1, keepdims=True)
    target = np.where(mask[..., None], x, 1e3).astype("float32")  # what stands there is nobody's business
    ends, losses_found = [], []
    for y in (x, target):
        model.set_weights(start)
        losses_found.append(model.evaluate(x, y, sample_weight=weights, verbose=0))
        model.fit(x, y, sample_weight=weights, batch_size=6, epochs=3, verbose=0)
        ends.append(model.get_weights())
    assert losses_found[0] == pytest.approx(losses_found[1], rel=1e-6)
    for first, second in zip(*ends, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)
    errors = np.square(x - model.reconstruct(x)).mean(axis=2)
    expected = np.mean([row[:length].mean() for row, length in zip(errors, LENGTHS, strict=True)])
    assert model.evaluate(x, sample_weight=weights, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_one_value_an_example_takes_no_weights_of_steps():
    x, mask = sequences()
    model = Autoencoder(networks.recurrent_encoder(3, [4], 2), networks.recurrent_decoder(2, [4], 3, STEPS))
    model.compile("sgd", losses.SumSquaredError(), run_eagerly=True)
    with pytest.raises(Exception, match=r"weight|shape|broadcast|[Dd]imension"):
        model.evaluate(x, sample_weight=mask.astype("float32"), verbose=0)


def test_layers_are_called_by_their_place():
    encoder = networks.recurrent_encoder(3, [4, 5], 2, name="e")
    decoder = networks.recurrent_decoder(2, [5, 4], 3, 7, name="d")
    assert (encoder.name, decoder.name) == ("e", "d")
    assert [layer.name for layer in encoder.layers] == ["mask", "recurrent_1", "recurrent_2", "code"]
    assert [layer.name for layer in decoder.layers] == ["repeat", "recurrent_1", "recurrent_2", "reconstruction"]


def test_kernels_have_the_initializer_and_different_values():
    ones = networks.recurrent_encoder(3, [4, 4], 4, kernel_initializer="ones")
    assert all((weight.numpy() == 1).all() for weight in ones.weights if weight.name == "kernel")
    random = networks.recurrent_decoder(4, [4, 4], 4, 3, kernel_initializer=keras.initializers.RandomNormal())
    first, second = (random.get_layer(f"recurrent_{number}").cell.kernel.numpy() for number in (1, 2))
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"units": [0]}, "units must be a positive whole number"),
        ({"units": []}, "at least one recurrent layer"),
        ({"latent_dim": 2.5}, "positive whole number"),
        ({"cell": "rnn"}, r"'rnn'; give \"gru\" or \"lstm\""),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    usual = {"units": [4], "latent_dim": 2}
    for make in (
        lambda **options: networks.recurrent_encoder(3, **options),
        lambda **options: networks.recurrent_decoder(output_dim=3, steps=5, **options),
    ):
        with pytest.raises(ValueError, match=message):
            make(**{**usual, **arguments})
    with pytest.raises(ValueError, match="steps must be a positive whole number, but one is None"):
        networks.recurrent_decoder(2, [4], 3, None)


@pytest.mark.parametrize("cell", CELLS)
def test_saved_and_loaded_in_a_fresh_process(cell, tmp_path):
    x, mask = sequences()
    model = Autoencoder(networks.recurrent_encoder(3, [4], 2, cell), networks.recurrent_decoder(2, [4], 3, STEPS, cell))
    model.compile("adam", "mse")
    weights = (mask * STEPS / mask.sum(axis=1, keepdims=True)).astype("float32")
    model.fit(x, sample_weight=weights, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", x=x, weights=weights)
    code = """
x, weights = np.load("inputs.npz").values()
model = keras.saving.load_model("model.keras", safe_mode=True)
longer = np.pad(x, ((0, 0), (0, 9), (0, 0)))
np.savez("results.npz", codes=model.encode(longer), rebuilt=model.reconstruct(x))
print(model.evaluate(x, sample_weight=weights, verbose=0))
"""
    printed = fresh_process.run(code, tmp_path)
    results = np.load(tmp_path / "results.npz")
    np.testing.assert_allclose(results["codes"], model.encode(x), atol=1e-6)
    np.testing.assert_allclose(results["rebuilt"], model.reconstruct(x), atol=1e-6)
    assert float(printed) == pytest.approx(model.evaluate(x, sample_weight=weights, verbose=0), rel=1e-5)


def test_xla_gives_the_same_training():
    x, mask = sequences()
    ends = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = Autoencoder(networks.recurrent_encoder(3, [4], 2), networks.recurrent_decoder(2, [4], 3, STEPS))
        model.compile("sgd", "mse", jit_compile=jit_compile)
        model.fit(x, sample_weight=mask.astype("float32"), batch_size=6, epochs=3, verbose=0)
        ends.append(model.get_weights())
    for first, second in zip(*ends, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
