"""Trains the small models that the site's pages run: python -m tools.site.explorer [NAME ...]

Each model is one JavaScript file in docs/_static/explorer/, with its weights in half precision, which every number on
the page is computed with. Pages read from a file cannot fetch data, but they can load a script.
"""

import base64
import json
import sys

import aelib  # noqa: F401 (first: it starts TensorFlow without its log lines)

# isort: split
import keras
import numpy as np

from aelib import data, layers, losses, metrics, models, networks, optimizers, priors
from tools.links import ROOT

FOLDER = ROOT / "docs" / "_static" / "explorer"
SEED, STEPS, BATCH_SIZE, LEARNING_RATE = 0, 4_000, 256, 2e-3
CODES = 1_000  # so many test digits are points of the map


# ---- the models


def plain(latent_dim, **options):
    """Hidden layers as in lessons 08 and 09; with wide codes one is enough, for the files' size."""
    hidden = [128, 64] if latent_dim == 2 else [128]
    encoder = networks.mlp_encoder(784, hidden, latent_dim)
    return models.Autoencoder(encoder, networks.mlp_decoder(latent_dim, hidden[::-1], 784), **options)


def sparse(latent_dim):
    encoder = networks.mlp_encoder(784, [128], latent_dim, latent_activation="sigmoid")
    encoder.add(layers.SparsityPenalty(2.0, sparsity_target=0.1))
    return models.Autoencoder(encoder, networks.mlp_decoder(latent_dim, [128], 784))


def variational(latent_dim):
    hidden = [128, 64] if latent_dim == 2 else [128]
    decoder = networks.mlp_decoder(latent_dim, hidden[::-1], 784, output_activation=None)
    return models.VariationalAutoencoder(networks.mlp_encoder(784, hidden, 2 * latent_dim), decoder, seed=SEED)


def adversarial(prior, num_labels=None):
    discriminator = networks.mlp_encoder(
        2 + (num_labels or 0), [128, 128], 1, activation="leaky_relu", name="discriminator"
    )
    parts = plain(2)
    return models.AdversarialAutoencoder(parts.encoder, parts.decoder, discriminator, prior, num_labels, seed=SEED)


MODELS = {
    "plain_2": ("plain", lambda: plain(2)),
    "variational_2": ("variational", lambda: variational(2)),
    "adversarial_gaussian_2": ("adversarial, Gaussian", lambda: adversarial(priors.gaussian_prior)),
    "adversarial_mixture_2": (
        "adversarial, petals",
        lambda: adversarial(priors.gaussian_mixture_prior, num_labels=10),
    ),
    "plain_32": ("plain", lambda: plain(32)),
    "denoising_32": ("denoising", lambda: plain(32, corruption=layers.MaskingNoise(0.5))),
    "sparse_32": ("sparse", lambda: sparse(32)),
    "variational_32": ("variational", lambda: variational(32)),
}


