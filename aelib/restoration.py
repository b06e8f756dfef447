"""Restoration of damaged images with a denoising autoencoder as the prior."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from aelib.callbacks import progress_in_notebook


def restore(
    denoiser,
    y,
    degradation,
    start=None,
    prior_weight=0.1,
    stddev=0.0,
    steps=100,
    learning_rate=0.1,
    momentum=0.9,
    metrics=None,
    seed=None,
    verbose="auto",
):
    """Restores images from what a degradation has left of them, by gradient descent; nothing is trained.

    With the degradation `A` and the denoiser `r` it goes down

    `E(x) = ||A(x) - y||^2 + gamma ||r(x) - x||^2`,

    where the first term asks for an image that explains the observation, and the second for one that the denoiser has
    nothing to change in. Each step is `v = momentum * v - learning_rate * g` and `x = x + v`, with the gradient

    `g = 2 A'(x)^T (A(x) - y) + 2 gamma (r'(x) - I)^T (r(x) - x)`.

    `A` and `r` are any functions that TensorFlow can differentiate, so that neither transpose is written by anyone.

    The residual of the best denoiser of Gaussian noise is `r(x) - x = stddev^2 * (gradient of log p(x))`, with `p` the
    density of noisy images. So the second term is zero where that density has a maximum. A denoiser knows the images of
    its training, which were noisy: with `stddev`, fresh noise is added to what it is shown, `x + noise` for `x` in both
    places of the second term.

    Args:
        denoiser: A function from images to images of the same shape, such as a trained Keras model.
        y: What was observed, shape `(batch, ...)`. The channels of a colour photograph may be a batch of grey images.
        degradation: A function `A` from images to observations, of tensors.
        start: Images to begin with, of the shape of the result; `y` unless given, if its shape is that one.
        prior_weight: The weight `gamma` of the denoiser's term: a number, or one for each step.
        stddev: Standard deviation of the noise that the denoiser is shown: a number, or one for each step.
        steps: Number of steps.
        learning_rate: Step size. Too large a one diverges, and is reported.
        momentum: Share of the last step that is added to the next.
        metrics: Optional dictionary from a name to a function of the images (a NumPy array), noted at every step.
        seed: Seed of the noise, an integer; random unless given.
        verbose: `"auto"` shows a progress bar (in a notebook `aelib.callbacks.ProgressBar`), 1 Keras's, and 0 none.

    Returns:
        The images, a float32 NumPy array of the shape of `start`, not cut to any range; and the history, a dictionary
        of lists with `steps + 1` entries, from the start to the result: `data` is the mean of `||A(x) - y||^2` over the
        batch, `prior` that of `||r(x) - x||^2`, and one list for each of the `metrics`.

    Raises:
        ValueError: If an argument has a wrong shape or range, is not finite, or the descent diverges.

    Example:

    >>> black = lambda x: 0 * x  # for this denoiser every image is black, so that a tenth of a grey one is left
    >>> noisy = np.full((1, 4, 4, 1), 0.5)
    >>> options = {"prior_weight": 9.0, "learning_rate": 0.02, "momentum": 0.0, "verbose": 0}
    >>> image, history = restore(black, noisy, degradation=lambda x: x, **options)
    >>> round(float(image.mean()), 3), round(history["prior"][0], 3)
    (0.05, 4.0)

    Reference:
        S. A. Bigdeli and M. Zwicker, "Image restoration using autoencoding priors", 2017, equations 8 to 11; G. Alain
        and Y. Bengio, "What regularized auto-encoders learn from the data-generating distribution", JMLR 15, 2014,
        theorem 1.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps must be a positive whole number, not {steps!r}.")
    x, y = _checked_images(denoiser, y, degradation, start)
    prior_weights = _for_each_step("prior_weight", prior_weight, steps)
    stddevs = _for_each_step("stddev", stddev, steps)
    if not (np.isfinite(learning_rate) and learning_rate > 0 and 0 <= momentum < 1):
        raise ValueError(
            f"learning_rate must be positive and momentum in [0, 1), not {learning_rate!r} and {momentum!r}."
        )
    generator = keras.random.SeedGenerator(seed)

    @tf.function(autograph=False)  # which would warn of every lambda whose source it cannot read
    def terms_and_gradient(x, gamma, stddev):
        noise = stddev * keras.random.normal(tf.shape(x), seed=generator)
        with tf.GradientTape() as tape:
            tape.watch(x)
            shown = x + noise
            data = tf.reduce_sum(tf.square(degradation(x) - y))
            prior = tf.reduce_sum(tf.square(denoiser(shown) - shown))
            energy = data + gamma * prior
        images = tf.cast(tf.shape(x)[0], x.dtype)
        return data / images, prior / images, tape.gradient(energy, x)

    metrics = {} if metrics is None else metrics
    history = {name: [] for name in ("data", "prior", *metrics)}
    velocity = tf.zeros_like(x)
    with progress_in_notebook(verbose, None) as shown, _progress(steps, **shown) as progress:
        for step in range(steps + 1):
            at = min(step, steps - 1)  # after the last step the terms are noted once more, and no step is taken
            data, prior, gradient = terms_and_gradient(x, prior_weights[at], stddevs[at])
            noted = {"data": float(data), "prior": float(prior)}
            if not all(np.isfinite(value) for value in noted.values()):
                raise ValueError(
                    f"The descent diverged at step {step}: give a smaller learning_rate than {learning_rate}, or a "
                    "smaller prior_weight."
                )
            noted |= {name: float(metric(x.numpy())) for name, metric in metrics.items()}
            for name, value in noted.items():
                history[name].append(value)
            if step < steps:
                velocity = momentum * velocity - learning_rate * gradient
                x = x + velocity
                progress.on_train_batch_end(step, noted)
    return x.numpy(), history


