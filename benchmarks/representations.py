"""Every model of the course on the same tasks, under one budget: python -m benchmarks.representations [full] [sample]

Lesson 12 reads, draws and cites results/representations.json. It holds the configuration and, for the full MNIST set
and the offline sample, a record for every row and seed, which is stored as soon as it is measured. What is stored under
the same configuration is not measured again, so the script goes on after a stop; it takes about a quarter of an hour of
one core.

A row is a representation: an encoder, and what else it has of a decoder and a prior. It is fitted once for a seed, to
digits from 0 to 8, and serves all tasks. Only the task that detects them has nines. A record holds, as far as the row
has what is needed, on all test images:

- `rebuild`: squared error of the reconstruction;
- `repair`: squared error of what is made of images with 30 % of the pixels masked, and of some with Gaussian noise;
- `labels`: for each number of labels, the error of a logistic regression and of nearest neighbours on the frozen codes,
  and, with one of the seeds, of some of the networks trained further: one value for each draw of labels;
- `detect`: AUROC of the nine, by the reconstruction error, or by the distance to the nearest training image;
- `sample`: images decoded from a mixture fitted to the codes, and from the model's own prior: the share taken for
  digits by the judge of lesson 08, the squared MMD to test images in the hidden units of a classifier, and the distance
  to the nearest training image;
- `cluster`: k-means on the codes, accuracy under the best matching of clusters to digits and the normalized mutual
  information, with the codes as they are and with each number standardized;
- `retrieve`: the share of the ten nearest training codes that have the test image's digit.

No setting is chosen on test images. With 99 and 999 labels, cross-validation on these labels chooses the probe's; with
20,000, the number of neighbours is chosen by validation images; with nine, there is nothing to choose with. The
learning rate of a network trained further is chosen on a draw of its own, by validation images.
"""

import dataclasses
import json
import sys
import types

import keras
import numpy as np
import scipy.optimize
import scipy.spatial
import tensorflow as tf
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import confusion_matrix, normalized_mutual_info_score, pairwise_distances_argmin_min, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from aelib import data, layers, losses, metrics, models, networks, optimizers
from benchmarks import common, longer_samples

CONFIG = {
    "code": 32,
    "hidden": 256,
    "filters": [8, 16],
    "updates": 3000,
    "batch": 128,
    "learning_rate": 2e-3,
    "masked": 0.3,
    "noise": 0.3,
    "kept of 64": 8,
    "contraction_weight": 0.1,
    "discriminator": {"hidden": 256, "learning_rate": 1e-3},
    "labels of a digit": [1, 11, 111],
    "many labels": 20_000,
    "draws": 5,
    "C": [1.0, 0.1],
    "neighbors": [1, 3, 5, 10],
    "further": {
        "rows": ["untrained", "plain", "denoising", "k-sparse", "untrained, convolutional", "convolutional"],
        "seeds": [2],
        "rates": [1e-3, 3e-3],
        "updates": 250,
        "rate, many": 1e-3,
        "updates, many": 1000,
    },
    "mixture": {"components": 20, "codes": 5000},
    "drawn": 1000,
    "judge": {"classifiers": 3, "updates": 500},
    "seeds": [1, 2, 3],
    "rows of the sample": ["pixels", "PCA", "plain", "denoising"],
}


def dense(width, config, before_code=()):
    encoder = networks.mlp_encoder(784, [config["hidden"]], width)
    encoder = keras.Sequential([keras.Input((784,)), *encoder.layers, *before_code])
    return encoder, networks.mlp_decoder(width, [config["hidden"]], 784)


def convolutional(config):
    shape, filters, width = (28, 28, 1), config["filters"], config["code"]
    encoder = networks.conv_encoder(shape, filters, width)
    decoder = networks.conv_decoder(width, filters[::-1], shape)
    encoder = keras.Sequential([keras.Input((784,)), keras.layers.Reshape(shape), *encoder.layers])
    return encoder, keras.Sequential([keras.Input((width,)), *decoder.layers, keras.layers.Reshape((784,))])


