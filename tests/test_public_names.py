"""Every public name of aelib: each of its arguments matters, is kept by saving and stands in the docstring.

`CASES` is the contract. Of each argument it states the default and another value; a name or an argument without a case
fails, and so does a default that is not the one written here.
"""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import io
import pkgutil
import re
import sys
from pathlib import Path

import keras
import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import aelib
from aelib import layers, losses, models, networks, priors

# ---- how a case is written


class Case:
    """`outcome` of what a call gives is compared; `on` makes the object of a method.

    An argument has its default, another value, and, where it needs them to matter, others that go with both. A default
    of `...` means that the signature names no default and the argument is not given.
    """

    def __init__(self, outcome, on=None, /, **arguments):
        self.outcome, self.on, self.arguments = outcome, on, arguments


class Elsewhere(Case):
    """The defaults only: the arguments are tried in a test file that does so by its own means."""

    def __init__(self, file, /, **arguments):
        super().__init__(None, None, **{name: (default, None) for name, default in arguments.items()})
        self.file = file


@dataclasses.dataclass(frozen=True)
class New:
    """A value that is made anew for every call."""

    make: object


@dataclasses.dataclass(frozen=True)
class Given:
    """A value to start from where the default alone does nothing."""

    value: object
    default: object


@dataclasses.dataclass(frozen=True)
class With:
    """A value that needs others beside it."""

    value: object
    others: dict


@dataclasses.dataclass(frozen=True)
class Refused:
    """A value that is refused with this message."""

    value: object
    message: str


@dataclasses.dataclass(frozen=True)
class NotUsed:
    """A value of an argument that makes no difference, and whose documentation says so."""

    value: object


# ---- what the cases are made of

rng = np.random.default_rng(0)
X, OTHER_X = rng.uniform(0.1, 0.9, size=(2, 6, 4)).astype("float32")
Z, OTHER_Z = rng.normal(size=(2, 6, 2)).astype("float32")
LABELS, OTHER_LABELS = np.array([0, 1, 2, 0, 1, 2]), np.array([2, 2, 2, 0, 0, 0])


@keras.saving.register_keras_serializable(package="tests")
class AddsBatchSize(keras.layers.Layer):
    """Shows how many examples were taken at once, where it should make no difference to anything else."""

    def call(self, inputs):
        return inputs + ops.cast(ops.shape(inputs)[0], inputs.dtype)


def encoder(*activations, width=2):
    return New(lambda: networks.mlp_encoder(4, [3], width, *activations))


def one_layer(activation):
    return New(lambda: networks.mlp_encoder(4, [], 2, latent_activation=activation))


def decoder(*activations):
    return New(lambda: networks.mlp_decoder(2, [3], 4, *activations))


def discriminator(width=2, **options):
    return New(lambda: networks.mlp_encoder(width, [3], 1, name="discriminator", **options))


def generator(activation):
    return New(lambda: networks.mlp_decoder(3, [3], 4, activation, name="generator"))


def judge(activation):
    return New(lambda: models.Autoencoder(encoder(activation).make(), decoder(activation).make()))


def dense(value):
    def make():
        layer = keras.layers.Dense(2, "tanh", kernel_initializer=keras.initializers.Constant(value))
        layer.build((None, 4))
        return layer

    return New(make)


def batch_size_in(inputs, outputs):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs), AddsBatchSize()])


def autoencoder():
    model = models.Autoencoder(batch_size_in(4, 2), batch_size_in(2, 4))
    model.compile("sgd", "mse")
    return model


def variational():
    return models.VariationalAutoencoder(batch_size_in(4, 4), batch_size_in(2, 4), output_activation=None, seed=0)


def adversarial(num_labels=None):
    prior = priors.gaussian_prior if num_labels is None else priors.gaussian_mixture_prior
    parts = encoder().make(), decoder().make(), discriminator(2 + (num_labels or 0)).make()
    return models.AdversarialAutoencoder(*parts, prior, num_labels, seed=0)


def compiled_adversarial():
    model = adversarial()
    model.compile("sgd", "mse", discriminator_optimizer="sgd", encoder_optimizer="sgd")
    return model


def energy_based():
    judge = models.Autoencoder(batch_size_in(4, 2), batch_size_in(2, 4))
    return models.EnergyBasedGAN(batch_size_in(3, 4), judge, margin=1.0, seed=0)


