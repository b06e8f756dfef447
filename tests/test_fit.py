"""What learners rely on in `fit` with several steps an execution: the order of the images, Keras's own interface."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import losses, networks
from aelib.models import (
    AdversarialAutoencoder,
    Autoencoder,
    ContractiveAutoencoder,
    EnergyBasedGAN,
    VariationalAutoencoder,
)
from aelib.models import batches as fit_batches


class Note(keras.layers.Layer):
    """A corruption that changes nothing and notes which images it is given in training, by their first pixel."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, inputs, training=None):
        if training:
            tf.numpy_function(lambda first: self.seen.append(first.copy()), [inputs[:, 0]], [])
        return inputs


@pytest.fixture
def x():
    x = np.random.default_rng(0).uniform(size=(50, 6)).astype("float32")
    x[:, 0] = np.arange(50) / 50
    return x


def compiled(corruption=None):
    model = Autoencoder(networks.mlp_encoder(6, [], 2), networks.mlp_decoder(2, [], 6), corruption)
    model.compile(keras.optimizers.Adam(0.01), losses.SumSquaredError(), steps_per_execution=3)
    return model


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("source", ["array", "tensor"])
def test_every_epoch_is_a_fresh_permutation_of_all_images(x, source, seed):
    tf.random.set_seed(seed)
    model = compiled(Note())
    model.fit(tf.constant(x) if source == "tensor" else x, batch_size=8, epochs=3, verbose=0)
    epochs = np.rint(50 * np.concatenate(model.corruption.seen)).astype(int).reshape(3, 50)
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
        # far from sorted: an image moves by a third of the set on average
        assert np.abs(order - np.arange(50)).mean() > 10
    assert all(np.mean(epochs[a] == epochs[b]) < 0.2 for a, b in ((0, 1), (0, 2), (1, 2)))


def test_with_steps_per_epoch_every_batch_is_full_and_every_pass_has_all_images(x):
    model = compiled(Note())
    model.fit(x, batch_size=8, steps_per_epoch=9, epochs=3, verbose=0)
    assert {len(batch) for batch in model.corruption.seen} == {8}
    images = np.rint(50 * np.concatenate(model.corruption.seen)).astype(int)
    for order in images[:200].reshape(4, 50):
        np.testing.assert_array_equal(np.sort(order), np.arange(50))


def test_the_images_do_not_stay_in_memory_until_the_collector_runs(x, monkeypatch):
    copies, in_floatx = [], fit_batches._in_floatx
    monkeypatch.setattr(
        fit_batches, "_in_floatx", lambda tensor: copies.append(weakref.ref(tensor)) or in_floatx(tensor)
    )
    gc.disable()
    try:
        compiled().fit(x, x, sample_weight=np.ones(50), epochs=2, verbose=0)
        assert len(copies) == 3 and not any(copy() is not None for copy in copies)
    finally:
        gc.enable()


def test_without_shuffling_the_order_is_that_of_the_array(x):
    model = compiled(Note())
    model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(np.concatenate(model.corruption.seen), np.tile(x[:, 0], 2))