def variational(config):
    hidden, width = [config["hidden"]], config["code"]
    encoder = networks.mlp_encoder(784, hidden, 2 * width)
    decoder = networks.mlp_decoder(width, hidden, 784, output_activation=None)
    return models.VariationalAutoencoder(encoder, decoder)


def adversarial(config):
    hidden = [config["discriminator"]["hidden"]] * 2
    discriminator = networks.mlp_encoder(config["code"], hidden, 1, activation="leaky_relu", name="discriminator")
    return models.AdversarialAutoencoder(*dense(config["code"], config), discriminator)


def contractive(config):
    return models.ContractiveAutoencoder(
        *dense(config["code"], config), contraction_weight=config["contraction_weight"], penalty="stochastic"
    )


NETWORKS = {
    "untrained": lambda config: models.Autoencoder(*dense(config["code"], config)),
    "untrained, convolutional": lambda config: models.Autoencoder(*convolutional(config)),
    "plain": lambda config: models.Autoencoder(*dense(config["code"], config)),
    "plain, 64 numbers": lambda config: models.Autoencoder(*dense(64, config)),
    "denoising": lambda config: models.Autoencoder(
        *dense(config["code"], config), corruption=layers.MaskingNoise(config["masked"])
    ),
    "k-sparse": lambda config: models.Autoencoder(*dense(64, config, [layers.KSparse(config["kept of 64"])])),
    "contractive": contractive,
    "convolutional": lambda config: models.Autoencoder(*convolutional(config)),
    "variational": variational,
    "adversarial": adversarial,
}
ROWS = ["pixels", "PCA", *NETWORKS]


def falling_adam(rate, updates, **moments):
    return optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, updates), **moments)