def compiled_energy_based():
    model = energy_based()
    model.compile("sgd", generator_optimizer="sgd")
    return model


def itself(result):
    return result


def layer_outcome(layer):
    inputs = (Z, OTHER_Z) if isinstance(layer, layers.Sampling) else Z if "Transpose" in type(layer).__name__ else X
    return layer.name, [layer(inputs, training=training) for training in (True, False)], layer.losses


def loss_outcome(loss):
    return loss.name, loss(X, OTHER_X)


def optimizer_outcome(optimizer):
    weights = [keras.Variable(X), keras.Variable(Z)]
    for size in (3.0, 1.0, 0.1):
        optimizer.apply([size * OTHER_X, size * OTHER_Z], weights)
    optimizer.finalize_variable_values(weights)
    return optimizer.name, optimizer.scale_loss(1.0), [weight.value for weight in weights]


def network_outcome(network):
    inputs = np.linspace(-1, 1, np.prod(network.input_shape[1:]), dtype="float32").reshape(1, *network.input_shape[1:])
    return network.name, network(inputs), network.get_weights()


def image_network_outcome(network):
    inputs = np.linspace(-1, 1, 30 * network.input_shape[3], dtype="float32").reshape(1, 6, 5, network.input_shape[3])
    return network.name, network(inputs), network.get_weights()


def recurrent_encoder_outcome(network):
    inputs = np.linspace(-1, 1, 3 * network.input_shape[2], dtype="float32").reshape(1, 3, -1)
    return network.name, network(inputs), network.get_weights()


def model_outcome(model):
    adversarial = isinstance(model, models.AdversarialAutoencoder)
    energy_based = isinstance(model, models.EnergyBasedGAN)
    optimizers = {"discriminator_optimizer": "sgd", "encoder_optimizer": "sgd"} if adversarial else {}
    optimizers |= {"generator_optimizer": "sgd"} if energy_based else {}
    model.compile("sgd", None if energy_based else losses.SumSquaredError(), **optimizers)
    logged = model.test_on_batch(X, tf.constant(LABELS) if adversarial and model.num_labels else None, return_dict=True)
    return model.name, model.dtype_policy.name, model.reconstruct(X), model(X, training=True), logged


def fit_outcome(history):
    return history.history, history.model.get_weights()


def drawn(ax):
    return (
        [ax.figure.get_size_inches(), ax.get_title(), ax.get_xlabel(), ax.get_ylabel()],
        [text.get_text() for axis in (ax.xaxis, ax.yaxis) for text in axis.get_ticklabels()],
        [(each.get_array(), each.get_clim(), each.get_cmap().name, each.get_extent()) for each in ax.images],
        [(each.get_xydata(), each.get_label()) for each in ax.lines],
        [(each.get_offsets(), each.get_facecolors(), each.get_label()) for each in ax.collections],
    )


def log_likelihood(x, z):
    return -np.square(x[:, :2] - z).sum(axis=1) - len(x)


# ---- the cases

KERAS = {"name": (..., "other"), "dtype": (..., "float64")}
AX = {"ax": (None, New(lambda: plt.figure(figsize=(2, 2)).add_subplot()))}
PARTS = {"encoder": (encoder("tanh"), encoder("sigmoid")), "decoder": (decoder("tanh", None), decoder("sigmoid", None))}
JACOBIAN = {"encoder": (encoder("tanh"), encoder("tanh", "tanh")), "x": (X, OTHER_X)}
MLP = {"activation": ("relu", "tanh"), "kernel_initializer": ("glorot_uniform", "ones")}
CONV = {"activation": ("elu", "tanh"), "kernel_size": (3, 2), "kernel_initializer": ("glorot_uniform", "ones")}
IMAGE_NETWORK = {
    "channels": (1, 2),
    "filters": ((16, 32, 64), (16, 32)),
    "activation": ("relu", "tanh"),
    "output_activation": (None, "tanh"),
    "kernel_size": (3, 2),
    "kernel_initializer": ("glorot_uniform", "ones"),
}
RECURRENT = {"cell": ("gru", "lstm"), "kernel_initializer": ("glorot_uniform", "ones")}
PRIOR = {"n": (6, 5), "seed": (None, 5)}
PLANAR = {
    "latent_dim": (2, Refused(3, "must be 2")),
    "labels": (None, LABELS),
    "num_labels": (10, 4, {"labels": LABELS}),
}
FIT = {
    "x": (Given(X, default=None), OTHER_X),
    "y": (None, OTHER_X),
    "batch_size": (None, 4),
    "epochs": (1, 2),
    "verbose": ("auto", 0),
    "callbacks": (
        None,
        [keras.callbacks.LambdaCallback(on_train_begin=lambda logs: print("begun"))],
        {"verbose": 0},
    ),
}
SHAPE, OTHER_SHAPE = (8, 8, 1), (8, 6, 1)
IMAGES, OTHER_IMAGES = rng.uniform(size=(2, 3, 16))
HISTORY = {"loss": [2.0, 1.0], "val_loss": [2.5, 1.5], "kl": [1.0, 2.0]}

