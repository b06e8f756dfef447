"""What a longer training draws than the minutes of a lesson: python -m benchmarks.longer_samples [variational] ...

A model is that of its lesson, with several times the updates, a rate that falls to zero, and several seeds. Stored are

- results/longer_<model>.png: the first 100 images that the first seed's model draws, none left out;
- results/longer_<model>.json: the configuration, and for every seed what the model's function measures, and the share
  of 1,000 drawn images that the lesson's judge takes for digits.

To add a model, write a function `(digits, config) -> (facts, drawn)` and give it an entry in MODELS and CONFIG: `facts`
is a dictionary of numbers, `drawn` one of images, shape (n, 784), by where their codes come from; the first of them is
shown.
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from scipy.spatial.distance import cdist
from sklearn.mixture import GaussianMixture

from aelib import data, losses, metrics, models, networks, optimizers, priors
from benchmarks import common

CONFIG = {
    "variational": {
        "lesson": "08",
        "updates": 20_000,
        "batch": 100,
        "learning_rate": 3e-3,
        "warm_up": 800,
        "hidden": [200, 200],
        "latent_dim": 50,
        "components": 20,
        "drawn": 1000,
        "seeds": [1, 2],
        "judge": {"classifiers": 3, "updates": 500},
    },
    "adversarial": {
        "lesson": "09",
        "updates": 20_000,
        "batch": 64,
        "learning_rate": 1e-3,
        "spiral": {"encoder_rate": 4e-3, "discriminator_rate": 8e-3},
        "gaussian": {"encoder_rate": 5e-4, "discriminator_rate": 1e-3},
        "hidden": [128, 64],
        "discriminator": [128, 128],
        "latent_dim": 8,
        "bandwidths": [0.25, 0.5, 1.0, 2.0],
        "components": 20,
        "drawn": 1000,
        "seeds": [1, 2],
        "judge": {"classifiers": 1, "updates": 1000},
    },
}


def fit(model, batches, updates, **options):
    """Trains in epochs of 100 updates."""
    model.fit(batches, steps_per_epoch=100, epochs=updates // 100, shuffle=False, verbose=0, **options)


def variational(digits, config):
    """Lesson 08's: images binarized anew at every update, summed cross-entropy and divergence, a KL warm-up."""
    width, hidden = config["latent_dim"], config["hidden"]
    decoder = networks.mlp_decoder(width, hidden[::-1], 784, output_activation=None)
    model = models.VariationalAutoencoder(networks.mlp_encoder(784, hidden, 2 * width), decoder)
    rate = keras.optimizers.schedules.CosineDecay(config["learning_rate"], config["updates"])
    model.compile(optimizers.Adam(rate), losses.BernoulliNLL(), steps_per_execution=50)
    x = tf.constant(digits.x_train)
    rows = tf.data.Dataset.range(len(x)).shuffle(len(x)).repeat().batch(config["batch"])
    grey = rows.map(lambda row: tf.gather(x, row))
    binarized = grey.map(lambda batch: tf.cast(tf.random.uniform(tf.shape(batch)) < batch, "float32"))
    warm_up = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: model.kl_weight.assign(min(1, 100 * epoch / config["warm_up"]))
    )
    fit(model, binarized, config["updates"], callbacks=[warm_up])

    rng = np.random.default_rng(0)
    x_test, known = (
        (rng.uniform(size=images.shape) < images).astype("float32") for images in (digits.x_test, digits.x_train[:5000])
    )
    found = model.evaluate(x_test, batch_size=500, verbose=0, return_dict=True)
    facts = {name: found[name] for name in ("reconstruction", "kl")} | {"bound": found["reconstruction"] + found["kl"]}
    z_mean, z_log_var = model.posterior(known)
    codes = z_mean + np.exp(z_log_var / 2) * rng.normal(size=z_mean.shape)
    used = np.mean(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=0) / 2 > 0.05
    mixture = GaussianMixture(config["components"], reg_covar=1e-4, tol=0.01, max_iter=500, random_state=0)
    fitted = rng.normal(size=(config["drawn"], width))
    fitted[:, used] = rng.permutation(mixture.fit(codes[:, used]).sample(config["drawn"])[0])
    return facts | {"numbers with KL above 0.05 nats": used.sum()}, {
        "prior": model.sample(config["drawn"]),
        "mixture": model.decode(fitted.astype("float32")),
        "posteriors": model.decode(codes[: config["drawn"]].astype("float32")),
    }