def _checked_images(denoiser, y, degradation, start):
    """Returns the start and the observation as tensors that fit each other, the degradation and the denoiser."""
    y = _as_tensor("y", y)
    x = y if start is None else _as_tensor("start", start)
    observed = tf.convert_to_tensor(degradation(x))
    if observed.shape != y.shape:
        remedy = "Give a start of the shape that the result is to have" if start is None else "They must fit"
        raise ValueError(
            f"The degradation makes shape {tuple(observed.shape)} of images of shape {tuple(x.shape)}, but y has shape "
            f"{tuple(y.shape)}. {remedy}."
        )
    denoised = tf.convert_to_tensor(denoiser(x))
    if denoised.shape != x.shape:
        raise ValueError(
            f"The denoiser makes shape {tuple(denoised.shape)} of images of shape {tuple(x.shape)}; it must keep it. A "
            "denoiser of grey images takes the channels of a colour photograph as a batch."
        )
    return x, y


def _as_tensor(name, images):
    images = np.asarray(images)
    if images.ndim < 2 or not images.size or not np.issubdtype(images.dtype, np.number):
        raise ValueError(
            f"{name} must be a batch of images, numbers of shape (batch, ...), not {images.dtype} of shape "
            f"{images.shape}."
        )
    if not np.isfinite(images).all():
        raise ValueError(f"{name} has values that are not finite.")
    return tf.constant(images, tf.float32)


def _for_each_step(name, value, steps):
    values = np.asarray(value, "float32")
    if values.shape not in ((), (steps,)) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(
            f"{name} must be a number that is not negative, or {steps} of them, one a step; not {value!r}."
        )
    return tf.constant(np.broadcast_to(values, (steps,)))


@contextlib.contextmanager
def _progress(steps, verbose, callbacks):
    """Drives the bars of Keras's `fit` through one epoch of so many steps."""
    progress = keras.callbacks.CallbackList(
        callbacks, add_progbar=verbose != 0, verbose=1 if verbose == "auto" else verbose, epochs=1, steps=steps
    )
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    yield progress
    progress.on_epoch_end(0, {})
    progress.on_train_end()