CASES = {
    "print_versions": Case(itself),
    "answers.check": Elsewhere(
        "test_answers.py", answer=..., expected=..., name="The answer", rtol=1e-4, atol=0.0, sizes=None, hints=None
    ),
    "answers.check_mean": Elsewhere(
        "test_answers.py", draws=..., expected=..., name="The answer", standard_errors=6.0, sizes=None
    ),
    "answers.judge": Elsewhere("test_answers.py", test=..., answer=...),
    "answers.value_and_gradients": Elsewhere(
        "test_answers.py", function=..., arguments=..., sources=..., name="The answer"
    ),
    "callbacks.ProgressBar": Elsewhere("test_callbacks.py"),
    "callbacks.ProgressBar.close": Elsewhere("test_callbacks.py"),
    "callbacks.in_notebook": Elsewhere("test_callbacks.py"),
    "callbacks.progress_in_notebook": Elsewhere("test_callbacks.py", verbose=..., callbacks=...),
    "data.ImageSplits": Elsewhere(
        "test_data.py", **dict.fromkeys(["x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "source"], ...)
    ),
    "data.PhotoSplits": Elsewhere("test_photographs.py", train=..., val=..., test=...),
    "data.SequenceSplits": Elsewhere(
        "test_japanese_vowels.py",
        **{f"{name}_{part}": ... for part in ("train", "val", "test") for name in ("x", "lengths", "speakers")},
        source=...,
    ),
    "data.load_japanese_vowels": Elsewhere("test_japanese_vowels.py", source="auto"),
    "data.load_mnist": Elsewhere("test_data.py", source="auto", validation_size=None, flatten=True),
    "data.load_photographs": Elsewhere("test_photographs.py", color=False),
    "jacobian.dense_jacobian_penalty": Case(itself, dense=(dense(0.5), dense(0.25)), x=(X, OTHER_X), z=(None, Z)),
    "jacobian.encoder_jacobian": Case(itself, **JACOBIAN),
    "jacobian.jacobian_penalty": Case(itself, **JACOBIAN),
    "jacobian.jacobian_spectrum": Case(itself, **JACOBIAN),
    "jacobian.projected_jacobian_penalty": Case(itself, **JACOBIAN, num_probes=(1, 2), seed=(None, 5)),
    "jacobian.stochastic_contraction_penalty": Case(itself, **JACOBIAN, stddev=(0.1, 0.2), seed=(None, 5)),
    "layers.DenseTranspose": Case(layer_outcome, dense=(dense(0.5), dense(0.25)), activation=(None, "tanh"), **KERAS),
    "layers.KSparse": Case(layer_outcome, k=(2, 3), encoding_k=(None, 3), **KERAS),
    "layers.MaskingNoise": Case(layer_outcome, rate=(0.3, 0.6), seed=(None, 5), **KERAS),
    "layers.SaltAndPepperNoise": Case(layer_outcome, rate=(0.3, 0.6), seed=(None, 5), **KERAS),
    "layers.Sampling": Case(layer_outcome, seed=(None, 5), **KERAS),
    "layers.SparsityPenalty": Case(
        layer_outcome,
        weight=(0.5, 0.7),
        sparsity_target=(None, 0.1),
        name=("sparsity", "other"),
        dtype=(..., "float64"),
    ),
    "losses.BernoulliNLL": Case(
        loss_outcome,
        from_logits=(True, False),
        reduction=("sum_over_batch_size", "none"),
        name=("bernoulli_nll", "other"),
        dtype=(None, "float64"),
    ),
    "losses.SumSquaredError": Case(
        loss_outcome,
        reduction=("sum_over_batch_size", "none"),
        name=("sum_squared_error", "other"),
        dtype=(None, "float64"),
    ),
    "losses.gaussian_kl": Case(itself, z_mean=(Z, OTHER_Z), z_log_var=(Z, OTHER_Z)),
    "metrics.active_units": Case(itself, z_mean=(Z, 0.1 * Z), threshold=(0.01, 10.0)),
    "metrics.importance_weighted_nll": Case(
        itself,
        x=(X, OTHER_X),
        z_mean=(Z, OTHER_Z),
        z_log_var=(Z, OTHER_Z),
        log_likelihood=(log_likelihood, lambda x, z: 2 * log_likelihood(x, z)),
        num_samples=(2, 3),
        batch_size=(1000, 4),
        seed=(0, 1),
    ),
    "metrics.linear_probe_error": Case(
        itself,
        train_codes=(Z, OTHER_Z),
        train_labels=(LABELS, OTHER_LABELS),
        test_codes=(OTHER_Z, X[:, :2]),
        test_labels=(LABELS, OTHER_LABELS),
        l2=(1.0, 1e-6),
    ),
    "metrics.mmd": Case(itself, first=(Z, OTHER_Z), second=(OTHER_Z, X[:, :2]), bandwidth=(None, 0.5)),
    "metrics.principal_angles": Case(itself, first=(Z, OTHER_Z), second=(X[:, :2], X[:, 2:])),
    "metrics.squared_error_per_image": Case(itself, x=(X, OTHER_X), reconstruction=(OTHER_X, OTHER_X + 1)),
    "models.AdversarialAutoencoder": Case(
        model_outcome,
        **PARTS,
        discriminator=(discriminator(), discriminator(kernel_initializer="ones")),
        prior=(priors.gaussian_prior, priors.swiss_roll_prior),
        num_labels=(None, With(3, {"discriminator": discriminator(5), "prior": priors.swiss_roll_prior})),
        seed=(None, 5),
        **KERAS,
    ),
    "models.AdversarialAutoencoder.compile": Case(
        lambda model: model.get_compile_config(),
        adversarial,
        optimizer=("adam", "sgd"),
        loss=(None, "mse"),
        discriminator_optimizer=("adam", "sgd"),
        encoder_optimizer=("adam", "sgd"),
    ),
    "models.AdversarialAutoencoder.fit": Case(fit_outcome, compiled_adversarial, **FIT),
    "models.AdversarialAutoencoder.sample": Case(
        itself,
        functools.partial(adversarial, num_labels=3),
        n=(6, 5),
        labels=(None, LABELS, {"seed": 5}),
        seed=(None, 5),
    ),
    "models.Autoencoder": Case(
        model_outcome, **PARTS, corruption=(None, New(lambda: layers.MaskingNoise(0.5, seed=5))), **KERAS
    ),
    "models.Autoencoder.decode": Case(itself, autoencoder, z=(Z, OTHER_Z), batch_size=(1024, 4)),
    "models.Autoencoder.encode": Case(itself, autoencoder, x=(X, OTHER_X), batch_size=(1024, 4)),
    "models.Autoencoder.evaluate": Case(
        itself,
        autoencoder,
        x=(Given(X, default=None), OTHER_X),
        y=(None, OTHER_X),
        batch_size=(None, 4),
        verbose=("auto", 0),
        sample_weight=(None, np.arange(6.0)),
    ),
    "models.Autoencoder.fit": Case(fit_outcome, autoencoder, **FIT),
    "models.Autoencoder.reconstruct": Case(itself, autoencoder, x=(X, OTHER_X), batch_size=(1024, 4)),
    "models.ContractiveAutoencoder": Case(
        model_outcome,
        encoder=(one_layer("sigmoid"), one_layer("tanh")),
        decoder=PARTS["decoder"],
        contraction_weight=(0.1, 0.2),
        penalty=("closed_form", "stochastic"),
        num_probes=(1, 2, {"penalty": "projected"}),
        stddev=(0.1, 0.2, {"penalty": "stochastic"}),
        seed=(None, 5, {"penalty": "projected"}),
        **KERAS,
    ),
    "models.EnergyBasedGAN": Case(
        model_outcome,
        generator=(generator("tanh"), generator("sigmoid")),
        discriminator=(judge("tanh"), judge("sigmoid")),
        margin=(50.0, 60.0),
        pulling_away=(0.0, 0.7),
        seed=(None, 5),
        **KERAS,
    ),
    "models.EnergyBasedGAN.compile": Case(
        lambda model: model.get_compile_config(),
        energy_based,
        optimizer=("adam", "sgd"),
        loss=(None, Refused("mse", "leave the loss out")),
        generator_optimizer=("adam", "sgd"),
    ),
    "models.EnergyBasedGAN.energy": Case(itself, energy_based, x=(X, OTHER_X), batch_size=(1024, 4)),
    "models.EnergyBasedGAN.fit": Case(fit_outcome, compiled_energy_based, **FIT),
    "models.EnergyBasedGAN.sample": Case(itself, energy_based, n=(6, 5), seed=(None, 5), batch_size=(1024, 4)),
    "models.VariationalAutoencoder": Case(
        model_outcome,
        encoder=(encoder("tanh", width=4), encoder("sigmoid", width=4)),
        decoder=PARTS["decoder"],
        kl_weight=(1.0, 0.5),
        output_activation=("sigmoid", None),
        seed=(None, 5),
        **KERAS,
    ),
    "models.VariationalAutoencoder.decode": Case(itself, variational, z=(Z, OTHER_Z), batch_size=(1024, 4)),
    "models.VariationalAutoencoder.encode": Case(itself, variational, x=(X, OTHER_X), batch_size=(1024, 4)),
    "models.VariationalAutoencoder.posterior": Case(itself, variational, x=(X, OTHER_X), batch_size=(1024, 4)),
    "models.VariationalAutoencoder.sample": Case(itself, variational, n=(6, 5), seed=(None, 5), batch_size=(1024, 4)),
    "networks.conv_decoder": Case(
        network_outcome,
        latent_dim=(2, 3),
        filters=([3], [3, 2]),
        output_shape=(SHAPE, OTHER_SHAPE),
        output_activation=("sigmoid", None),
        name=("decoder", "other"),
        **CONV,
    ),
    "networks.conv_encoder": Case(
        network_outcome,
        input_shape=(SHAPE, OTHER_SHAPE),
        filters=([3], [3, 2]),
        latent_dim=(2, 3),
        latent_activation=(None, "tanh"),
        name=("encoder", "other"),
        **CONV,
    ),
    "networks.unet": Case(
        image_network_outcome,
        skip=(True, False),
        residual=(False, True),
        name=("unet", "other"),
        **IMAGE_NETWORK,
    ),
    "networks.photograph_denoiser": Elsewhere("test_networks_stored.py"),
    "networks.recurrent_decoder": Case(
        network_outcome,
        latent_dim=(2, 3),
        units=([3], [3, 2]),
        output_dim=(4, 5),
        steps=(3, 4),
        output_activation=(None, "tanh"),
        name=("decoder", "other"),
        **RECURRENT,
    ),
    "networks.recurrent_encoder": Case(
        recurrent_encoder_outcome,
        input_dim=(4, 5),
        units=([3], [3, 2]),
        latent_dim=(2, 3),
        latent_activation=(None, "tanh"),
        name=("encoder", "other"),
        **RECURRENT,
    ),
    "networks.stacked_hourglass": Case(
        image_network_outcome,
        stacks=(2, 3),
        name=("stacked_hourglass", "other"),
        **IMAGE_NETWORK,
    ),
    "networks.mlp_decoder": Case(
        network_outcome,
        latent_dim=(2, 3),
        hidden_units=([3], [3, 2]),
        output_dim=(4, 5),
        output_activation=("sigmoid", None),
        name=("decoder", "other"),
        **MLP,
    ),
    "networks.mlp_encoder": Case(
        network_outcome,
        input_dim=(4, 5),
        hidden_units=([3], [3, 2]),
        latent_dim=(2, 3),
        latent_activation=(None, "tanh"),
        name=("encoder", "other"),
        **MLP,
    ),
    "optimizers.Adam": Case(
        optimizer_outcome,
        learning_rate=(0.001, 0.01),
        beta_1=(0.9, 0.5),
        beta_2=(0.999, 0.9),
        epsilon=(1e-7, 0.1),
        amsgrad=(False, True, {"beta_2": 0.5}),
        weight_decay=(None, 0.1),
        clipnorm=(None, 0.5),
        clipvalue=(None, 0.05),
        global_clipnorm=(None, 0.5),
        use_ema=(False, True),
        ema_momentum=(0.99, 0.5, {"use_ema": True}),
        ema_overwrite_frequency=(None, 2, {"use_ema": True}),
        loss_scale_factor=(None, 8.0),
        gradient_accumulation_steps=(None, 2),
        name=(None, "other"),
    ),
    "plots.explore_latent": Case(
        drawn,
        decode=(lambda z: z @ OTHER_Z.T[:, :4], lambda z: z @ Z.T[:, :4]),
        extent=((-1, 1, -1, 1), (-2, 2, -1, 1)),
        columns=(12, 4),
        **AX,
    ),
    "plots.plot_filters": Case(drawn, filters=(IMAGES, OTHER_IMAGES), columns=(10, 2), title=(None, "title"), **AX),
    "plots.plot_history": Case(
        drawn,
        history=(HISTORY, HISTORY | {"loss": [2.0]}),
        keys=(("loss", "val_loss"), ("kl",)),
        ylabel=("squared error per image", "nats"),
        **AX,
    ),
    "plots.plot_images": Case(drawn, rows=({"a": IMAGES}, {"b": OTHER_IMAGES}), titles=(None, list("abc")), **AX),
    "plots.plot_latent": Case(drawn, z=(Z, OTHER_Z), labels=(LABELS, OTHER_LABELS), **AX),
    "plots.plot_latent_grid": Case(
        drawn,
        images=(IMAGES.reshape(1, 3, 16), OTHER_IMAGES.reshape(1, 3, 16)),
        extent=(None, (-2, 2, -1, 1)),
        **AX,
    ),
    "plots.use_style": Case(itself),
    "pretraining.pretrain_layerwise": Case(
        lambda model: (type(model).__name__, model.get_weights(), model.reconstruct(X)),
        epochs=(10, 1),
        **{
            argument: (*values, {"epochs": 1})
            for argument, values in {
                "x": (X, OTHER_X),
                "widths": ([3, 2], [2, 2]),
                "activation": ("sigmoid", "tanh"),
                "latent_activation": (None, "tanh"),
                "output_activation": ("sigmoid", None),
                "kernel_initializer": ("glorot_uniform", "ones"),
                "corruption": (None, [New(lambda: layers.MaskingNoise(0.5, seed=5)), None]),
                "optimizer": ("adam", "sgd"),
                "loss": (None, "mae"),
                "batch_size": (128, 4),
                "verbose": (1, 0),
            }.items()
        },
    ),
    "priors.gaussian_mixture_prior": Case(itself, **PRIOR, **PLANAR),
    "priors.gaussian_prior": Case(
        itself,
        **PRIOR,
        latent_dim=(2, 3),
        labels=(None, Refused(LABELS, "no parts that labels could choose")),
        num_labels=(10, NotUsed(4)),
    ),
    "priors.swiss_roll_prior": Case(itself, **PRIOR, **PLANAR),
    "restoration.restore": Case(
        itself,
        denoiser=(tf.tanh, tf.sin),
        y=(X, OTHER_X),
        degradation=(lambda x: x / 2, lambda x: x / 3),
        start=(None, OTHER_X),
        prior_weight=(0.1, 0.2),
        stddev=(0.0, 0.1),
        steps=(100, 3),
        learning_rate=(0.1, 0.2, {"steps": 3}),
        momentum=(0.9, 0.5, {"steps": 3}),
        metrics=(None, {"mean": np.mean}),
        seed=(None, 5, {"stddev": 0.1}),
        verbose=("auto", 0, {"steps": 3}),
    ),
}


# ---- the names, their signatures and documentation


KERAS_CLASSES = (keras.Model, keras.Loss, keras.Optimizer, keras.callbacks.Callback)


def is_hook(name, value):
    """Keras's own, such as `call` and `get_config`: what is overridden without documentation of its own."""
    return value.__doc__ is None and any(hasattr(base, name) for base in KERAS_CLASSES)


def public_names():
    names = {"print_versions": aelib.print_versions}
    for info in pkgutil.iter_modules(aelib.__path__, "aelib."):
        for name, value in vars(importlib.import_module(info.name)).items():
            own = getattr(value, "__module__", "").startswith(info.name)
            if own and not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
                public = f"{info.name.removeprefix('aelib.')}.{name}"
                names[public] = value
                for method, function in vars(value).items() if inspect.isclass(value) else ():
                    if not method.startswith("_") and inspect.isfunction(function) and not is_hook(method, function):
                        names[f"{public}.{method}"] = function
    return names


NAMES = public_names()


def parameters(name):
    """The arguments that the signature names, with their defaults; `...` stands for what a case need not give."""
    given = dict(inspect.signature(NAMES[name]).parameters)
    given.pop("self", None)
    named = {each.name: each.default for each in given.values() if each.kind is not each.VAR_KEYWORD}
    is_layer = inspect.isclass(NAMES[name]) and issubclass(NAMES[name], keras.Layer)
    return {**dict.fromkeys(KERAS if is_layer else (), ...), **named}


def section(name, title):
    """The lines below a title in the docstring; `None` without one."""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)+)", inspect.getdoc(NAMES[name]) + "\n", re.MULTILINE)
    return found and found[1]


