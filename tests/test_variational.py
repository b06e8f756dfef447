"""The variational autoencoder: its objective against a linear model, whose bound has a closed form."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from aelib import layers, losses, networks
from aelib.models import VariationalAutoencoder
from tests import fresh_process

FEATURES, LATENT = 12, 3


def images(count=50, seed=0):
    return np.random.default_rng(seed).integers(2, size=(count, FEATURES)).astype("float32")


def autoencoder(kl_weight=1.0, learning_rate=0.05, **kwargs):
    keras.utils.set_random_seed(0)
    encoder = networks.mlp_encoder(FEATURES, [8], 2 * LATENT)
    decoder = networks.mlp_decoder(LATENT, [8], FEATURES, output_activation=None)
    model = VariationalAutoencoder(encoder, decoder, kl_weight, **kwargs)
    model.compile(keras.optimizers.SGD(learning_rate), losses.BernoulliNLL())
    return model


@pytest.mark.parametrize("value", [-0.1, 1.1, 255.0, np.nan])
def test_pixels_outside_the_unit_interval_stop_fit(value):
    x = images()
    x[3, 4] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"pixels in \[0, 1\].*Divide grey values by 255"):
        autoencoder().fit(tf.data.Dataset.from_tensors(x), verbose=0)


def linear_autoencoder(kl_weight=0.7, z_log_var=(-1.0, 0.5, -2.0)):
    """A linear encoder of constant variance, a linear decoder, squared error: the bound has a closed form."""
    encoder = networks.mlp_encoder(FEATURES, [], 2 * LATENT)
    decoder = networks.mlp_decoder(LATENT, [], FEATURES, output_activation=None)
    model = VariationalAutoencoder(encoder, decoder, kl_weight, output_activation=None, seed=1)
    kernel, bias = encoder.get_weights()
    kernel[:, LATENT:], bias[LATENT:] = 0, z_log_var
    encoder.set_weights([kernel, bias])
    model.compile(keras.optimizers.SGD(0.0), losses.SumSquaredError())
    return model


def test_logged_terms_are_those_of_the_closed_form():
    """E ||x - W z - b||^2 = ||x - W m - b||^2 + sum_j exp(v_j) ||W_j||^2, in training and in validation alike."""
    model, x = linear_autoencoder(), np.repeat(images(5), 8000, axis=0)
    kernel, bias, decoder_kernel, decoder_bias = model.encoder.get_weights() + model.decoder.get_weights()
    z_mean, z_log_var = np.split(x[::8000] @ kernel + bias, 2, axis=1)
    error = np.square(x[::8000] - z_mean @ decoder_kernel - decoder_bias).sum(axis=1)
    reconstruction = np.mean(error + np.exp(z_log_var) @ np.square(decoder_kernel).sum(axis=1))
    kl = np.mean(0.5 * np.sum(np.square(z_mean) + np.exp(z_log_var) - 1 - z_log_var, axis=1))
    logged = model.fit(x, validation_data=(x,), batch_size=16_000, shuffle=False, verbose=0).history
    for prefix in ("", "val_"):
        assert logged[f"{prefix}kl"][0] == pytest.approx(kl, rel=1e-5)
        assert logged[f"{prefix}reconstruction"][0] == pytest.approx(reconstruction, rel=0.01)
        total = logged[f"{prefix}reconstruction"][0] + 0.7 * kl
        assert logged[f"{prefix}loss"][0] == pytest.approx(total, rel=1e-5)
    assert set(logged) == {f"{prefix}{term}" for prefix in ("", "val_") for term in ("loss", "reconstruction", "kl")}


def test_a_step_follows_the_gradient_of_the_negative_bound():
    model, x = autoencoder(kl_weight=0.3, seed=7), tf.constant(images())
    with tf.GradientTape() as tape:
        z_mean, z_log_var = tf.split(model.encoder(x), 2, axis=1)
        z = layers.Sampling(seed=7)((z_mean, z_log_var), training=True)
        nll = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=model.decoder(z))
        kl = 0.5 * (tf.square(z_mean) + tf.exp(z_log_var) - 1 - z_log_var)
        loss = (tf.reduce_sum(nll) + 0.3 * tf.reduce_sum(kl)) / len(x)
    weights = model.trainable_variables
    expected = [w - 0.05 * gradient for w, gradient in zip(weights, tape.gradient(loss, weights), strict=True)]
    model.train_on_batch(x)
    for weight, value in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-6)


def test_a_callback_moves_the_weight_of_the_divergence():
    model, x = autoencoder(kl_weight=0.0), images(50)
    warm_up = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: model.kl_weight.assign(epoch))
    logged = model.fit(x, validation_data=(x,), batch_size=32, epochs=4, callbacks=[warm_up], verbose=0).history
    for prefix in ("", "val_"):
        loss, reconstruction, kl = (np.array(logged[prefix + term]) for term in ("loss", "reconstruction", "kl"))
        np.testing.assert_allclose(loss, reconstruction + np.arange(4) * kl, rtol=1e-4)
        assert kl[-1] > 1e-3


def test_the_weight_presses_the_divergence_down_and_is_not_trained():
    x, kl = images(200), {}
    for weight in (0.0, 20.0):
        model = autoencoder(weight, learning_rate=0.02)
        kl[weight] = model.fit(x, batch_size=200, epochs=40, verbose=0).history["kl"][-1]
        assert float(model.kl_weight) == weight
    assert kl[20.0] < 0.05 * kl[0.0]


def test_what_the_layers_add_is_in_the_loss_once_and_in_neither_term():
    model, x = linear_autoencoder(), images()
    model.decoder.layers[-1].kernel_regularizer = keras.regularizers.L2(0.3)
    config = model.get_config()
    regularized = VariationalAutoencoder.from_config(config)
    regularized.set_weights(model.get_weights())
    regularized.compile("sgd", losses.SumSquaredError())
    logged = [m.evaluate(x, batch_size=50, verbose=0, return_dict=True) for m in (model, regularized)]
    added = 0.3 * np.square(model.decoder.layers[-1].kernel.numpy()).sum()
    assert logged[1]["loss"] - logged[0]["loss"] == pytest.approx(added, rel=1e-3)
    for term in ("kl", "reconstruction"):
        assert logged[1][term] == pytest.approx(logged[0][term], rel=1e-5)


def test_encode_and_reconstruct_use_the_mean_and_decode_gives_probabilities():
    model, x = autoencoder(), images()
    z_mean, z_log_var = np.split(model.encoder(x).numpy(), 2, axis=1)
    for _ in range(2):
        for result, expected in zip(model.posterior(x), (z_mean, z_log_var), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-6)
        np.testing.assert_allclose(model.encode(x), z_mean, rtol=1e-6)
        np.testing.assert_allclose(model.decode(z_mean), special.expit(model.decoder(z_mean)), rtol=1e-5)
        np.testing.assert_allclose(model.reconstruct(x), special.expit(model.decoder(z_mean)), rtol=1e-5)


def test_the_call_gives_the_decoder_of_a_new_draw():
    model, x = autoencoder(seed=2), images()
    z_mean, z_log_var = np.split(model.encoder(x).numpy(), 2, axis=1)
    expected = model.decoder(layers.Sampling(seed=2)((z_mean, z_log_var)))
    np.testing.assert_allclose(model(x), expected, rtol=1e-5)
    assert not np.allclose(model(x), expected)


def test_samples_are_decoded_draws_from_the_prior():
    model = linear_autoencoder()
    model.decoder.set_weights([np.eye(LATENT, FEATURES), np.zeros(FEATURES)])
    z = model.sample(20_000, seed=0)[:, :LATENT]
    assert min(stats.kstest(values, stats.norm.cdf).pvalue for values in z.T) > 0.01
    assert np.abs(np.corrcoef(z.T) - np.eye(LATENT)).max() < 0.03
    np.testing.assert_array_equal(model.sample(5, seed=0), model.sample(5, seed=0))
    assert not np.array_equal(model.sample(5), model.sample(5))


@pytest.mark.parametrize("value", [-1000.0, 1000.0])
def test_the_logarithm_of_the_variance_is_bounded(value):
    model, x = autoencoder(), images()
    kernel, bias = model.encoder.layers[-1].get_weights()
    bias[LATENT:] = value
    model.encoder.layers[-1].set_weights([kernel, bias])
    assert np.all(np.abs(model.posterior(x)[1]) == 10)
    logged = model.fit(x, verbose=0).history
    assert all(np.isfinite(values).all() for values in [*logged.values(), *model.get_weights()])


def test_images_with_channels():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))])
    model = VariationalAutoencoder(encoder, decoder)
    model.compile("adam", losses.BernoulliNLL())
    x = images(40)[:, :4].reshape(-1, 2, 2, 1).repeat(2, axis=1).repeat(2, axis=2)
    logged = model.fit(x, epochs=20, verbose=0).history
    assert logged["loss"][-1] < logged["loss"][0]
    assert model.sample(3).shape == (3, 4, 4, 1)


def of_width(width):
    """An encoder of this width, 0 included, which no Dense has."""
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, keras.layers.Dense(7)(inputs)[:, :width])


def test_parts_that_do_not_fit_are_refused():
    decoder = networks.mlp_decoder(LATENT, [], FEATURES, output_activation=None)
    inputs = keras.Input((FEATURES,))
    two_outputs = keras.Model(inputs, [keras.layers.Dense(LATENT)(inputs), keras.layers.Dense(LATENT)(inputs)])
    for encoder in (of_width(5), of_width(3), of_width(0), two_outputs):
        with pytest.raises(ValueError, match=r"z_mean and z_log_var .* side by side"):
            VariationalAutoencoder(encoder, decoder)
    no_code = keras.Input((0,))
    with pytest.raises(ValueError, match=r"shape \(0,\).*gives \(0,\)"):
        empty_decoder = keras.Model(no_code, keras.layers.Dense(FEATURES)(no_code))
        VariationalAutoencoder(of_width(0), empty_decoder)
    with pytest.raises(ValueError, match="gives back"):
        VariationalAutoencoder(of_width(6), networks.mlp_decoder(LATENT, [], 5, output_activation=None))
    with pytest.raises(ValueError, match="built"):
        VariationalAutoencoder(of_width(6), keras.Sequential([keras.layers.Dense(FEATURES)]))
    with pytest.raises(ValueError, match=r"ends in a sigmoid.*output_activation=None"):
        VariationalAutoencoder(of_width(6), networks.mlp_decoder(LATENT, [], FEATURES))
    VariationalAutoencoder(of_width(6), networks.mlp_decoder(LATENT, [], FEATURES), output_activation=None)


@pytest.mark.parametrize("kl_weight", [-1.0, float("nan"), float("inf"), "1"])
def test_bad_weights_are_refused(kl_weight):
    with pytest.raises(ValueError, match="kl_weight must be a number, 0 or more"):
        autoencoder(kl_weight)


def flat_weights(model):
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def test_saved_and_trained_elsewhere(tmp_path):
    """In a fresh process: a loaded model gives the same numbers, and trains on two devices and under XLA as here."""
    model, x = autoencoder(seed=4), images(64)
    kernel, bias = model.encoder.layers[-1].get_weights()
    kernel[:, LATENT:], bias[LATENT:] = 0, -20  # so little noise that it hardly matters which draws an example gets
    model.encoder.layers[-1].set_weights([kernel, bias])
    model.kl_weight.assign(0.25)
    model.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", x)
    before, start = [*model.posterior(x), model.reconstruct(x), 0.25], flat_weights(model)
    logged = model.fit(x, validation_data=(x,), batch_size=32, epochs=3, shuffle=False, verbose=0).history
    code = """
