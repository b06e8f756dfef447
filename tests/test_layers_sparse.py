import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy.stats import entropy

from aelib import layers, losses, models, networks
from tests import fresh_process


@pytest.fixture
def z():
    return np.random.default_rng(0).uniform(0.02, 0.6, size=(24, 7))


def penalty_of(z, *args, **kwargs):
    z = np.asarray(z)
    layer = layers.SparsityPenalty(*args, dtype="float64", **kwargs)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(z)), z)
    (penalty,) = layer.losses
    return float(penalty)


def divergence(z, target):
    """The Kullback-Leibler divergence from target to mean, by SciPy, of two-valued distributions, summed over units."""
    mean = z.mean(axis=0)
    return sum(entropy([target, 1 - target], [unit, 1 - unit]) for unit in mean)


def test_l1_is_a_sum_over_units_and_a_mean_over_the_batch(z):
    z = z - 0.3
    assert penalty_of(z, 0.7) == pytest.approx(0.7 * np.abs(z).sum(axis=1).mean(), rel=1e-9)
    assert penalty_of([[1.0, -2.0], [0.0, 3.0]], 2.0) == 6.0


def test_divergence_is_that_of_scipy_and_of_a_calculation_by_hand(z):
    assert penalty_of(z, 3.0, sparsity_target=0.1) == pytest.approx(3 * divergence(z, 0.1), rel=1e-9)
    # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75) = 0.5 ln(4 / 3)
    assert penalty_of([[0.25]], 1.0, sparsity_target=0.5) == pytest.approx(0.5 * np.log(4 / 3), rel=1e-9)


def test_divergence_with_its_arguments_swapped_would_be_seen(z):
    swapped = sum(entropy([unit, 1 - unit], [0.1, 0.9]) for unit in z.mean(axis=0))
    assert abs(penalty_of(z, 1.0, sparsity_target=0.1) - swapped) > 0.1 * swapped


def test_divergence_is_zero_at_the_target_only(z):
    at_target = z / z.mean(axis=0) * 0.2
    assert penalty_of(at_target, 1.0, sparsity_target=0.2) == pytest.approx(0, abs=1e-12)
    assert penalty_of(z, 1.0, sparsity_target=0.2) > 0.1


@pytest.mark.parametrize("target", [None, 0.1])
def test_penalty_does_not_depend_on_the_batch_size(z, target):
    expected = penalty_of(z, 1.0, sparsity_target=target)
    for times in (2, 8):
        assert penalty_of(np.tile(z, (times, 1)), 1.0, sparsity_target=target) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("target", [None, 0.1])
def test_units_may_be_feature_maps(z, target):
    maps = z[:, :6].reshape(24, 3, 2, 1)
    expected = penalty_of(z[:, :6], 1.0, sparsity_target=target)
    assert penalty_of(maps, 1.0, sparsity_target=target) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("target", [None, 0.1])
def test_gradient_is_that_of_finite_differences(z, target):
    layer = layers.SparsityPenalty(0.5, sparsity_target=target, dtype="float64")
    x = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(x)
        layer(x)
        penalty = layer.losses[0]
    gradient = tape.gradient(penalty, x).numpy()
    for row, column in ((0, 0), (5, 3), (23, 6)):
        step = np.zeros_like(z)
        step[row, column] = 1e-5
        slope = penalty_of(z + step, 0.5, sparsity_target=target) - penalty_of(z - step, 0.5, sparsity_target=target)
        assert gradient[row, column] == pytest.approx(slope / 2e-5, rel=1e-5)


@pytest.mark.parametrize("value", [-0.5, 0.0, 1.0, 2.0])
def test_mean_outside_its_range_counts_as_the_end_of_the_range(value):
    end = 1e-7 if value <= 0 else 1 - 1e-7
    expected = entropy([0.1, 0.9], [end, 1 - end])
    assert penalty_of(np.full((3, 1), value), 1.0, sparsity_target=0.1) == pytest.approx(expected, rel=1e-6)


def test_computed_in_float32_where_the_code_is_in_half_precision():
    layer = layers.SparsityPenalty(1.0, dtype="mixed_float16")
    assert layer(np.full((4, 20000), 8.0, "float16")).dtype == "float16"
    assert float(layer.losses[0]) == 160000  # more than float16 can hold