def documented(name):
    found = re.findall(r"^    (\w+(?:, \w+)*):", section(name, "Args") or "", re.MULTILINE)
    return {each for names in found for each in names.split(", ")}


def raises(value):
    """Whether it raises an error itself, or by what it calls in its module or in those beside it."""
    module, source = sys.modules[value.__module__], inspect.getsource(value)
    helpers = {getattr(module, helper, None) for helper in re.findall(r"\b(_[a-z]\w+)\(", source)} - {value}
    for other, helper in re.findall(r"\b(\w+)\.([a-z]\w+)\(", source):
        beside = getattr(module, other, None)
        if inspect.ismodule(beside) and beside.__package__ == module.__package__:
            helpers.add(getattr(beside, helper, None))
    return bool(re.search(r"^ +raise ", source, re.MULTILINE)) or any(map(raises, filter(inspect.isfunction, helpers)))


# ---- outcomes


def resolved(value):
    value = value.value if isinstance(value, Given) else value
    if isinstance(value, list):
        return [resolved(each) for each in value]
    return value.make() if isinstance(value, New) else value


def made(name, changes):
    """What a call gives with the default arguments and these, or what it was called on where it gives nothing."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    case = CASES[name]
    values = {argument: default for argument, (default, *_) in case.arguments.items()} | changes
    values = {argument: resolved(value) for argument, value in values.items() if value is not ...}
    if case.on is None:
        return NAMES[name](**values)
    owner = case.on()
    result = getattr(owner, name.rsplit(".", 1)[1])(**values)
    return owner if result is None else result


def outcome(name, changes):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = CASES[name].outcome(made(name, changes))
        plt.close("all")
    return keras.tree.flatten((found, bool(printed.getvalue())))


def changes_of(name, argument):
    """The change of an argument, and what goes with it and with the default."""
    _, other, *beside = CASES[name].arguments[argument]
    beside = beside[0] if beside else {}
    if isinstance(other, With):
        return {argument: other.value, **other.others}, beside
    return {**beside, argument: other}, beside


USUAL = {}


def usual_outcome(name, beside):
    """With the defaults, and with what must stand beside the argument that is tried."""
    key = name, repr(beside)
    if key not in USUAL:
        USUAL[key] = outcome(name, beside)
        assert same(USUAL[key], outcome(name, beside)), "two equal calls must have the same outcome"
    return USUAL[key]


def same(first, second):
    if len(first) != len(second):
        return False
    for one, other in zip(map(np.asarray, first), map(np.asarray, second), strict=True):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        if not (np.allclose(one, other, rtol=1e-5) if one.dtype.kind == "f" else np.array_equal(one, other)):
            return False
    return True


# ---- the tests


@pytest.fixture(autouse=True)
def without_tracing():
    """A traced step would take longer than all the steps of these small models."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")

