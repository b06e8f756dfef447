"""`optimizers.Adam` against Keras's: the same numbers, from another kernel, wherever Keras lets an optimizer work."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_process import run

from aelib import losses, networks, optimizers
from aelib.models import Autoencoder

STEPS = 200
OPTIONS = {
    "learning_rate": 0.01,
    "beta_1": 0.5,
    "beta_2": 0.9,
    "epsilon": 0.1,
    "amsgrad": True,
    "weight_decay": 0.1,
    "clipnorm": 0.2,
    "clipvalue": 0.05,
    "global_clipnorm": 0.2,
    "use_ema": True,
    "loss_scale_factor": 8.0,
    "gradient_accumulation_steps": 4,
}


@pytest.fixture(scope="module")
def gradients():
    """200 gradients of two weight arrays, of all sizes, some always of one sign: there, deviations add up."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(0, 4, size=80))
    both = np.concatenate([sizes * rng.normal(size=(STEPS, 80)), rng.uniform(0.5, 1, size=(STEPS, 40))], axis=1)
    both[100:, :10] = 0.0
    both[:, 10:15] *= 1e-7  # where epsilon counts
    return both.astype("float32")


def weights_after(adam, gradients, jit_compile=False, dtype="float32"):
    """Returns the weights, and the averages where there are some, after the optimizer's steps with these gradients."""
    variables = [keras.Variable(np.full(n, 0.5), dtype=dtype) for n in (100, 20)]
    adam.build(variables)

    @tf.function(jit_compile=jit_compile)
    def step(gradient):
        adam.apply(tf.split(tf.cast(gradient, dtype), [100, 20]), variables)

    for gradient in gradients:
        step(tf.constant(gradient))
    if adam.use_ema:
        adam.finalize_variable_values(variables)
    return np.concatenate([variable.numpy() for variable in variables])


@pytest.fixture(scope="module")
def default(gradients):
    return weights_after(keras.optimizers.Adam(), gradients)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "XLA"])
def test_same_numbers_as_keras(gradients, default, jit_compile):
    np.testing.assert_allclose(weights_after(optimizers.Adam(), gradients, jit_compile), default, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_argument_does_what_it_does_in_keras(gradients, default, name):
    option = {name: OPTIONS[name]}
    weights = weights_after(optimizers.Adam(**option), gradients)
    # steps ten times as long, and so are their deviations
    atol = 1e-5 if name == "learning_rate" else 1e-6
    np.testing.assert_allclose(weights, weights_after(keras.optimizers.Adam(**option), gradients), rtol=0, atol=atol)
    assert np.abs(weights - default).max() > 1e-5
    assert optimizers.Adam(**option).get_config()[name] == pytest.approx(OPTIONS[name])


@pytest.mark.parametrize("more", [{"ema_momentum": 0.5}, {"ema_overwrite_frequency": 7}], ids=str)
def test_averages_of_the_weights_are_those_of_keras(gradients, more):
    weights = weights_after(optimizers.Adam(use_ema=True, **more), gradients)
    np.testing.assert_allclose(
        weights, weights_after(keras.optimizers.Adam(use_ema=True, **more), gradients), rtol=0, atol=1e-6
    )
    assert np.abs(weights - weights_after(optimizers.Adam(use_ema=True), gradients)).max() > 1e-4


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_types_of_weights(gradients, dtype):
    weights, kerass = (weights_after(each.Adam(), gradients, dtype=dtype) for each in (optimizers, keras.optimizers))
    np.testing.assert_array_equal(weights, kerass)


def test_learning_rate_schedule_and_assignment(gradients):
    def weights(each):
        adam = each.Adam(keras.optimizers.schedules.CosineDecay(0.002, 200))
        scheduled = weights_after(adam, gradients)
        adam = each.Adam()
        adam.learning_rate = 0.0003
        return scheduled, weights_after(adam, gradients)

    for ours, kerass in zip(weights(optimizers), weights(keras.optimizers), strict=True):
        np.testing.assert_allclose(ours, kerass, rtol=0, atol=1e-6)


def operations(adam, gradient, variable):
    """Returns the types of the operations of one step."""
    adam.build([variable])
    graph = tf.function(lambda: adam.apply([gradient], [variable])).get_concrete_function().graph
    return [operation.type for operation in graph.get_operations()]


def test_the_kernel_is_used_where_it_applies_and_keras_elsewhere():
    w = keras.Variable(np.ones((3, 2), "float32"))
    dense = tf.ones((3, 2))
    sparse = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([1]), (3, 2))
    assert operations(optimizers.Adam(), dense, w).count("ResourceApplyAdam") == 1
    assert "ResourceApplyAdam" not in operations(optimizers.Adam(amsgrad=True), dense, w)
    assert "ResourceApplyAdam" not in operations(optimizers.Adam(), sparse, w)


def test_sparse_gradients():
    def weights(each):
        w = keras.Variable(np.ones((3, 2), "float32"))
        adam = each.Adam(0.1)
        adam.build([w])
        for row in (1, 2, 1):
            adam.apply([tf.IndexedSlices(tf.ones((1, 2)), tf.constant([row]), (3, 2))], [w])
        return w.numpy()

    np.testing.assert_array_equal(weights(optimizers), weights(keras.optimizers))


# Through `fit`


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")


def new_model(adam, **compile_options):
    keras.utils.set_random_seed(0)
    model = Autoencoder(networks.mlp_encoder(6, [5], 3), networks.mlp_decoder(3, [5], 6))
    model.compile(adam, losses.SumSquaredError(), **compile_options)
    return model


def fit(model, x):
    model.fit(x, batch_size=10, epochs=3, shuffle=False, verbose=0)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


@pytest.mark.parametrize(
    "compile_options",
    [{}, {"steps_per_execution": 3}, {"jit_compile": True}, {"run_eagerly": True}],
    ids=str,
)
def test_fit_gives_the_weights_that_keras_gives(x, compile_options):
    ours = fit(new_model(optimizers.Adam(0.01), **compile_options), x)
    np.testing.assert_allclose(ours, fit(new_model(keras.optimizers.Adam(0.01)), x), rtol=0, atol=1e-6)


def test_mixed_precision(x):
    """The weights are in float32, the loss is scaled, and a step with a gradient that is not finite is left out."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        models = [new_model(each.Adam(0.01)) for each in (optimizers, keras.optimizers)]
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(models[0].optimizer, keras.optimizers.LossScaleOptimizer)
    ours, kerass = (fit(model, x) for model in models)
    np.testing.assert_allclose(ours, kerass, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(fit(models[0], np.full_like(x, 6e4)), ours)


def test_training_goes_on_after_saving_and_loading(x, tmp_path):
    model = new_model(optimizers.Adam(0.01, beta_1=0.8))
    fit(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded.optimizer) is optimizers.Adam
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert int(loaded.optimizer.iterations) == 12
    np.testing.assert_array_equal(fit(loaded, x), fit(model, x))


def test_a_model_saved_with_keras_adam_goes_on_with_this_one(x, tmp_path):
    """The state has the same parts: what one has learned about the gradients, the other takes over."""
    model = new_model(keras.optimizers.Adam(0.01))
    fit(model, x)
    other = new_model(optimizers.Adam(0.01))
    other.set_weights(model.get_weights())
    other.optimizer.build(other.trainable_variables)
    other.optimizer.set_weights([variable.numpy() for variable in model.optimizer.variables])
    np.testing.assert_allclose(fit(other, x), fit(model, x), rtol=0, atol=1e-6)


def test_two_devices_give_the_weights_of_one(tmp_path):
    code = """
from aelib import losses, models, networks, optimizers

x = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")

def weights():
    keras.utils.set_random_seed(0)
    model = models.Autoencoder(networks.mlp_encoder(6, [5], 3), networks.mlp_decoder(3, [5], 6))
    adam = optimizers.Adam(0.01, weight_decay=0.1, clipnorm=1.0)
    model.compile(adam, losses.SumSquaredError())
    model.fit(x, batch_size=20, epochs=5, shuffle=False, verbose=0)
    moments = [variable.numpy().ravel() for variable in model.optimizer.variables]
    return np.concatenate([weight.ravel() for weight in model.get_weights()] + moments)

with strategy.scope():
    both = weights()
print(np.abs(both - weights()).max())
"""
    assert float(run(code, tmp_path)) < 1e-5