@pytest.mark.parametrize("target", [0, 1, -0.1, 1.5, float("nan")])
def test_target_outside_zero_to_one_is_refused(target):
    with pytest.raises(ValueError, match=r"between 0 and 1.*not"):
        layers.SparsityPenalty(1.0, sparsity_target=target)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_bad_weight_is_refused(weight):
    with pytest.raises(ValueError, match="0 or more"):
        layers.SparsityPenalty(weight)


def test_a_weight_of_zero_is_no_penalty(z):
    assert penalty_of(z, 0.0, sparsity_target=0.1) == 0


def test_code_without_units_is_refused():
    with pytest.raises(ValueError, match="shape"):
        layers.SparsityPenalty(1.0)(np.ones(3))


def sparse_autoencoder(*extra, activation="sigmoid", **compile_options):
    keras.utils.set_random_seed(0)
    dense = [keras.Input((20,)), keras.layers.Dense(9, activation=activation)]
    model = models.Autoencoder(keras.Sequential([*dense, *extra]), networks.mlp_decoder(9, [], 20))
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=losses.SumSquaredError(), **compile_options)
    return model


@pytest.fixture
def x():
    return np.random.default_rng(1).uniform(size=(48, 20)).astype("float32")


@pytest.mark.parametrize("target", [None, 0.1])
def test_model_adds_the_weighted_penalty_and_logs_it_before_the_weight(x, target):
    model = sparse_autoencoder(layers.SparsityPenalty(0.3, sparsity_target=target))
    codes = model.encode(x)
    sparsity = codes.sum(axis=1).mean() if target is None else divergence(codes, target)
    error = np.square(x - model.reconstruct(x)).sum(axis=1).mean()
    logged = model.evaluate(x, batch_size=48, verbose=0, return_dict=True)
    assert logged == pytest.approx({"loss": error + 0.3 * sparsity, "sparsity": sparsity}, rel=1e-5)
    history = model.fit(x, batch_size=16, epochs=2, validation_data=(x, x), verbose=0).history
    assert sorted(history) == ["loss", "sparsity", "val_loss", "val_sparsity"]
    assert history["val_sparsity"][1] < history["val_sparsity"][0]


def test_logged_l1_weighs_a_partial_last_batch_by_its_size(x):
    model = sparse_autoencoder(layers.SparsityPenalty(0.3))
    logged = model.evaluate(x, batch_size=32, verbose=0, return_dict=True)
    assert logged["sparsity"] == pytest.approx(model.encode(x).sum(axis=1).mean(), rel=1e-5)


def test_keeps_the_k_largest_of_each_example():
    a = np.random.default_rng(0).normal(size=(16, 12)).astype("float32")
    expected = np.zeros_like(a)
    for row, order in enumerate(np.argsort(a, axis=1)):
        expected[row, order[-5:]] = a[row, order[-5:]]
    np.testing.assert_array_equal(ops.convert_to_numpy(layers.KSparse(5)(a)), expected)


def test_all_may_be_kept():
    z = np.array([[0.5, -1.0, 2.0]], "float32")
    np.testing.assert_array_equal(layers.KSparse(3)(z), z)