def adversarial(digits, config):
    """Lesson 09's: two numbers led to the spiral, eight to a Gaussian, and eight plain ones with a mixture."""

    def falling_adam(rate, **moments):
        return optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, config["updates"]), **moments)

    def pair(latent_dim):
        hidden = config["hidden"]
        return networks.mlp_encoder(784, hidden, latent_dim), networks.mlp_decoder(latent_dim, hidden[::-1], 784)

    def trained(model, **more_optimizers):
        rate = falling_adam(config["learning_rate"])
        model.compile(rate, losses.SumSquaredError(), steps_per_execution=50, **more_optimizers)
        epochs = {"steps_per_epoch": 100, "epochs": config["updates"] // 100}
        model.fit(digits.x_train, batch_size=config["batch"], verbose=0, **epochs)
        return model

    def led(prior, latent_dim, encoder_rate, discriminator_rate):
        hidden = config["discriminator"]
        discriminator = networks.mlp_encoder(latent_dim, hidden, 1, activation="leaky_relu", name="discriminator")
        return trained(
            models.AdversarialAutoencoder(*pair(latent_dim), discriminator, prior),
            discriminator_optimizer=optimizers.Adam(discriminator_rate, beta_1=0.5),
            encoder_optimizer=falling_adam(encoder_rate, beta_1=0.5),
        )

    width = config["latent_dim"]
    on_spiral = led(priors.swiss_roll_prior, 2, **config["spiral"])
    gaussian = led(priors.gaussian_prior, width, **config["gaussian"])
    plain = trained(models.Autoencoder(*pair(width)))

    rng = np.random.default_rng(0)
    z, of_prior = on_spiral.encode(digits.x_test), np.asarray(priors.swiss_roll_prior(1000, seed=1))
    at_random = z[rng.permutation(len(z))[:1000]]
    turns = np.linspace(0, 1, 1000)[:, None]
    line = 3 * turns * np.concatenate([np.cos(4 * np.pi * turns), np.sin(4 * np.pi * turns)], axis=1)
    facts = {
        "on the spiral": np.mean(cdist(z, line).min(axis=1) < 0.3),
        "covered": np.mean(cdist(of_prior, at_random).min(axis=1) < 0.3),
    }
    for bandwidth in config["bandwidths"]:
        facts[f"MMD squared, h = {bandwidth}"] = metrics.mmd(at_random, of_prior, bandwidth)
    for name, model in {"spiral": on_spiral, "adversarial": gaussian, "plain": plain}.items():
        rebuilt = model.reconstruct(digits.x_test)
        facts[f"error, {name}"] = metrics.squared_error_per_image(digits.x_test, rebuilt).mean()

    mixture = GaussianMixture(config["components"], reg_covar=1e-4, random_state=0)
    mixture.fit(plain.encode(digits.x_train[:10_000]).astype("float64"))
    return facts, {
        "prior": gaussian.sample(config["drawn"]),
        "mixture": plain.decode(rng.permutation(mixture.sample(config["drawn"])[0]).astype("float32")),
    }


MODELS = {"variational": variational, "adversarial": adversarial}


def judge(digits, config):
    """Returns the function from images to the share taken for digits, by classifiers that know eleven classes.

    As in lessons 08 and 09: the eleventh is no digit, two images in one, as a double exposure or half and half.
    """
    left, top = np.arange(784) % 28 < 14, np.arange(784) < 392
    x, y = tf.constant(digits.x_train), tf.constant(digits.y_train)

    def with_mixed(row):
        images, labels, kind = tf.gather(x, row), tf.gather(y, row), tf.random.uniform((100, 1))
        share = tf.where(kind < 1 / 3, 0.5, tf.where(kind < 2 / 3, left.astype("float32"), top.astype("float32")))
        mixed = share * images + (1 - share) * tf.roll(images, 1, axis=0)
        return tf.concat([images, mixed], axis=0), tf.concat([labels, tf.fill([100], np.int64(10))], axis=0)

    rows = tf.data.Dataset.range(len(x)).shuffle(len(x)).repeat().batch(100, drop_remainder=True).map(with_mixed)
    classifiers = []
    for _ in range(config["classifiers"]):
        hidden = [keras.layers.Dense(256, "relu"), keras.layers.Dropout(0.5)]
        classifiers.append(keras.Sequential([keras.Input((784,)), *hidden, keras.layers.Dense(11, "softmax")]))
        classifiers[-1].compile(optimizers.Adam(1e-3), "sparse_categorical_crossentropy", steps_per_execution=50)
        fit(classifiers[-1], rows, config["updates"])
    return lambda images: float(np.mean([np.argmax(each(images), axis=1) < 10 for each in classifiers]))


def mosaic(images):
    """Returns 100 images, shape (100, 784), as one of ten rows, dark on white as in the lessons, shape (h, w, 1)."""
    framed = np.pad(images.reshape(10, 10, 28, 28), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return 1 - framed.swapaxes(1, 2).reshape(300, 300, 1)


def run(name, config, digits):
    """Writes results/longer_<name>.json and .png; the first anew after every seed, so that a stop loses only one."""
    keras.utils.set_random_seed(0)
    share_of_digits = judge(digits, config["judge"])
    real, seeds = {"test images": share_of_digits(digits.x_test)}, {}
    for seed in config["seeds"]:
        keras.utils.set_random_seed(seed)
        facts, drawn = MODELS[name](digits, config)
        shares = {source: share_of_digits(images) for source, images in drawn.items()}
        seeds[seed] = {fact: float(value) for fact, value in facts.items()} | {"digits": shares}
        if len(seeds) == 1:
            common.RESULTS.mkdir(exist_ok=True)
            first = next(iter(drawn.values()))[:100]
            keras.utils.save_img(common.RESULTS / f"longer_{name}.png", 255 * mosaic(first), scale=False)
        common.write(f"longer_{name}", config, {"digits": real, "seeds": seeds})


def main():
    names = sys.argv[1:] or list(MODELS)
    if unknown := set(names) - set(MODELS):
        sys.exit(f"No such model: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}.")
    digits = data.load_mnist("full")
    for name in names:
        run(name, CONFIG[name], digits)


if __name__ == "__main__":
    main()