def trained(make, digits):
    keras.utils.set_random_seed(SEED)
    model = make()
    falling = keras.optimizers.schedules.CosineDecay

    def adam(rate, **moments):
        return optimizers.Adam(falling(rate, STEPS), **moments)

    labels, others = None, {}
    if isinstance(model, models.AdversarialAutoencoder):
        labels = digits.y_train if model.num_labels else None
        others = {
            "discriminator_optimizer": optimizers.Adam(8e-3, beta_1=0.5),
            "encoder_optimizer": adam(4e-3, beta_1=0.5),
        }
    loss = losses.BernoulliNLL() if isinstance(model, models.VariationalAutoencoder) else losses.SumSquaredError()
    model.compile(adam(LEARNING_RATE), loss, steps_per_execution=50, **others)
    model.fit(digits.x_train, labels, batch_size=BATCH_SIZE, steps_per_epoch=100, epochs=STEPS // 100, verbose=0)
    return model


# ---- what a page gets


def dense_layers(model):
    """Returns the [(part, kernel, bias, activation)] of a model, as a page computes it: a code is its mean."""
    found = []
    for part in ("encoder", "decoder"):
        for layer in getattr(model, part).layers:
            if isinstance(layer, keras.layers.Dense):
                kernel, bias = (np.asarray(weights, "float16") for weights in layer.get_weights())
                found.append([part, kernel, bias, keras.activations.serialize(layer.activation)])
    if isinstance(model, models.VariationalAutoencoder):
        mean = [number for number, layer in enumerate(found) if layer[0] == "encoder"][-1]
        half = found[mean][2].size // 2
        found[mean][1:3] = found[mean][1][:, :half], found[mean][2][:half]
        found[-1][3] = "sigmoid"
    return found


def as_keras(dense):
    """Returns an encoder and a decoder of Keras with such layers."""
    parts = {}
    for part in ("encoder", "decoder"):
        rows = [row[1:] for row in dense if row[0] == part]
        network = keras.Sequential([keras.Input((rows[0][0].shape[0],))])
        for kernel, bias, activation in rows:
            layer = keras.layers.Dense(bias.size, activation)
            network.add(layer)
            layer.set_weights([kernel.astype("float32"), bias.astype("float32")])
        parts[part] = network
    return parts["encoder"], parts["decoder"]


def text(array, dtype):
    return base64.b64encode(np.ascontiguousarray(array, dtype=f"<{np.dtype(dtype).str[1:]}").tobytes()).decode()


def script(name, title, model, digits):
    """Returns the JavaScript file of one model."""
    dense = dense_layers(model)
    encoder, decoder = as_keras(dense)
    codes = encoder.predict(digits.x_test, verbose=0)
    errors = metrics.squared_error_per_image(digits.x_test, decoder.predict(codes, verbose=0))
    facts = {
        "name": name,
        "title": title,
        "layers": [[part, *kernel.shape, activation] for part, kernel, _, activation in dense],
        "weights": text(np.concatenate([np.append(kernel, bias) for _, kernel, bias, _ in dense]), "float16"),
        # of each number of the code, over the test digits: its 2nd, 10th, 50th, 90th and 98th percentile
        "spread": np.percentile(codes, [2, 10, 50, 90, 98], axis=0).T.round(3).tolist(),
        # of the squared error of the test digits: 0th, 1st, ... 100th percentile
        "errors": np.percentile(errors, np.arange(101)).round(2).tolist(),
    }
    if codes.shape[1] == 2:
        facts["codes"] = text(codes[:CODES], "float16")
    return f"AelibExplorer.add({json.dumps(facts)});\n"


def digits_script(digits):
    """Returns the JavaScript file of what all models share: the labels of the map's points, and ten digits."""
    first = [int(np.flatnonzero(digits.y_test == digit)[0]) for digit in range(10)]
    images = (255 * digits.x_test[first]).round()
    facts = {"labels": "".join(map(str, digits.y_test[:CODES])), "digits": text(images, "uint8")}
    return f"AelibExplorer.digits({json.dumps(facts)});\n"


def store(name, made):
    """Writes a script in one step, so that an interruption leaves the old one whole."""
    path = FOLDER / f"{name}.js"
    path.with_suffix(".new").write_text(made, encoding="utf-8")
    path.with_suffix(".new").replace(path)
    print(f"{name}: {len(made) / 1e3:.0f} kB", flush=True)


def main():
    names = sys.argv[1:] or list(MODELS)
    if unknown := set(names) - set(MODELS):
        sys.exit(f"make explorer: there is no model {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}.")
    try:
        digits = data.load_mnist("full")
    except OSError as error:
        sys.exit(f"make explorer: {error}\nNothing was changed.")
    store("digits", digits_script(digits))
    for name in names:
        title, make = MODELS[name]
        store(name, script(name, title, trained(make, digits), digits))


if __name__ == "__main__":
    main()
