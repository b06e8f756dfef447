"""Several optimizers, one learning rate to move."""

import keras
import tensorflow as tf


class InProportion(keras.callbacks.Callback):
    """Moves the learning rates of other optimizers whenever a callback before it has moved that of the first.

    A rate is what it was when the model was compiled, times what the first has become of its own. One that is assigned
    between two calls of `fit` stays until the first moves.
    """

    def __init__(self, first, *others):
        super().__init__()
        self.first, self.others = first, others
        self.rates = [_given_rate(each) for each in (first, *others)]
        self.seen = None

    def on_train_begin(self, logs=None):
        self.seen = self._rate()

    def on_epoch_begin(self, epoch, logs=None):
        self._follow()

    def on_train_batch_begin(self, batch, logs=None):
        self._follow()

    def on_epoch_end(self, epoch, logs=None):
        self._follow()

    def _rate(self):
        # A schedule moves by itself, and Keras refuses to move it.
        return None if self.rates[0] is None else float(tf.convert_to_tensor(self.first.learning_rate))

    def _follow(self):
        rate, before = self._rate(), self.seen
        if rate == before:
            return
        self.seen = rate
        for each, start in zip(self.others, self.rates[1:], strict=True):
            if start is None or self.rates[0] == 0:
                raise ValueError(
                    f"A callback moved the learning rate of optimizer from {before} to {rate}, and those of the other "
                    "optimizers follow in proportion, but one has a schedule of its own, or the first started from 0. "
                    "Give schedules to all of them, or numbers above 0."
                )
            each.learning_rate = start * rate / self.rates[0]


def _given_rate(optimizer):
    """The rate an optimizer starts with, or `None` if it is a schedule."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    is_schedule = isinstance(inner.get_config()["learning_rate"], dict)
    return None if is_schedule else float(tf.convert_to_tensor(inner.learning_rate))
