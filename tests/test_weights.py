"""Weights of examples count wherever Keras takes them, and evaluation has draws of its own."""

import keras
import numpy as np
import pytest

from aelib import layers, losses
from aelib.models import Autoencoder
from tests.examples import (
    BATCH,
    FEATURES,
    KINDS,
    LABELS,
    SOURCES,
    UNLABELLED,
    Batches,
    N,
    as_data_set,
    assert_equal,
    evaluated,
    make,
    trained,
)


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(2, size=(N, FEATURES)).astype("float32")


@pytest.fixture
def weights():
    return np.random.default_rng(1).uniform(0.1, 2, size=N).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(2).integers(LABELS, size=N)


@pytest.mark.parametrize("kind", UNLABELLED)
def test_weights_without_a_target_count_as_with_one(kind, x, weights):
    unweighted = evaluated(kind, x)
    expected = evaluated(kind, x, x, sample_weight=weights)
    assert_equal(evaluated(kind, x, sample_weight=weights), expected, different=unweighted)
    assert_equal(evaluated(kind, x, sample_weight=weights[:, None]), expected)
    assert_equal(evaluated(kind, x, sample_weight=np.ones(N)), unweighted)
    expected = trained(kind, x, x, sample_weight=weights)
    assert_equal(trained(kind, x, sample_weight=weights), expected)
    one, two = make(kind), make(kind)
    assert one.test_on_batch(x, sample_weight=weights) == pytest.approx(two.test_on_batch(x, x, weights), rel=1e-5)
    assert one.train_on_batch(x, sample_weight=weights) == pytest.approx(two.train_on_batch(x, x, weights), rel=1e-5)


