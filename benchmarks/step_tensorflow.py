"""The models of step_time in TensorFlow: through aelib, in a bare loop, and as Keras's own examples do it."""

import keras
import numpy as np
import tensorflow as tf

from aelib import layers, losses, models, networks, optimizers
from benchmarks import common


def start(path, config):
    """Loads the images, and keeps the configuration."""
    global CONFIG, X
    CONFIG, X = config, np.load(path)
    return {}


# ---- the six models: their networks, the same in all ways


def parts(model):
    """Returns new networks of a model: encoder, decoder, and the discriminator where there is one."""
    spec = CONFIG["models"][model]
    if model == "convolutional":
        shape, filters, latent_dim = (28, 28, 1), spec["filters"], spec["latent_dim"]
        return networks.conv_encoder(shape, filters, latent_dim), networks.conv_decoder(
            latent_dim, filters[::-1], shape
        )
    pixels, *hidden, latent_dim = spec["widths"]
    if model == "CAE":
        encoder = networks.mlp_encoder(pixels, [], latent_dim, latent_activation="sigmoid")
        tied = layers.DenseTranspose(encoder.layers[-1], "sigmoid")
        return encoder, keras.Sequential([keras.Input((latent_dim,)), tied])
    if model == "VAE":
        encoder = networks.mlp_encoder(pixels, hidden, 2 * latent_dim)
        return encoder, networks.mlp_decoder(latent_dim, hidden[::-1], pixels, output_activation=None)
    pair = networks.mlp_encoder(pixels, hidden, latent_dim), networks.mlp_decoder(latent_dim, hidden[::-1], pixels)
    return (*pair, networks.mlp_encoder(latent_dim, spec["discriminator"], 1)) if model == "AAE" else pair


def images_for(model):
    return X.reshape(-1, 28, 28, 1) if model == "convolutional" else X


def cross_entropy(x, reconstruction):
    return 784 * keras.losses.binary_crossentropy(x, reconstruction)


# ---- through aelib, as the lessons do it


def aelib(model, new_adam=optimizers.Adam, **compile_options):
    spec = CONFIG["models"][model]
    if model == "VAE":
        autoencoder, loss = models.VariationalAutoencoder(*parts(model)), losses.BernoulliNLL()
    elif model == "CAE":
        autoencoder = models.ContractiveAutoencoder(*parts(model), contraction_weight=spec["contraction_weight"])
        loss = cross_entropy
    elif model == "AAE":
        autoencoder, loss = models.AdversarialAutoencoder(*parts(model)), losses.SumSquaredError()
    else:
        autoencoder, loss = models.Autoencoder(*parts(model)), losses.SumSquaredError()
    if model == "AAE":
        compile_options |= {"discriminator_optimizer": new_adam(), "encoder_optimizer": new_adam()}
    autoencoder.compile(new_adam(), loss, steps_per_execution=CONFIG["steps_per_execution"], **compile_options)
    fit_options = {"batch_size": CONFIG["batch_size"], "epochs": spec["epochs"], "verbose": 0}
    return lambda: autoencoder.fit(images_for(model), **fit_options)


def aelib_xla(model):
    return aelib(model, jit_compile=True)


def aelib_keras_adam(model):
    return aelib(model, keras.optimizers.Adam)


# ---- the same updates written out, for the bare loop and for Keras's custom train_step


def descend(optimizer, variables, loss_of):
    with tf.GradientTape() as tape:
        loss = loss_of()
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss


def update_of(model, new_adam):
    """Returns a function that does one training step on a batch, and returns its losses."""
    encoder, decoder, *discriminator = parts(model)
    both = list({id(each): each for each in encoder.trainable_variables + decoder.trainable_variables}.values())
    adam = [new_adam() for _ in range(3 if discriminator else 1)]
    weight = CONFIG["models"][model].get("contraction_weight")

    def squared_error(x):
        reconstruction = decoder(encoder(x, training=True), training=True)
        return tf.reduce_mean(tf.reduce_sum(tf.square(x - reconstruction), axis=range(1, x.shape.rank)))

    def negative_elbo(x):
        z_mean, z_log_var = tf.split(encoder(x, training=True), 2, axis=1)
        z_log_var = tf.clip_by_value(z_log_var, -models.LOG_VAR_LIMIT, models.LOG_VAR_LIMIT)
        z = z_mean + tf.exp(z_log_var / 2) * tf.random.normal(tf.shape(z_mean))
        logits = decoder(z, training=True)
        nll = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(x, logits), axis=1)
        kl = tf.reduce_sum(tf.square(z_mean) + tf.math.expm1(z_log_var) - z_log_var, axis=1) / 2
        return tf.reduce_mean(nll + kl)

    def contracted(x):
        z = encoder(x, training=True)
        slopes = tf.square(z * (1 - z))
        contraction = tf.linalg.matvec(slopes, tf.reduce_sum(tf.square(encoder.layers[-1].kernel), axis=0))
        return tf.reduce_mean(cross_entropy(x, decoder(z, training=True)) + weight * contraction)

    def one_loss(x):
        loss_of = {"VAE": negative_elbo, "CAE": contracted}.get(model, squared_error)
        return [descend(adam[0], both, lambda: loss_of(x))]

    def three_losses(x):
        [judge] = discriminator
        softplus = tf.math.softplus

        def told_apart():
            logits = judge(tf.concat([z_prior, z], axis=0), training=True)
            from_prior, encoded = tf.split(logits, 2)
            return tf.reduce_mean(softplus(-from_prior) + softplus(encoded)) / 2

        reconstruction_loss = descend(adam[0], both, lambda: squared_error(x))
        z = encoder(x, training=True)
        z_prior = tf.random.normal(tf.shape(z))
        discriminator_loss = descend(adam[1], judge.trainable_variables, told_apart)
        encoder_loss = descend(
            adam[2],
            encoder.trainable_variables,
            lambda: tf.reduce_mean(softplus(-judge(encoder(x, training=True), training=True))),
        )
        return [reconstruction_loss, discriminator_loss, encoder_loss]

    return three_losses if discriminator else one_loss


def bare(model):
    images, update = tf.constant(images_for(model)), update_of(model, optimizers.Adam)

    @tf.function
    def step(rows):
        return update(tf.gather(images, rows))

    def run():
        for _ in range(CONFIG["models"][model]["epochs"]):
            for rows in np.random.permutation(len(X)).reshape(-1, CONFIG["batch_size"]):
                step(rows)

    return run


# ---- as Keras's own examples do it


class CustomTraining(keras.Model):
    """A model whose train_step is written out, with a metric for each loss."""

    def __init__(self, update, number_of_losses):
        super().__init__()
        self.update = update
        self.trackers = [keras.metrics.Mean(name=f"loss_{number}") for number in range(number_of_losses)]

    @property
    def metrics(self):
        return self.trackers

    def train_step(self, x):
        for tracker, loss in zip(self.trackers, self.update(x), strict=True):
            tracker.update_state(loss)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def keras_example(model):
    images = images_for(model)
    fit_options = {"batch_size": CONFIG["batch_size"], "epochs": CONFIG["models"][model]["epochs"], "verbose": 0}
    if model in ("VAE", "AAE", "CAE"):
        custom = CustomTraining(update_of(model, keras.optimizers.Adam), 3 if model == "AAE" else 1)
        custom.compile("adam")
        return lambda: custom.fit(images, **fit_options)
    encoder, decoder = parts(model)
    inputs = keras.Input(images.shape[1:])
    autoencoder = keras.Model(inputs, decoder(encoder(inputs)))
    autoencoder.compile("adam", "mean_squared_error")
    return lambda: autoencoder.fit(images, images, **fit_options)


# ---- the arithmetic


def matrix_product(_):
    a = tf.random.normal(2 * [CONFIG["matrix_size"]])

    def run():
        for _ in range(CONFIG["matrix_products"]):
            product = tf.matmul(a, a)
        product.numpy()

    return run


def flop(model):
    """Returns the floating-point operations of a step, counted by TensorFlow's profiler in the bare loop's graph."""
    batch = tf.TensorSpec((CONFIG["batch_size"], *images_for(model).shape[1:]))
    graph = tf.function(update_of(model, keras.optimizers.Adam)).get_concrete_function(batch).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


# ---- answers

WAYS = {
    "aelib": aelib,
    "aelib_keras_adam": aelib_keras_adam,
    "aelib_xla": aelib_xla,
    "bare": bare,
    "keras": keras_example,
    "matrix_product": matrix_product,
}

if __name__ == "__main__":
    common.serve(start, common.stopwatch(WAYS), flop)
