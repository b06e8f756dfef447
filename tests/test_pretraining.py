import keras
import numpy as np
import pytest

from aelib import losses, models, networks
from aelib.pretraining import pretrain_layerwise
from tests import fresh_process

WIDTHS = [12, 7, 3]


def data(count=96, features=20):
    """Images with three directions of variation, so that there is something to learn."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 3)) @ rng.normal(size=(3, features))
    return (1 / (1 + np.exp(-x))).astype("float32")


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


class Recorder:
    """Stands in for `Autoencoder.fit`: notes what each stage was trained on, and its weights before and after."""

    def __init__(self, monkeypatch):
        self.stages = []
        fit = models.Autoencoder.fit

        def recorded(model, x, **kwargs):
            before = model.get_weights()
            history = fit(model, x, **kwargs)
            after = model.get_weights()
            self.stages.append({"model": model, "x": x, "before": before, "after": after, "history": history})
            return history

        monkeypatch.setattr(models.Autoencoder, "fit", recorded)


@pytest.fixture
def recorder(monkeypatch):
    return Recorder(monkeypatch)


def test_unrolled_network_is_the_composition_of_the_stages(recorder):
    keras.utils.set_random_seed(0)
    x = data()
    deep = pretrain_layerwise(x, WIDTHS, optimizer=lambda: keras.optimizers.SGD(0.05), epochs=3, verbose=0)
    z = x
    for stage, activation in zip(recorder.stages, [sigmoid, sigmoid, lambda a: a], strict=True):
        np.testing.assert_allclose(stage["x"], z, atol=1e-6)  # each stage has the codes of the one before
        kernel, bias, _, _ = stage["after"]
        z = activation(z @ kernel + bias)
    np.testing.assert_allclose(deep.encode(x), z, atol=1e-5)
    for stage in reversed(recorder.stages):
        _, _, kernel, bias = stage["after"]
        z = sigmoid(z @ kernel + bias)
    np.testing.assert_allclose(deep.decode(deep.encode(x)), z, atol=1e-5)


def test_each_stage_trains_its_two_layers_and_leaves_the_others(recorder):
    deep = pretrain_layerwise(data(), WIDTHS, epochs=2, verbose=0)
    pairs = zip(deep.encoder.layers, reversed(deep.decoder.layers), strict=True)
    for stage, (inner, outer) in zip(recorder.stages, pairs, strict=True):
        assert all(np.abs(a - b).max() > 0 for a, b in zip(stage["before"], stage["after"], strict=True))
        final = inner.get_weights() + outer.get_weights()
        for trained, kept in zip(stage["after"], final, strict=True):
            np.testing.assert_array_equal(trained, kept)


def test_one_stage_is_a_plain_autoencoder(recorder):
    """With one width nothing is greedy: the same steps as fit from the same weights, squared error by default."""
    x = data()
    deep = pretrain_layerwise(x, [3], optimizer=lambda: keras.optimizers.SGD(0.05), epochs=1, batch_size=96, verbose=0)
    plain = models.Autoencoder(networks.mlp_encoder(20, [], 3), networks.mlp_decoder(3, [], 20))
    plain.set_weights(recorder.stages[0]["before"])
    plain.compile(keras.optimizers.SGD(0.05), losses.SumSquaredError())
    plain.fit(x, epochs=1, batch_size=96, verbose=0)
    for greedy, joint in zip(deep.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(greedy, joint, atol=1e-6)


def test_same_architecture_as_the_networks_it_replaces():
    deep = pretrain_layerwise(data(), WIDTHS, activation="tanh", output_activation=None, epochs=1, verbose=0)
    encoder = networks.mlp_encoder(20, [12, 7], 3, activation="tanh")
    decoder = networks.mlp_decoder(3, [7, 12], 20, activation="tanh", output_activation=None)
    for made, wanted in ((deep.encoder, encoder), (deep.decoder, decoder)):
        assert [layer.get_config() for layer in made.layers] == [
            {**theirs.get_config(), "kernel_initializer": ours.get_config()["kernel_initializer"]}
            for ours, theirs in zip(made.layers, wanted.layers, strict=True)
        ]


def test_one_example_and_one_unit_are_enough():
    deep = pretrain_layerwise(data()[:1], [1], epochs=1, verbose=0)
    assert deep.encode(data()).shape == (96, 1)


def test_every_kernel_starts_from_the_initializer(recorder):
    initializer = keras.initializers.Constant(0.5)
    pretrain_layerwise(data(), WIDTHS, kernel_initializer=initializer, epochs=1, verbose=0)
    assert [np.unique(kernel) for stage in recorder.stages for kernel in stage["before"][::2]] == [0.5] * 6


def test_fine_tuning_goes_on_from_where_pretraining_ended():
    keras.utils.set_random_seed(0)
    x = data()
    options = {"optimizer": lambda: keras.optimizers.Adam(0.03), "epochs": 10, "batch_size": 16, "verbose": 0}
    deep = pretrain_layerwise(x, WIDTHS, activation="tanh", **options)
    assert not deep.compiled
    deep.compile(keras.optimizers.Adam(0.01), losses.SumSquaredError())
    before = deep.evaluate(x, verbose=0)
    spread = np.square(x - x.mean(axis=0)).sum(axis=1).mean()
    assert before < 0.2 * spread
    deep.fit(x, epochs=10, batch_size=16, verbose=0)
    assert deep.evaluate(x, verbose=0) < 0.9 * before


@keras.saving.register_keras_serializable(package="tests")
class Blank(keras.layers.Layer):
    """A corruption that leaves nothing."""

    def call(self, inputs, training=None):
        return keras.ops.zeros_like(inputs) if training else inputs


def test_corruption_is_in_its_own_stage_in_training_only(recorder):
    """Nothing comes through a blanked input, so that this stage's encoder kernel gets no gradient."""
    x = data()
    deep = pretrain_layerwise(x, WIDTHS, corruption=[None, Blank(), None], epochs=1, verbose=0)
    moved = [np.abs(stage["after"][0] - stage["before"][0]).max() > 0 for stage in recorder.stages]
    assert moved == [True, False, True]
    kernel, bias = recorder.stages[1]["after"][:2]
    np.testing.assert_allclose(recorder.stages[2]["x"], sigmoid(recorder.stages[1]["x"] @ kernel + bias), atol=1e-5)
    first_corrupted = pretrain_layerwise(x, [3], corruption=[Blank()], epochs=1, verbose=0)
    assert deep.corruption is None and first_corrupted.corruption is None


