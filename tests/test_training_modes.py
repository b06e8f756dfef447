"""Every network is called in training mode by the steps of `fit`, and never by those of `evaluate`."""

import keras
import numpy as np
import pytest

from tests.examples import BATCH, FEATURES, KINDS, LABELS, N, make

PARTS = "encoder", "decoder", "discriminator", "generator"


@pytest.fixture
def modes(monkeypatch):
    """What `training` each network was called with, by network, in the order of the calls."""
    noted, plain = {}, keras.Sequential.call

    def call(self, inputs, training=None, mask=None):
        noted.setdefault(id(self), []).append(training)
        return plain(self, inputs, training=training, mask=mask)

    monkeypatch.setattr(keras.Sequential, "call", call)
    return noted


def of_parts(model, modes):
    parts = {name: getattr(model, name, None) for name in PARTS}
    found = {name: modes.get(id(part)) for name, part in parts.items() if isinstance(part, keras.Sequential)}
    modes.clear()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_in_training_mode_in_training_only(kind, modes):
    rng = np.random.default_rng(0)
    x, labels = rng.uniform(size=(N, FEATURES)).astype("float32"), rng.integers(LABELS, size=N)
    arguments = (x, labels) if kind == "adversarial, labelled" else (x,)
    model = make(kind)
    modes.clear()
    model.fit(*arguments, batch_size=BATCH, verbose=0)
    for name, calls in of_parts(model, modes).items():
        # The contractive penalty is that of the encoder as it is used afterwards; its closed form needs no call.
        penalized = kind == "projected" and name == "encoder"
        assert set(calls) == ({True, False} if penalized else {True}), name
    model.evaluate(*arguments, batch_size=BATCH, verbose=0)
    for name, calls in of_parts(model, modes).items():
        assert set(calls) == {False}, name
