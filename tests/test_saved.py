"""Models saved by version 0.1.0 still load, compute and train as they did then.

`tests/saved/` has one small model a file, trained for two epochs, saved with Keras 3.15 and compressed as an archive: a
denoising autoencoder, one with tied weights and a k-sparse code, one with a sparsity penalty, a convolutional one, and
one of each subclass. `outputs.npz` has what version 0.1.0 gave for each, loaded in a process of its own: the codes and
reconstructions of `inputs.npz`, and the logged terms and the weights after one more epoch.
"""

import pathlib

import numpy as np
import pytest

from tests import fresh_process

SAVED = pathlib.Path(__file__).parent / "saved"
MODELS = {
    "denoising": "Autoencoder",
    "tied": "Autoencoder",
    "sparse": "Autoencoder",
    "convolutional": "Autoencoder",
    "contractive": "ContractiveAutoencoder",
    "variational": "VariationalAutoencoder",
    "adversarial": "AdversarialAutoencoder",
}

CODE = """
x, labels = np.load(folder / "inputs.npz").values()
model = keras.saving.load_model(folder / f"{name}.keras", safe_mode=True)
x = x.reshape(-1, *model.encoder.input_shape[1:])
results = {"codes": model.encode(x), "reconstructions": model.reconstruct(x)}
target = labels if name == "adversarial" else None
logged = model.fit(x, target, batch_size=8, epochs=1, shuffle=False, verbose=0).history
results["logged"] = [logged[key][0] for key in sorted(logged) if (name, key) != ("adversarial", "loss")]  # newer
results["weights"] = np.concatenate([weight.ravel() for weight in model.get_weights()])
np.savez("results.npz", **results)
print(type(model).__name__, keras.saving.get_registered_name(type(model)))
"""


@pytest.mark.parametrize("name", MODELS)
def test_a_model_saved_by_version_0_1_gives_the_same_numbers(name, tmp_path):
    header = f"import pathlib\nfolder, name = pathlib.Path({str(SAVED)!r}), {name!r}\n"
    printed = fresh_process.run(header + CODE, tmp_path)
    assert printed.split() == [MODELS[name], f"aelib>{MODELS[name]}"]
    outputs = np.load(SAVED / "outputs.npz")
    for key, found in np.load(tmp_path / "results.npz").items():
        np.testing.assert_allclose(found, outputs[f"{name}_{key}"], rtol=1e-4, atol=1e-5, err_msg=key)


def test_every_saved_model_has_a_case():
    assert {path.stem for path in SAVED.glob("*.keras")} == set(MODELS)