import contextlib, json

x = np.load("x.npy")
logged = {}
for name, scope in {"two": strategy.scope(), "xla": contextlib.nullcontext()}.items():
    with scope:
        model = keras.saving.load_model("vae.keras", safe_mode=True)
        np.savez(f"{name}.npz", *model.posterior(x), model.reconstruct(x), model.kl_weight)
        model.compile(keras.optimizers.SGD(0.05), model.loss, jit_compile=name == "xla")
    fit = model.fit(x, validation_data=(x,), batch_size=32, epochs=3, shuffle=False, verbose=0)
    logged[name] = fit.history
    np.save(f"{name}.npy", np.concatenate([weight.ravel() for weight in model.get_weights()]))
print(json.dumps(logged))
"""
    printed = fresh_process.run(code, tmp_path)
    for name, logged_elsewhere in json.loads(printed.splitlines()[-1]).items():
        for result, expected in zip(np.load(tmp_path / f"{name}.npz").values(), before, strict=True):
            np.testing.assert_array_equal(result, expected)
        assert logged_elsewhere.keys() == logged.keys()
        for key, values in logged.items():
            assert logged_elsewhere[key] == pytest.approx(values, rel=2e-3), (name, key)
        difference = flat_weights(model) - np.load(tmp_path / f"{name}.npy")
        assert np.linalg.norm(difference) < 0.1 * np.linalg.norm(flat_weights(model) - start), name


def test_in_float16_the_divergence_is_computed_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = autoencoder()
    finally:
        keras.config.set_dtype_policy("float32")
    kernel, bias = model.encoder.layers[-1].get_weights()
    bias[:LATENT], bias[LATENT:] = 300, -3
    model.encoder.layers[-1].set_weights([np.zeros_like(kernel), bias])
    expected = LATENT * (300**2 + np.exp(-3) - 1 + 3) / 2
    logged = model.evaluate(images(), verbose=0, return_dict=True)
    assert logged["kl"] == pytest.approx(expected, rel=1e-3) and expected > 65504
    assert logged["loss"] == pytest.approx(logged["reconstruction"] + logged["kl"], rel=1e-4)
    assert model.posterior(images())[0].dtype == "float32"