TRIED = [
    (name, argument) for name, case in CASES.items() if not isinstance(case, Elsewhere) for argument in case.arguments
]
KEPT = [
    (name, argument)
    for name, argument in TRIED
    if inspect.isclass(NAMES.get(name)) and issubclass(NAMES[name], keras.Layer | keras.Loss | keras.Optimizer)
]


def test_every_public_name_has_a_case():
    assert set(CASES) == set(NAMES)


@pytest.mark.parametrize("name", CASES)
def test_every_argument_has_a_case_and_the_default_that_it_states(name):
    arguments, signature = CASES[name].arguments, parameters(name)
    assert set(arguments) == set(signature)
    for argument, (default, *_) in arguments.items():
        if signature[argument] is not inspect.Parameter.empty:
            default = default.default if isinstance(default, Given) else default
            assert signature[argument] is default or signature[argument] == default, argument


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case, Elsewhere)])
def test_arguments_that_are_tried_elsewhere_are_named_there(name):
    text = Path(__file__).with_name(CASES[name].file).read_text(encoding="utf-8")
    for argument in CASES[name].arguments:
        assert re.search(rf"\b{argument}\b", text), argument


@pytest.mark.parametrize("name, argument", TRIED)
def test_each_argument_changes_the_outcome(name, argument):
    changes, beside = changes_of(name, argument)
    before = usual_outcome(name, beside)
    if isinstance(changes[argument], Refused):
        with pytest.raises(ValueError, match=changes[argument].message):
            outcome(name, {argument: changes[argument].value})
    elif isinstance(changes[argument], NotUsed):
        assert same(before, outcome(name, {argument: changes[argument].value}))
        assert re.search(rf"^    {argument}: Not used", section(name, "Args"), re.MULTILINE)
    else:
        assert not same(before, outcome(name, changes))


