"""Small models of every kind, and examples from every source, for the tests of how the two meet."""

import math

import keras
import numpy as np
import tensorflow as tf

from aelib import losses, networks, priors
from aelib.models import (
    AdversarialAutoencoder,
    Autoencoder,
    ContractiveAutoencoder,
    EnergyBasedGAN,
    VariationalAutoencoder,
)

N, BATCH, FEATURES, LABELS = 10, 6, 6, 3  # a partial last batch


def pair(code=2, activation="sigmoid"):
    return networks.mlp_encoder(FEATURES, [], code), networks.mlp_decoder(2, [], FEATURES, output_activation=activation)


def make(kind, **compile_options):
    keras.utils.set_random_seed(0)
    if kind == "plain":
        model = Autoencoder(*pair())
    elif kind == "variational":
        model = VariationalAutoencoder(*pair(4, None), kl_weight=0.7, seed=1)
    elif kind.startswith("adversarial"):
        num_labels = LABELS if kind == "adversarial, labelled" else None
        prior = priors.gaussian_prior if num_labels is None else priors.gaussian_mixture_prior
        discriminator = networks.mlp_encoder(2 + (num_labels or 0), [], 1)
        model = AdversarialAutoencoder(*pair(), discriminator, prior, num_labels, seed=1)
        sgd = keras.optimizers.SGD
        compile_options |= {"discriminator_optimizer": sgd(0.02), "encoder_optimizer": sgd(0.03)}
    elif kind == "energy_based":
        generator = networks.mlp_decoder(3, [], FEATURES)
        model = EnergyBasedGAN(generator, Autoencoder(*pair()), margin=1.0, pulling_away=0.5, seed=1)
        compile_options |= {"generator_optimizer": keras.optimizers.SGD(0.02)}
    else:
        model = ContractiveAutoencoder(*pair(), 0.7, penalty=kind, seed=1)
    loss = {"variational": losses.BernoulliNLL(), "energy_based": None}.get(kind, losses.SumSquaredError())
    model.compile(keras.optimizers.SGD(0.01), loss, **{"run_eagerly": True, **compile_options})
    return model


UNLABELLED = ["plain", "closed_form", "projected", "variational", "adversarial", "energy_based"]
KINDS = [*UNLABELLED, "adversarial, labelled"]
# What is logged of samples, which have no weights, and a share that is counted.
UNWEIGHTED = ["discriminator_accuracy", "sample_energy", "pulling_away", "generator_loss"]


def evaluated(kind, *arguments, **options):
    return make(kind).evaluate(*arguments, batch_size=BATCH, verbose=0, return_dict=True, **options)


def trained(kind, *arguments, **options):
    """What is logged in an epoch without shuffling, and the weights after it."""
    model = make(kind)
    options = {"shuffle": False, "verbose": 0, **options}
    if not isinstance(arguments[0], tf.data.Dataset | keras.utils.PyDataset | type(_ for _ in ())):
        options = {"batch_size": BATCH, **options}
    logged = model.fit(*arguments, **options).history
    return {key: value[0] for key, value in logged.items()} | dict(enumerate(model.get_weights()))


def assert_equal(found, expected, different=None):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6, err_msg=str(key))
    for key in different or ():
        assert key in UNWEIGHTED or not np.allclose(found[key], different[key], rtol=1e-3), key


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return math.ceil(N / BATCH)

    def __getitem__(self, index):
        rows = slice(BATCH * index, BATCH * (index + 1))
        return tuple(None if each is None else each[rows] for each in self.arrays)


def as_generator(*arrays):
    return (Batches(*arrays)[index] for index in range(2))


def as_data_set(*arrays):
    given = [each for each in arrays if each is not None]
    data = tf.data.Dataset.from_tensor_slices(tuple(given)).batch(BATCH)
    return data if len(given) == len(arrays) else data.map(lambda x, w: (x, None, w))


SOURCES = {"data set": as_data_set, "PyDataset": Batches, "generator": as_generator}