class Noting(Autoencoder):
    """Notes the first pixel of the inputs and the targets, and the weights, of what its loss is given in training."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        tf.numpy_function(lambda *given: self.seen.append(given), [x[:, 0], y[:, 0], sample_weight], [])
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def test_targets_and_weights_stay_with_their_images(x):
    model = Noting(networks.mlp_encoder(6, [], 2), networks.mlp_decoder(2, [], 6))
    model.seen = []
    model.compile("adam", losses.SumSquaredError())
    x = x.astype("float64")
    model.fit(x, 1 - x, batch_size=8, epochs=2, sample_weight=2 * x[:, 0], verbose=0)
    images, targets, weights = (np.concatenate(noted) for noted in zip(*model.seen, strict=True))
    assert len(images) == 100 and images.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(targets, 1 - images)
    np.testing.assert_allclose(weights, 2 * images)


def test_validation_split_keeps_the_last_images_apart(x):
    model = compiled(Note())
    history = model.fit(x, batch_size=8, epochs=2, validation_split=0.2, verbose=0)
    epochs = np.rint(50 * np.concatenate(model.corruption.seen)).astype(int).reshape(2, 40)
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(40))
    assert history.history["val_loss"][-1] == pytest.approx(model.evaluate(x[40:], verbose=0), rel=1e-5)


def test_bad_input_is_refused(x):
    for arguments, message in [
        ({"x": x, "y": x[:40]}, "50 in x and 40 in y"),
        ({"x": x[:1], "validation_split": 0.5}, "some of the 1 examples"),
        ({"x": x, "validation_split": 1.5}, "it is 1.5"),
    ]:
        with pytest.raises(ValueError, match=message):
            compiled().fit(**arguments, verbose=0)


def variants():
    encoder, decoder = networks.mlp_encoder(6, [5], 2), networks.mlp_decoder(2, [5], 6)
    yield Autoencoder(encoder, decoder, keras.layers.GaussianNoise(0.1))
    encoder, decoder = networks.mlp_encoder(6, [5], 2), networks.mlp_decoder(2, [5], 6)
    yield ContractiveAutoencoder(encoder, decoder, 0.1, penalty="projected")
    encoder, decoder = networks.mlp_encoder(6, [5], 4), networks.mlp_decoder(2, [5], 6, output_activation=None)
    yield VariationalAutoencoder(encoder, decoder)
    encoder, decoder = networks.mlp_encoder(6, [5], 2), networks.mlp_decoder(2, [5], 6)
    yield AdversarialAutoencoder(encoder, decoder, networks.mlp_encoder(2, [5], 1))
    encoder, decoder = networks.mlp_encoder(6, [5], 2), networks.mlp_decoder(2, [5], 6)
    yield EnergyBasedGAN(networks.mlp_decoder(3, [5], 6), Autoencoder(encoder, decoder), margin=1.0, pulling_away=0.1)


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}], ids=["", "XLA"])
def test_same_seed_gives_the_same_weights_twice(x, options):
    def weights_after_training():
        keras.utils.set_random_seed(1)
        weights = []
        for model in variants():
            other = {VariationalAutoencoder: losses.BernoulliNLL(), EnergyBasedGAN: None}
            loss = other.get(type(model), losses.SumSquaredError())
            model.compile(optimizer="adam", loss=loss, steps_per_execution=3, **options)
            model.fit(x[:48], batch_size=8, epochs=2, verbose=0)
            weights += model.get_weights()
        return weights

    for first, second in zip(weights_after_training(), weights_after_training(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_callbacks_validation_progress_and_evaluate_are_those_of_keras(x, capsys):
    model, x, x_val, ends, logged = compiled(), x[:48], x[:20], [], []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(batch),
        on_epoch_end=lambda epoch, logs: logged.append((logs["val_loss"], model.evaluate(x_val, verbose=0))),
    )
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9)
    history = model.fit(x, batch_size=8, epochs=5, validation_data=(x_val,), callbacks=[callback, stop], verbose=2)
    assert ends == 2 * [2, 5]  # six batches, three an execution, until nothing gets better by a billion
    assert history.history["val_loss"] == [validation for validation, _ in logged]
    for validation, evaluated in logged:
        assert validation == pytest.approx(evaluated, rel=1e-5)
    printed = capsys.readouterr().out
    assert "Epoch 2/5" in printed and "6/6" in printed and "val_loss" in printed


def test_validation_batches_are_of_the_size_of_those_in_training_unless_told(x):
    for options, batches in (({"batch_size": 10}, 2), ({"batch_size": 10, "validation_batch_size": 4}, 5), ({}, 1)):
        ends = []
        count = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs, ends=ends: ends.append(batch))
        model = Autoencoder(networks.mlp_encoder(6, [], 2), networks.mlp_decoder(2, [], 6))
        model.compile("adam", losses.SumSquaredError(), run_eagerly=True)
        model.fit(x, validation_data=(x[:20],), callbacks=[count], verbose=0, **options)
        assert len(ends) == batches
