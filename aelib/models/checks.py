"""What the models refuse, and why."""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf


def fits(shape, wanted):
    """Whether a shape is the wanted one, where an open axis, None, is any size."""
    sizes = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(None in pair or pair[0] == pair[1] for pair in sizes)


def check_pair(encoder, decoder):
    check_built(encoder, decoder)
    code, wanted = encoder.output_shape, decoder.input_shape
    if not fits(code, wanted):
        raise ValueError(
            f"The encoder's code has shape {code[1:]}, but the decoder takes {wanted[1:]}. "
            "Give both the same latent_dim."
        )


def check_built(encoder, decoder):
    if not (encoder.built and decoder.built):
        raise ValueError("Give built models: start the encoder and the decoder with keras.Input, or call them once.")
    if not fits(decoder.output_shape, encoder.input_shape):
        raise ValueError(
            f"The encoder takes inputs of shape {encoder.input_shape[1:]}, but the decoder gives back "
            f"{decoder.output_shape[1:]}. They must be equal: a reconstruction is compared with its input."
        )


def check_weight(name, value):
    if not (isinstance(value, numbers.Real) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a number, 0 or more, but it is {value!r}.")


def refuse_batch_normalization(layer):
    if isinstance(layer, keras.layers.BatchNormalization):
        raise ValueError(
            f"The encoder has a batch normalization, {layer.name!r}: in training an example's code then depends on the "
            "whole batch, so dz/dx of one example is not its contraction. Leave it out, or use LayerNormalization."
        )
    for sublayer in getattr(layer, "layers", ()):
        refuse_batch_normalization(sublayer)


def check_discriminator(encoder, discriminator, num_labels):
    if len(encoder.output_shape) != 2:
        raise ValueError(
            f"The code must have the shape (batch, latent_dim), but it has {encoder.output_shape}: flatten it."
        )
    if num_labels is not None and (isinstance(num_labels, bool) or not isinstance(num_labels, int) or num_labels < 1):
        raise ValueError(f"num_labels must be a whole number above 0, or None, but it is {num_labels!r}.")
    if not discriminator.built:
        raise ValueError("Give a built discriminator: start it with keras.Input, or call it once.")
    latent_dim = encoder.output_shape[1]
    width = latent_dim + (num_labels or 0)
    if tuple(discriminator.input_shape[1:]) != (width,) or tuple(discriminator.output_shape[1:]) != (1,):
        labels = "" if num_labels is None else f" and {num_labels} for the label"
        raise ValueError(
            f"The discriminator takes {discriminator.input_shape[1:]} and gives {discriminator.output_shape[1:]}; it "
            f"must take {width} numbers ({latent_dim} of the code{labels}) and give one."
        )
    last = discriminator.layers[-1]
    if getattr(last, "activation", keras.activations.linear) is not keras.activations.linear:
        raise ValueError(
            f"The discriminator must give a logit, any number, but its last layer has the activation "
            f"{last.activation.__name__!r}: leave it out."
        )


def check_labels(y, num_labels):
    """Labels of a batch as a vector, shape `(batch,)`."""
    if y is None:
        raise ValueError(
            "The prior is label-conditioned (num_labels is given), but there are no labels: call fit(x, labels) "
            "and evaluate(x, labels), and give validation_data=(x_val, labels_val)."
        )
    y = tf.convert_to_tensor(y)
    # Where labels of shape (batch,) and (batch, 1) were given one after the other, the compiled step knows no shape.
    if not y.dtype.is_integer or (y.shape.rank is not None and y.shape[1:] not in ((), (1,))):
        raise ValueError(
            f"The labels of a label-conditioned prior are whole numbers, shape (batch,), not {y.dtype.name} of "
            f"shape {tuple(y.shape)}. One-hot labels: take their argmax."
        )
    labels = tf.reshape(y, (-1,))
    message = f"The labels must be whole numbers from 0 to num_labels - 1 = {num_labels - 1}."
    tf.debugging.assert_non_negative(labels, message)
    tf.debugging.assert_less(labels, tf.cast(num_labels, labels.dtype), message)
    return labels


def check_shape(network, shape, name="array"):
    wanted = tuple(network.input_shape[1:])
    if not fits(tuple(shape)[1:], wanted) or not len(shape) or shape[0] == 0:
        advice = ""
        if len(shape) and fits(shape, wanted):
            advice = " Of a single example, make a batch: x[None]."
        elif len(shape) and fits((*shape[1:], 1), wanted):
            advice = " Add the last axis: x[..., None]."
        what = "an array" if name == "array" else name
        raise ValueError(
            f"The {network.name} takes {what} of shape (n, {', '.join(map(str, wanted))}) with n at least 1, not "
            f"{tuple(shape)}.{advice}"
        )


def check_finite(name, array):
    # A sum is quick, and is not finite if a value is not; of large values it can overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        total = tf.reduce_sum(array) if tf.is_tensor(array) else np.sum(array)
    if np.isfinite(total):
        return
    rows = np.flatnonzero(~np.isfinite(np.asarray(array)).reshape(len(array), -1).all(axis=1))
    if len(rows):
        raise ValueError(
            f"{name} has values that are not finite in {len(rows)} of {len(array)} examples, the first at index "
            f"{rows[0]}: remove the examples, or fill the values in."
        )


def check_equal_length(arrays):
    lengths = {name: array.shape[0] for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        found = " and ".join(f"{length} in {name}" for name, length in lengths.items())
        raise ValueError(f"There must be as many examples everywhere, but there are {found}.")


def one_weight_an_example(sample_weight):
    """Weights as a vector, shape `(batch,)`."""
    if sample_weight is None:
        return None
    if sample_weight.shape[1:] not in ((), (1,)):
        raise ValueError(
            f"The weights have shape {tuple(sample_weight.shape)}, but a term of this loss is one value an example: "
            "give one weight an example, shape (n,)."
        )
    return tf.reshape(sample_weight, (-1,))
