"""What the models share whose training step has several updates, each with an optimizer of its own."""

import keras

from aelib.models import learning_rates
from aelib.models.autoencoder import Autoencoder


class SeveralOptimizers(Autoencoder):
    """Sets the optimizers beside Keras's own `optimizer`, saves them, and moves their learning rates with its.

    A subclass gives `_weights_of_updates()`: what each optimizer moves, that of `optimizer` first.
    """

    def _set_optimizers(self, **others):
        others = {name: keras.optimizers.get(each) for name, each in others.items()}
        if len({id(getattr(each, "inner_optimizer", each)) for each in (self.optimizer, *others.values())}) <= len(
            others
        ):
            raise ValueError(
                "Every update of a step needs an optimizer of its own, but one object is given twice: its moments "
                "would mix two gradients. Give names, or an object for each."
            )
        # Keras does it with the first, if the model computes in float16.
        scaled = keras.optimizers.LossScaleOptimizer
        if isinstance(self.optimizer, scaled):
            others = {name: each if isinstance(each, scaled) else scaled(each) for name, each in others.items()}
        for name, each in others.items():
            setattr(self, name, each)
        for each, weights in zip((self.optimizer, *others.values()), self._weights_of_updates(), strict=True):
            each.build(weights)
        self._other_optimizers = tuple(others)
        self.learning_rates = learning_rates.InProportion(self.optimizer, *others.values())

    def _with_learning_rates(self, callbacks):
        """The callbacks of `fit`, and behind them the one that follows them."""
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.callbacks.append(self.learning_rates)
            return callbacks
        return [*keras.tree.flatten(callbacks or []), self.learning_rates]

    def get_compile_config(self):
        if not self.compiled:
            return {}
        others = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self._other_optimizers}
        return {**super().get_compile_config(), **others}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
