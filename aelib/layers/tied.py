"""A decoder's layer that shares the weights of an encoder's."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="aelib")
class DenseTranspose(keras.layers.Layer):
    """The mirror of a dense layer, with the same kernel: the decoder's half of tied weights.

    `y = activation(z W^T + b)`, where `W` is the kernel of `dense` itself, not a copy, and `b` a bias of this layer.
    The gradient of `W` is the sum of what both layers contribute, and a model that has both saves and loads one kernel.

    Args:
        dense: The built `keras.layers.Dense` whose kernel, shape `(features, units)`, is shared.
        activation: Activation of the output; linear unless told.
        name: The layer's name.

    Call arguments:
        inputs: `z`, shape `(..., units)`.

    Input shape:
        `(..., units)`, what `dense` gives.

    Output shape:
        `(..., features)`, what `dense` takes.

    Raises:
        ValueError: If `dense` is not a built `Dense`, or the inputs do not have its number of units.

    The weights listed under this layer are its bias and those of `dense`. To freeze it freezes `dense`; a copy of a
    decoder alone, by `keras.models.clone_model` or by saving and loading it, has a kernel of its own.

    Example:

    >>> dense = keras.layers.Dense(2, activation="relu")
    >>> dense.build((None, 3))
    >>> mirror = DenseTranspose(dense, activation="sigmoid")
    >>> mirror(dense(ops.ones((4, 3)))).shape
    TensorShape([4, 3])
    >>> sum(weight is dense.kernel for weight in mirror.weights)
    1

    Reference:
        P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol, "Stacked denoising autoencoders",
        JMLR 11, 2010, section 2.2 (tied weights, W' = W^T).
    """

    def __init__(self, dense, activation=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(dense, keras.layers.Dense) or not dense.built:
            kind = "one that is not built" if isinstance(dense, keras.layers.Dense) else repr(dense)
            raise ValueError(
                f"DenseTranspose shares the kernel of a built keras.layers.Dense, but got {kind}. Build it first: put "
                "it into a model that starts with keras.Input, or call it once."
            )
        self.dense = dense
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape):
        features, units = self.dense.kernel.shape
        if input_shape[-1] != units:
            raise ValueError(
                f"{self.name} mirrors a Dense of {units} units, so it takes inputs of shape (..., {units}), not "
                f"{tuple(input_shape)}."
            )
        self.bias = self.add_weight(name="bias", shape=(features,), initializer="zeros")

    def call(self, inputs):
        return self.activation(ops.matmul(inputs, ops.transpose(self.dense.kernel)) + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dense.kernel.shape[0])

    def get_config(self):
        return {
            **super().get_config(),
            "dense": keras.saving.serialize_keras_object(self.dense),
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "dense": keras.saving.deserialize_keras_object(config["dense"])})
