"""Keras callbacks."""

import contextlib
import os
import sys
import warnings

import keras


class ProgressBar(keras.callbacks.Callback):
    """Shows one tqdm bar while `fit` runs: the epoch, the logged values and the time left; and removes it at the end.

    The models of `aelib.models` show it by themselves in a notebook. For another Keras model:
    `fit(..., verbose=0, callbacks=[ProgressBar()])`. In a notebook it is tqdm's widget where ipywidgets is installed,
    and text otherwise. It shows nothing if the environment variable `TQDM_DISABLE` is set, as where outputs are stored.

    Unlike `tqdm.keras.TqdmCallback`, it moves within an epoch, counts steps and not executions with
    `steps_per_execution`, serves several times, and leaves nothing behind when training stops early.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones(8), epochs=3, verbose=0, callbacks=[ProgressBar()])
    """

    bar = None

    def on_epoch_begin(self, epoch, logs=None):
        epochs = self.params["epochs"]
        description = f"Epoch {epoch + 1}/{epochs}: "
        if self.bar is None:
            self.bar = _tqdm()(
                desc=description,
                total=epochs,
                initial=epoch,
                leave=False,
                file=sys.stdout,
                bar_format="{desc}{percentage:3.0f}%|{bar}| {remaining} left{postfix}",
                disable=bool(os.environ.get("TQDM_DISABLE")),
            )
        self.epoch = epoch
        self.bar.set_description_str(description, refresh=False)

    def on_train_batch_end(self, batch, logs=None):
        # The number of batches of a generator is not known, and the last execution may be counted beyond it.
        if self.params["steps"]:
            self._move(self.epoch + min(1, (batch + 1) / self.params["steps"]), logs)

    def on_epoch_end(self, epoch, logs=None):
        self._move(epoch + 1, logs)

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Removes the bar, for when `fit` fails or is interrupted, because Keras then does not end its callbacks."""
        if self.bar is not None:
            # In a notebook, tqdm keeps a bar that is not full.
            self.bar.total = self.bar.n
            self.bar.close()
            self.bar = None

    def _move(self, epochs, logs):
        self.bar.set_postfix(logs, refresh=False)
        self.bar.update(epochs - self.bar.n)


def in_notebook():
    """Whether this process is a Jupyter kernel, Colab's included.

    Example:

    >>> in_notebook()
    False
    """
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return "IPKernelApp" in getattr(shell, "config", ())


@contextlib.contextmanager
def progress_in_notebook(verbose, callbacks):
    """Gives `verbose` and `callbacks` for Keras's `fit`, with a bar where neither the user nor Keras shows another.

    Args:
        verbose: What `fit` was given; `"auto"` in a notebook is the bar.
        callbacks: What `fit` was given.

    Returns:
        A context manager, whose value is the two as a dictionary. It removes the bar however `fit` ends.

    Example:

    >>> with progress_in_notebook(verbose=0, callbacks=None) as options:
    ...     options
    {'verbose': 0, 'callbacks': None}
    """
    if verbose != "auto" or not in_notebook() or isinstance(callbacks, keras.callbacks.CallbackList):
        yield {"verbose": verbose, "callbacks": callbacks}
        return
    bar = ProgressBar()
    try:
        yield {"verbose": 0, "callbacks": [*keras.tree.flatten(callbacks or []), bar]}
    finally:
        bar.close()


def _tqdm():
    # Here, because the import itself warns in a notebook without ipywidgets, and because it takes its time.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm
