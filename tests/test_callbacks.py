"""The progress bar that `fit` shows in a notebook, and nowhere else."""

import re
import sys
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tqdm

from aelib import callbacks, losses, networks, pretraining
from aelib.models import Autoencoder


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")


@pytest.fixture
def notebook(monkeypatch):
    """Looks like a kernel to aelib and to tqdm, one without ipywidgets, and shows every update of the bar."""
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("TQDM_DISABLE")
    bar = callbacks._tqdm()
    monkeypatch.setattr(callbacks, "_tqdm", lambda: lambda **options: bar(**options, mininterval=0, miniters=0))


def model(**compile_options):
    keras.utils.set_random_seed(0)
    model = Autoencoder(networks.mlp_encoder(6, [], 2), networks.mlp_decoder(2, [], 6))
    model.compile("adam", losses.SumSquaredError(), **compile_options)
    return model


def states(printed):
    """What the bar has shown, one after the other: epochs, percentages, and the logged values."""
    found = re.findall(r"Epoch (\d+)/(\d+): +(\d+)%\|[^|]*\| (?:\d\d:\d\d|\?) left([^\r]*)", printed)
    assert found, repr(printed)
    return [(int(epoch), int(of), int(percentage), values.strip(", ")) for epoch, of, percentage, values in found]


def is_gone(printed):
    """The last that is written to the line is blanks over the whole of it."""
    *_, last = (part for part in printed.split("\r") if part)
    return not last.strip() and not tqdm.tqdm._instances


def test_a_notebook_sees_one_bar_that_disappears(x, notebook, capsys):
    history = model().fit(x, batch_size=10, epochs=3, validation_data=(x,)).history
    printed = capsys.readouterr().out
    shown = states(printed)
    assert is_gone(printed) and "\n" not in printed
    assert [epoch for epoch, *_ in shown] == sorted(epoch for epoch, *_ in shown)
    percentages = [percentage for *_, percentage, _ in shown]
    for step in range(13):
        assert min(abs(100 * step / 12 - percentage) for percentage in percentages) < 1
    epoch, of, percentage, values = shown[-1]
    assert (epoch, of, percentage) == (3, 3, 100)
    assert values == f"loss={history['loss'][-1]:.3g}, val_loss={history['val_loss'][-1]:.3g}"


def test_the_time_left_is_that_of_the_steps_to_come(notebook, capsys):
    bar, start = callbacks.ProgressBar(), time.time()
    bar.set_params({"epochs": 2, "steps": 10})
    bar.on_epoch_begin(0)
    bar.bar.start_t = start - 5  # as if the five steps that come now had taken five seconds
    bar.bar.smoothing = 0
    bar.on_train_batch_end(4, {"loss": 1.0})
    bar.close()
    assert "25%" in (printed := capsys.readouterr().out) and "| 00:15 left, loss=1" in printed


@pytest.mark.parametrize("steps_per_execution", [1, 4, 5])
def test_steps_are_counted_whatever_the_steps_an_execution(x, notebook, capsys, steps_per_execution):
    model(steps_per_execution=steps_per_execution).fit(x, batch_size=8, steps_per_epoch=10)
    percentages = [percentage for *_, percentage, _ in states(capsys.readouterr().out)]
    wanted = {round(100 * min(step, 10) / 10) for step in range(0, 10 + steps_per_execution, steps_per_execution)}
    assert set(percentages) == wanted


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_generator_of_unknown_length_moves_the_bar_by_epochs(x, notebook, capsys):
    batches = tf.data.Dataset.from_tensor_slices(x).batch(10).filter(lambda batch: True)
    model().fit(batches, epochs=4, shuffle=False)
    assert {percentage for *_, percentage, _ in states(capsys.readouterr().out)} == {0, 25, 50, 75, 100}


def test_nothing_is_left_behind_when_training_ends_early(x, notebook, capsys):
    def fail(batch, logs):
        raise KeyboardInterrupt

    def stop(batch, logs):
        training.stop_training = True

    training = model()
    training.fit(x, epochs=3, callbacks=keras.callbacks.LambdaCallback(on_train_batch_end=stop))
    assert is_gone(capsys.readouterr().out)
    with pytest.raises(KeyboardInterrupt):
        training.fit(x, epochs=3, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=fail)])
    assert is_gone(capsys.readouterr().out)
    with pytest.raises(tf.errors.InvalidArgumentError, match="broken"):
        broken = tf.data.Dataset.from_tensors(x).map(lambda x: tf.debugging.check_numerics(x / 0, "broken"))
        training.fit(broken, shuffle=False)
    assert not tqdm.tqdm._instances


def test_it_goes_on_from_the_initial_epoch_and_serves_twice(x, notebook, capsys):
    bar, training = callbacks.ProgressBar(), model()
    for _ in range(2):
        training.fit(x, epochs=4, initial_epoch=3, verbose=0, callbacks=[bar])
        shown = states(capsys.readouterr().out)
        assert (shown[0][2], shown[-1][2]) == (75, 100) and {epoch for epoch, *_ in shown} == {4}


def test_verbose_is_that_of_keras_where_it_is_given(x, notebook, capsys):
    training = model()
    training.fit(x, verbose=0)
    assert capsys.readouterr().out == ""
    training.fit(x, verbose=2)
    assert re.fullmatch(r"2/2 - .* - loss: \d\.\d+\n", capsys.readouterr().out)
    training.fit(x, verbose=1)
    assert "━" in (printed := capsys.readouterr().out) and "left" not in printed


def test_outside_a_notebook_it_is_the_bar_of_keras(x, capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    model().fit(x)
    assert "━" in (printed := capsys.readouterr().out) and "left" not in printed


def test_nothing_is_shown_where_outputs_are_stored(x, notebook, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    model().fit(x, epochs=2)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_every_stage_of_pretraining_shows_a_bar_and_keeps_its_line(x, notebook, capsys):
    pretraining.pretrain_layerwise(x, [4, 2], epochs=2)
    printed = capsys.readouterr().out
    assert len(states(printed)) > 4
    assert [line.split("\r")[-1].split(":")[0] for line in printed.splitlines(keepends=True) if "stage" in line] == [
        "stage 1 of 2",
        "stage 2 of 2",
    ]
    pretraining.pretrain_layerwise(x, [4, 2], epochs=2, verbose=0)
    assert capsys.readouterr().out == ""