@pytest.fixture(scope="module")
def on_arrays():
    """What training with weights gives, once for every kind of model."""
    return {}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_a_data_set_count_as_those_of_arrays(kind, source, x, labels, weights, on_arrays):
    target = labels if kind == "adversarial, labelled" else None
    if kind not in on_arrays:
        validation = {"validation_data": (x, target, weights)}
        on_arrays[kind] = trained(kind, x, target, sample_weight=weights, **validation)
    given = SOURCES[source](x, target, weights)
    options = {"validation_data": SOURCES[source](x, target, weights)}
    if source == "generator":
        options |= {"steps_per_epoch": 2, "validation_steps": 2}
    assert_equal(trained(kind, given, **options), on_arrays[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_a_split_stay_with_their_examples(kind, x, labels, weights):
    """For both parts, shuffled and in order, and of validation data that are given apart."""
    target = labels if kind == "adversarial, labelled" else None
    train, test = slice(7), slice(7, None)
    parts = [(x[part], None if target is None else target[part], weights[part]) for part in (train, test)]
    expected = trained(kind, *parts[0][:2], sample_weight=parts[0][2], validation_data=parts[1])
    options = {"sample_weight": weights, "validation_split": 0.25}
    assert_equal(trained(kind, x, target, **options), expected)
    shuffled = trained(kind, x, target, shuffle=True, batch_size=N, **options)
    whole = trained(kind, *parts[0][:2], sample_weight=parts[0][2], validation_data=parts[1], batch_size=N)
    if kind in ("plain", "closed_form"):  # the others draw for each example, in another order
        assert_equal(shuffled, whole)
    model = make(kind)
    model.set_weights([shuffled[index] for index in range(len(model.get_weights()))])
    logged = model.evaluate(*parts[1][:2], N, 0, parts[1][2], return_dict=True)
    for key, value in logged.items():
        assert shuffled[f"val_{key}"] == pytest.approx(value, rel=1e-5)


def test_every_term_of_the_variational_loss_is_a_mean_of_weighted_examples(x, weights):
    """Against NumPy, with the draws of a layer that has the model's seed."""
    model = make("variational")
    z_mean, z_log_var = model.posterior(x)
    z = np.concatenate([layers.Sampling(seed=1)((z_mean, z_log_var))])
    logits = np.asarray(model.decoder(z), "float64")
    nll = np.sum(np.logaddexp(0, logits) - x * logits, axis=1)
    kl = np.sum(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=1) / 2
    logged = model.evaluate(x, sample_weight=weights, batch_size=N, verbose=0, return_dict=True)
    expected = {"reconstruction": np.mean(weights * nll), "kl": np.mean(weights * kl)}
    expected["loss"] = expected["reconstruction"] + 0.7 * expected["kl"]
    assert logged == pytest.approx(expected, rel=1e-5)


def test_an_example_of_weight_0_does_not_train(x):
    weights = np.repeat([1.0, 0.0], N // 2)
    for kind in ("plain", "closed_form"):
        model, first = make(kind), make(kind)
        model.fit(x, sample_weight=2 * weights, batch_size=N, verbose=0)
        first.fit(x[: N // 2], batch_size=N, verbose=0)
        for one, two in zip(model.get_weights(), first.get_weights(), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)


def test_weighted_metrics_are_weighted_and_metrics_are_not(x, weights):
    metrics = {"metrics": [keras.metrics.MeanSquaredError("mse")]}
    metrics["weighted_metrics"] = [keras.metrics.MeanSquaredError("weighted")]
    model = make("plain", **metrics)
    errors = np.square(x - model.reconstruct(x)).mean(axis=1)
    logged = model.evaluate(x, sample_weight=weights, verbose=0, return_dict=True)
    assert logged["mse"] == pytest.approx(errors.mean(), rel=1e-5)
    assert logged["weighted"] == pytest.approx(np.average(errors, weights=weights), rel=1e-5)


def sequences_model(loss):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(1)])
    model = Autoencoder(encoder, keras.Sequential([keras.Input((None, 1)), keras.layers.Dense(2)]))
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=True)
    return model


def test_weights_of_time_steps_count_where_the_loss_is_one_value_a_step():
    x = np.random.default_rng(0).normal(size=(4, 4, 2)).astype("float32")  # as many steps as examples
    weights = np.random.default_rng(1).uniform(size=(4, 4)).astype("float32")
    model = sequences_model("mse")
    expected = np.mean(weights * np.square(x - model.reconstruct(x)).mean(axis=2))
    for target in (x, None):
        assert model.evaluate(x, target, sample_weight=weights, verbose=0) == pytest.approx(expected, rel=1e-5)
        logged = model.fit(x, target, sample_weight=weights, validation_data=(x, target, weights), verbose=0).history
        assert logged["loss"][0] == logged["val_loss"][0] == pytest.approx(expected, rel=1e-5)
        with pytest.raises(ValueError, match=r"shape \(4, 4\), but sum_squared_error is one value an example"):
            sequences_model(losses.SumSquaredError()).fit(x, target, sample_weight=weights, verbose=0)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_weights_that_a_term_of_one_value_an_example_cannot_take_are_refused(kind, x, labels):
    target = labels if kind == "adversarial, labelled" else None
    model = make(kind)
    if kind != "energy_based":  # whose loss is given
        model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=r"one value an example: give one weight an example, shape \(n,\)"):
        model.fit(x, target, sample_weight=np.ones((N, FEATURES)), batch_size=N, verbose=0)


@pytest.mark.parametrize("kind", UNLABELLED)
def test_weights_of_classes_are_refused_where_the_target_has_no_class(kind, x):
    model = make(kind)
    for arguments in ((x,), (x, x), (as_data_set(x, x),), (Batches(x, x),)):
        with pytest.raises(ValueError, match="target of this model has none: give sample_weight"):
            model.fit(*arguments, class_weight={0: 2.0}, verbose=0)
    with pytest.raises(ValueError, match="target of this model has none: give sample_weight"):
        model.train_on_batch(x, class_weight={0: 2.0})


def test_weights_of_classes_are_those_of_the_labels(x, labels):
    kind, class_weight = "adversarial, labelled", {0: 3.0, 2: 0.5}
    expected = trained(kind, x, labels, sample_weight=np.array([3.0, 1.0, 0.5])[labels])
    for given in ((x, labels), (x, labels[:, None]), (as_data_set(x, labels),), (Batches(x, labels),)):
        assert_equal(trained(kind, *given, class_weight=class_weight), expected)
    one = make(kind).train_on_batch(x, labels, class_weight=class_weight)
    two = make(kind).train_on_batch(x, labels, sample_weight=np.array([3.0, 1.0, 0.5])[labels])
    assert one == pytest.approx(two, rel=1e-5)
    for arguments, message in [
        ({"sample_weight": np.ones(N)}, "class_weight and sample_weight are both given"),
        ({"y": None}, "by their label in y, shape .*, but there is none"),
        ({"y": np.eye(LABELS, dtype=int)[labels]}, r"by their label in y, .* it has shape \(10, 3\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(kind).fit(**{"x": x, "y": labels, "class_weight": class_weight, "verbose": 0} | arguments)


@pytest.mark.parametrize("kind", ["projected", "variational", "adversarial", "energy_based", "adversarial, labelled"])
def test_evaluation_repeats_and_leaves_training_alone(kind, x, labels):
    target = labels if kind == "adversarial, labelled" else None
    model = make(kind)
    first, second = (model.evaluate(x, target, verbose=0, return_dict=True) for _ in range(2))
    assert first == second
    expected = trained(kind, x, target, epochs=2)
    found = trained(kind, x, target, epochs=2, validation_data=(x, target), validation_batch_size=2)
    assert_equal({key: value for key, value in found.items() if not str(key).startswith("val_")}, expected)
    if kind.startswith(("adversarial", "energy_based")):
        model = make(kind)
        model.sample(3)
        model.fit(x, target, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
        for index, weight in enumerate(model.get_weights()):
            np.testing.assert_allclose(weight, expected[index], rtol=1e-6)