def test_largest_is_by_value_and_ties_are_kept_together():
    kept = layers.KSparse(2)(np.array([[-5.0, 1.0, 3.0, 1.0], [-1.0, -2.0, -3.0, -4.0], [0.0, 0.0, 0.0, 0.0]]))
    expected = [[0.0, 1.0, 3.0, 1.0], [-1.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert ops.convert_to_numpy(kept).tolist() == expected


def test_more_are_kept_outside_training():
    a = np.random.default_rng(0).normal(size=(8, 12))
    counts = {
        (encoding_k, training): np.count_nonzero(layers.KSparse(2, encoding_k)(a, training=training), axis=1)
        for encoding_k in (None, 6)
        for training in (True, False, None)
    }
    assert all((count == 2).all() for (encoding_k, training), count in counts.items() if training or not encoding_k)
    assert all((counts[6, training] == 6).all() for training in (False, None))


def test_gradient_flows_through_the_kept_only():
    a = tf.constant(np.random.default_rng(0).normal(size=(6, 10)))
    weight = tf.constant(np.random.default_rng(1).normal(size=(6, 10)))
    with tf.GradientTape() as tape:
        tape.watch(a)
        z = layers.KSparse(3, dtype="float64")(a)
        output = tf.reduce_sum(weight * z)
    kept = z.numpy() != 0
    np.testing.assert_array_equal(tape.gradient(output, a).numpy(), np.where(kept, weight, 0))


def test_a_value_that_is_not_a_number_is_not_hidden():
    assert np.isnan(layers.KSparse(1)(np.array([[np.nan, 1.0]]))).any()


@pytest.mark.parametrize("k, encoding_k", [(0, None), (-1, None), (2.5, None), (True, None), (2, 0)])
def test_bad_k_is_refused(k, encoding_k):
    with pytest.raises(ValueError, match="positive whole number"):
        layers.KSparse(k, encoding_k)


@pytest.mark.parametrize("k, encoding_k", [(6, None), (2, 6)])
def test_more_than_there_are_units_is_refused(k, encoding_k):
    with pytest.raises(ValueError, match="6 values cannot be kept of 5"):
        layers.KSparse(k, encoding_k)(np.ones((2, 5)))
    with pytest.raises(ValueError, match="6 values cannot be kept of 5"):
        layers.KSparse(k, encoding_k)(np.ones((2, 7, 5)))


def linear_and_k_sparse(**options):
    """What is the same on one device and on several: the L1 penalty is linear in the mean, the k largest need none."""
    return sparse_autoencoder(layers.SparsityPenalty(0.3), layers.KSparse(3, 5), **options)


def with_divergence(**options):
    return sparse_autoencoder(layers.SparsityPenalty(0.3, 0.1), **options)


def with_every_layer(**options):
    penalties = layers.SparsityPenalty(0.3, name="l1"), layers.SparsityPenalty(0.3, 0.1)
    return sparse_autoencoder(*penalties, layers.KSparse(3, 5), **options)


def test_compiled_by_xla_gives_the_same_weights(x):
    start, plain, compiled = (with_every_layer(jit_compile=jit) for jit in (False, False, True))
    for model in (plain, compiled):
        model.fit(x, batch_size=20, epochs=2, shuffle=False, verbose=0)  # the last batch of an epoch is partial
    for first, a, b in zip(start.get_weights(), plain.get_weights(), compiled.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert np.abs(a - first).max() > 1e-3


def test_saved_and_trained_elsewhere(x, tmp_path):
    """In a fresh process: loaded models give the same numbers; two devices do as one where the penalty is linear."""
    np.save(tmp_path / "x.npy", x)
    codes, logged = {}, {}
    for name, build in {"l1": linear_and_k_sparse, "kl": with_divergence}.items():
        model = build()
        model.save(tmp_path / f"{name}.keras")
        codes[name] = model.encode(x)
        logged[name] = model.fit(x, batch_size=24, epochs=2, shuffle=False, verbose=0).history
        np.savez(tmp_path / f"{name}_one.npz", *model.get_weights())
    code = """
import json

from aelib import layers, models

x = np.load("x.npy")
logged = {}
for name in ("l1", "kl"):
    model = keras.saving.load_model(f"{name}.keras", safe_mode=True)
    np.save(f"{name}_codes.npy", model.encode(x))
    with strategy.scope():
        model = keras.saving.load_model(f"{name}.keras", safe_mode=True)
    logged[name] = model.fit(x, batch_size=24, epochs=2, shuffle=False, verbose=0).history
    np.savez(f"{name}_two.npz", *model.get_weights())
print(json.dumps(logged))
"""
    printed = fresh_process.run(code, tmp_path)
    logged_on_two = json.loads(printed.splitlines()[-1])
    for name in ("l1", "kl"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}_codes.npy"), codes[name])
    assert logged_on_two["l1"].keys() == logged["l1"].keys()
    for key, values in logged["l1"].items():
        assert logged_on_two["l1"][key] == pytest.approx(values, rel=1e-5)
    one, two = (np.load(tmp_path / f"l1_{devices}.npz") for devices in ("one", "two"))
    for key in one:
        np.testing.assert_allclose(two[key], one[key], atol=1e-5)
    # A divergence of each half of the batch: a little more than that of the whole, by convexity.
    assert logged["kl"]["sparsity"][0] < logged_on_two["kl"]["sparsity"][0] < 1.05 * logged["kl"]["sparsity"][0]
