"""Layers that several networks are made of, and the check of their sizes."""

import keras


def dense(units, activation, kernel_initializer, name):
    return keras.layers.Dense(units, activation, kernel_initializer=own(kernel_initializer), name=name)


def conv(filters, kernel_size, activation, kernel_initializer, name, strides=1):
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        data_format="channels_last",
        activation=activation,
        kernel_initializer=own(kernel_initializer),
        name=name,
    )


def own(kernel_initializer):
    # An initializer object draws the same values every time it is called: each layer gets a clone with its own seed.
    initializer = keras.initializers.get(kernel_initializer)
    return initializer.clone() if hasattr(initializer, "clone") else initializer


def check_positive(name, what, values):
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: {what} must be a positive whole number, but one is {value!r}.")