def train(name, x, config):
    model = NETWORKS[name](config)
    if name.startswith("untrained"):
        return model
    updates, more = config["updates"], {}
    loss = losses.BernoulliNLL() if name == "variational" else losses.SumSquaredError()
    if name == "adversarial":
        rate = config["discriminator"]["learning_rate"]
        more["discriminator_optimizer"] = optimizers.Adam(rate, beta_1=0.5)
        more["encoder_optimizer"] = falling_adam(rate, updates, beta_1=0.5)
    model.compile(falling_adam(config["learning_rate"], updates), loss, steps_per_execution=50, **more)
    steps = min(100, updates)
    model.fit(x, batch_size=config["batch"], steps_per_epoch=steps, epochs=updates // steps, verbose=0)
    return model


def fit_pca(x, config):
    pca = PCA(config["code"], random_state=0).fit(x)

    def decode(z):
        return np.clip(pca.inverse_transform(z), 0, 1).astype("float32")

    return types.SimpleNamespace(encode=pca.transform, decode=decode, reconstruct=lambda x: decode(pca.transform(x)))


def new_row(name, x, config):
    """Returns the row's functions, fitted to the images x, as attributes."""
    if name == "pixels":
        return types.SimpleNamespace(encode=lambda x: x)
    return fit_pca(x, config) if name == "PCA" else train(name, x, config)


def best_linear_map(x, damaged):
    """Returns the linear map from damaged images to clean ones, clipped: what repairs without any bottleneck."""
    ridge = Ridge(1.0).fit(damaged, x)
    return lambda images: np.clip(ridge.predict(images), 0, 1)


def mean_error(x, rebuilt):
    return float(metrics.squared_error_per_image(x, rebuilt).mean())


def damages(x, config, seed):
    rng = np.random.default_rng(seed)
    masked = x * (rng.uniform(size=x.shape) >= config["masked"])
    return {"masked": masked, "noisy": (x + config["noise"] * rng.normal(size=x.shape)).astype("float32")}


def draw_labels(y, count, draw):
    """Returns the places of `count` labels of each digit, the same for every row and seed."""
    rng = np.random.default_rng([count, draw])
    return rng.permutation(
        np.concatenate([rng.permutation(np.flatnonzero(y == each))[:count] for each in np.unique(y)])
    )


def probe(make, settings, train, y, test, y_test):
    """Returns the test error of a classifier on labelled codes, with the setting that cross-validation on them picks.

    `train` and `test` hold several scalings of the codes by name; the setting is a scaling and `make`'s argument.
    """
    pairs = [(scaling, setting) for scaling in train for setting in settings]
    chosen = pairs[0]
    if np.bincount(y).min() > 1:
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        chosen = max(pairs, key=lambda pair: cross_val_score(make(pair[1]), train[pair[0]], y, cv=folds).mean())
    classifier = make(chosen[1]).fit(train[chosen[0]], y)
    return float(np.mean(classifier.predict(test[chosen[0]]) != y_test))


def logistic(inverse_penalty):
    return LogisticRegression(C=inverse_penalty, max_iter=100, tol=1e-3)


def scaled(codes):
    """Returns the codes of each part divided by one number, and by one for each of theirs, from the training codes."""
    mean, each = codes["train"].mean(axis=0), codes["train"].std(axis=0)
    one, each = np.sqrt(np.mean(each**2)), np.where(each > 0, each, 1)
    return {part: {"one": (z - mean) / one, "each": (z - mean) / each} for part, z in codes.items()}


def vote(labels, k):
    """Returns the most frequent of the k nearest labels; in a tie, the nearest one's if it is among them."""
    counts = np.eye(10)[labels[:, :k]].sum(axis=1)
    return np.argmax(counts + 0.5 * np.eye(10)[labels[:, 0]], axis=1)


def neighbors_of_many(codes, digits, config):
    """Returns the test error of nearest neighbours among many labelled codes, and the precision at 10."""
    search = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(codes["train"][: config["many labels"]])
    labels = {part: digits.y_train[search.kneighbors(codes[part])[1]] for part in ("val", "test")}
    y_val = digits.y_val[: len(codes["val"])]
    k = max(config["neighbors"], key=lambda k: np.mean(vote(labels["val"], k) == y_val))
    precision = np.mean(labels["test"] == digits.y_test[:, None])
    return float(np.mean(vote(labels["test"], k) != digits.y_test)), float(precision)


def frozen(codes, digits, config):
    """Returns the test errors of both probes, one for each draw of labels, and the precision at 10."""
    versions, found = scaled(codes), {"logistic": {}, "neighbors": {}}
    for count in config["labels of a digit"]:
        few = [k for k in config["neighbors"] if k <= max(1, count // 2)]
        for name, make, settings, scalings in [
            ("logistic", logistic, config["C"], ["one", "each"]),
            ("neighbors", KNeighborsClassifier, few, ["one"]),
        ]:
            test = {scaling: versions["test"][scaling] for scaling in scalings}
            found[name][count] = []
            for draw in range(1, config["draws"] + 1):
                places = draw_labels(digits.y_train, count, draw)
                train = {scaling: versions["train"][scaling][places] for scaling in scalings}
                found[name][count].append(probe(make, settings, train, digits.y_train[places], test, digits.y_test))
    many = slice(config["many labels"])
    classifier = logistic(1.0).fit(versions["train"]["each"][many], digits.y_train[many])
    found["logistic"]["many"] = [float(1 - classifier.score(versions["test"]["each"], digits.y_test))]
    error, precision = neighbors_of_many(codes, digits, config)
    found["neighbors"]["many"] = [error]
    return found, precision


def classifier_on(encoder, codes):
    """Returns a softmax on the encoder's code, each number of which is standardized as it was before."""
    width = codes.shape[1]
    inputs = keras.Input((784,))
    standardized = keras.layers.Normalization(mean=codes.mean(axis=0), variance=codes.var(axis=0) + 1e-6)
    outputs = keras.layers.Dense(10, "softmax")(standardized(encoder(inputs)[:, :width]))
    model = keras.Model(inputs, outputs)
    model.compile(optimizers.Adam(), "sparse_categorical_crossentropy", steps_per_execution=20)
    model.optimizer.build(model.trainable_variables)
    return model


def train_further(encoder, codes, digits, config):
    """Returns, for each number of labels, the test errors of the whole network trained on them, one for each draw."""
    model, settings = classifier_on(encoder, codes), config["further"]
    x, y, start = tf.constant(digits.x_train), tf.constant(digits.y_train), model.get_weights()

    def train_on(places, rate, updates):
        model.set_weights(start)
        for variable in model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        order = tf.data.Dataset.from_tensor_slices(places).shuffle(len(places)).repeat()
        batches = order.batch(min(len(places), config["batch"]))
        pairs = batches.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows)))
        falling = keras.callbacks.LearningRateScheduler(lambda epoch: rate * (1 - epoch / 10))
        model.fit(pairs, steps_per_epoch=updates // 10, epochs=10, callbacks=[falling], shuffle=False, verbose=0)

    def error(images, labels):
        return float(np.mean(model.predict(images, batch_size=1000, verbose=0).argmax(axis=1) != labels))

    def after(places, rate, updates, part="test"):
        train_on(places, rate, updates)
        return error(*(getattr(digits, f"{letter}_{part}") for letter in "xy"))

    found = {}
    for count in config["labels of a digit"][1:]:
        first, *others = (draw_labels(digits.y_train, count, draw) for draw in range(config["draws"] + 1))
        rate = min(settings["rates"], key=lambda rate: after(first, rate, settings["updates"], "val"))
        found[count] = [after(places, rate, settings["updates"]) for places in others]
    many = np.arange(len(y))[: config["many labels"]]
    found["many"] = [after(many, settings["rate, many"], settings["updates, many"])]
    return found


def cluster(codes, y):
    """Returns the accuracy of clusters, best matched to the digits, and their normalized mutual information."""
    clusters = KMeans(len(np.unique(y)), n_init=3, random_state=0).fit_predict(codes)
    counts = confusion_matrix(y, clusters)
    matched = counts[scipy.optimize.linear_sum_assignment(counts, maximize=True)].sum()
    return {"accuracy": float(matched / len(y)), "information": float(normalized_mutual_info_score(y, clusters))}


def new_judge(digits, config):
    """Returns the function from images to the three measures of how much they are like digits."""
    share_of_digits = longer_samples.judge(digits, config["judge"])
    hidden = keras.layers.Dense(256, "relu")
    classifier = keras.Sequential([keras.Input((784,)), hidden, keras.layers.Dense(10, "softmax")])
    classifier.compile(optimizers.Adam(1e-3), "sparse_categorical_crossentropy", steps_per_execution=20)
    classifier.fit(digits.x_train, digits.y_train, batch_size=100, epochs=1, verbose=0)
    rng = np.random.default_rng(0)
    count = min(config["drawn"], len(digits.x_test) // 2)
    real, other = np.split(rng.permutation(digits.x_test)[: 2 * count], 2)
    known = rng.permutation(digits.x_train)[:10_000]
    features = hidden(real).numpy()
    bandwidth = np.median(scipy.spatial.distance.pdist(features))

    def measure(images):
        nearest = pairwise_distances_argmin_min(images[:count], known)[1]
        return {
            "digits": share_of_digits(images),
            "mmd": metrics.mmd(hidden(images[:count]).numpy(), features, bandwidth),
            "to training image": float(np.mean(nearest)),
        }

    return measure, measure(other)


def draw_images(row, codes, config):
    """Returns images by where their codes come from: a mixture of normals fitted to codes, the model's prior."""
    settings = config["mixture"]
    mixture = GaussianMixture(settings["components"], reg_covar=1e-4, max_iter=200, random_state=0)
    z = mixture.fit(codes[: settings["codes"]].astype("float64")).sample(config["drawn"])[0]
    drawn = {"mixture": row.decode(np.random.default_rng(0).permutation(z).astype("float32"))}
    if hasattr(row, "sample"):
        drawn["prior"] = row.sample(config["drawn"])
    return drawn


def only_known(digits):
    """Returns the digits without the nines, and the test set with them."""
    kept = {part: getattr(digits, f"y_{part}") != 9 for part in ("train", "val", "test")}
    parts = {f"{letter}_{part}": getattr(digits, f"{letter}_{part}")[kept[part]] for letter in "xy" for part in kept}
    return dataclasses.replace(digits, **parts), digits.x_test, digits.y_test


def detect(row, x_train, x_test, y_test):
    """Returns the AUROC of the nine."""
    if hasattr(row, "reconstruct"):
        score = metrics.squared_error_per_image(x_test, row.reconstruct(x_test))
    else:
        search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(x_train[:20_000])
        score = search.kneighbors(x_test)[0][:, 0]
    return float(roc_auc_score(y_test == 9, score))


def measure(name, seed, digits, judge, config):
    """Returns a record: all that one row gives in all tasks with one seed."""
    keras.utils.set_random_seed(seed)
    known, x_test, y_test = only_known(digits)
    row, untrained = new_row(name, known.x_train, config), name.startswith("untrained")
    parts = {"train": known.x_train, "val": known.x_val[:1000], "test": known.x_test}
    codes = {part: np.asarray(row.encode(x), "float32") for part, x in parts.items()}
    record = {"row": name, "seed": seed}
    damaged = damages(known.x_test, config, seed)
    if name == "pixels":
        x = known.x_train[:20_000]
        maps = {kind: best_linear_map(x, images) for kind, images in damages(x, config, 100 + seed).items()}
        record["repair"] = {kind: mean_error(known.x_test, maps[kind](images)) for kind, images in damaged.items()}
        record["not repaired"] = {kind: mean_error(known.x_test, images) for kind, images in damaged.items()}
    elif not untrained:
        record["rebuild"] = mean_error(known.x_test, row.reconstruct(known.x_test))
        repaired = {kind: row.reconstruct(images) for kind, images in damaged.items()}
        record["repair"] = {kind: mean_error(known.x_test, images) for kind, images in repaired.items()}
        record["sample"] = {way: judge(images) for way, images in draw_images(row, codes["train"], config).items()}
        record["numbers used"] = int(np.sum(codes["test"].std(axis=0) > 0.01 * codes["test"].std()))
    if not untrained:
        record["detect"] = detect(row, known.x_train, x_test, y_test)
    record["labels"], record["retrieve"] = frozen(codes, known, config)
    test = scaled(codes)["test"]
    record["cluster"] = {scaling: cluster(test[scaling], known.y_test) for scaling in ("one", "each")}
    if name in config["further"]["rows"] and seed in config["further"]["seeds"]:
        record["labels"]["further"] = train_further(row.encoder, codes["train"], known, config)
    return record


def stored(config):
    """Returns what is stored for each data set, and nothing of another configuration."""
    path = common.RESULTS / "representations.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    usable = found.get("configuration") == config
    return {source: found[source] if usable else {"records": []} for source in ("full", "sample")}


def run(source, config):
    """Measures what is not stored yet; writes results/representations.json anew after every record."""
    digits = data.load_mnist(source)
    keras.utils.set_random_seed(0)
    judge, test_images = new_judge(only_known(digits)[0], config)
    for seed in config["seeds"]:
        for name in ROWS if source == "full" else config["rows of the sample"]:
            records = stored(config)[source]["records"]
            # Pixels and PCA's components do not depend on a seed.
            seeds = config["seeds"] if name in ("pixels", "PCA") else [seed]
            if any(record["row"] == name and record["seed"] in seeds for record in records):
                continue
            record = measure(name, seed, digits, judge, config)
            # What is stored is read again: another process may have added to it.
            everything = stored(config)
            everything[source]["test images"] = test_images
            others = [each for each in everything[source]["records"] if (each["row"], each["seed"]) != (name, seed)]
            everything[source]["records"] = [*others, record]
            common.write("representations", config, everything)


def main():
    sources = sys.argv[1:] or ["full", "sample"]
    if unknown := set(sources) - {"full", "sample"}:
        sys.exit(f"No such data set: {', '.join(sorted(unknown))}; there are full, sample.")
    for source in sources:
        run(source, CONFIG)


if __name__ == "__main__":
    main()