def test_each_stage_has_its_own_optimizer_and_the_loss_that_was_asked_for(recorder):
    made = []

    def optimizer():
        made.append(keras.optimizers.SGD(0.01, momentum=0.9))
        return made[-1]

    pretrain_layerwise(data(), WIDTHS, optimizer=optimizer, loss="mae", epochs=2, batch_size=32, verbose=0)
    assert [stage["model"].optimizer for stage in recorder.stages] == made
    assert [int(one.iterations) for one in made] == [6, 6, 6]
    stage = recorder.stages[-1]
    error = np.abs(stage["x"] - stage["model"].reconstruct(stage["x"])).mean()
    assert stage["model"].evaluate(stage["x"], verbose=0) == pytest.approx(error, rel=1e-4)


def test_a_line_for_each_stage_or_none(recorder, capsys):
    pretrain_layerwise(data(), WIDTHS, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "stage 1 of 3: 20 to 12 and back",
        "stage 2 of 3: 12 to 7 and back",
        "stage 3 of 3: 7 to 3 and back",
    ]
    losses_seen = recorder.stages[1]["history"].history["loss"]
    assert f"{losses_seen[0]:.4g} in the first epoch, {losses_seen[1]:.4g} in the last" in lines[1]
    pretrain_layerwise(data(), WIDTHS, epochs=1, verbose=0)
    assert capsys.readouterr().out == ""


FRESH = """
from aelib import losses, models
from aelib.pretraining import pretrain_layerwise

x = np.load("x.npy")
model = keras.models.load_model("deep.keras", safe_mode=True)
np.save("reconstruction.npy", model.reconstruct(x))

def train(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        return pretrain_layerwise(x, [12, 7], optimizer=lambda: keras.optimizers.SGD(0.05), batch_size=32, epochs=2,
                                  verbose=0).get_weights()

one, two = train(tf.distribute.OneDeviceStrategy("CPU:0")), train(strategy)
print(max(np.abs(a - b).max() for a, b in zip(one, two, strict=True)))
"""


def test_loaded_in_a_fresh_process_and_on_two_devices(tmp_path):
    x = data()
    deep = pretrain_layerwise(x, WIDTHS, epochs=1, verbose=0)
    deep.save(tmp_path / "deep.keras")
    np.save(tmp_path / "x.npy", x)
    out = fresh_process.run(FRESH, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "reconstruction.npy"), deep.reconstruct(x), atol=1e-6)
    assert float(out.split()[-1]) < 1e-5


def test_bad_input_is_refused():
    x, shared = data(), keras.optimizers.SGD()
    hole = np.where(np.arange(20) == 3, np.nan, x)
    for arguments, message in [
        ({"x": x[0]}, r"shape \(20,\)"),
        ({"x": x[:0]}, r"shape \(0, 20\)"),
        ({"x": hole}, "finite"),
        ({"x": x.astype(str)}, "type <U"),
        ({"widths": []}, "widths is empty"),
        ({"widths": [12, 0]}, "a width is 0"),
        ({"widths": [12, 3.5]}, "a width is 3.5"),
        ({"epochs": 0}, "epochs is 0"),
        ({"corruption": [None]}, "list of 3 entries"),
        ({"corruption": Blank()}, "list of 3 entries"),
        ({"optimizer": shared}, "one SGD for all stages"),
        ({"optimizer": lambda: shared}, "same object twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            pretrain_layerwise(**{"x": x, "widths": WIDTHS, "epochs": 1, "verbose": 0, **arguments})