def saved_and_loaded(original, path):
    """A layer, a loss and an optimizer are saved in a model."""
    if isinstance(original, keras.Model):
        original.save(path)
        return keras.saving.load_model(path)
    if isinstance(original, keras.Loss):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        model.compile("sgd", original)
        model.save(path)
        return keras.saving.load_model(path).loss
    if isinstance(original, keras.Optimizer):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        model.compile(original, "mse")
        original.build(model.trainable_variables)
        model.save(path)
        return type(original).from_config(keras.saving.load_model(path).optimizer.get_config())
    shapes = {layers.Sampling: [(2,), (2,)], layers.DenseTranspose: (2,)}.get(type(original), (4,))
    inputs = [keras.Input(shape) for shape in shapes] if isinstance(shapes, list) else keras.Input(shapes)
    keras.Model(inputs, original(inputs)).save(path)
    return keras.saving.load_model(path).layers[-1]


@pytest.mark.parametrize("name, argument", KEPT)
def test_each_argument_is_kept_by_its_config_and_by_saving(name, argument, tmp_path):
    changes, _ = changes_of(name, argument)
    if "seed" in CASES[name].arguments:
        changes = {"seed": 5, **changes}  # random unless given, and then not the same after loading
    compare = CASES[name].outcome
    expected = keras.tree.flatten(compare(made(name, changes)))
    original = made(name, changes)
    again = type(original).from_config(original.get_config())
    if isinstance(original, keras.Model):
        again.set_weights(original.get_weights())
    assert same(expected, keras.tree.flatten(compare(again))), "from_config(get_config())"
    assert same(expected, keras.tree.flatten(compare(saved_and_loaded(original, tmp_path / "saved.keras"))))


@pytest.mark.parametrize("name", CASES)
def test_docstring_says_what_goes_in_and_out(name):
    value, arguments = NAMES[name], CASES[name].arguments
    inherited = {"dtype"} if arguments.get("dtype", (None,))[0] is ... else set()
    assert documented(name) == set(arguments) - inherited
    if name.count(".") == 2:  # the rest is said by its class
        return
    wanted = set() if dataclasses.is_dataclass(value) else {"Example"}
    if inspect.isclass(value) and issubclass(value, keras.Layer):
        wanted |= {"Call arguments", "Output shape"}
    elif inspect.isclass(value) and issubclass(value, keras.Loss):
        wanted |= {"Call arguments", "Returns"}
    elif inspect.isfunction(value) and arguments:
        wanted |= {"Returns"}
    if raises(value):
        wanted |= {"Raises"}
    assert not [title for title in wanted if section(name, title) is None]
