"""Figures of images, filters, codes and training curves, in one style.

Each function takes arrays and an optional matplotlib `ax`, draws, and returns the `ax`; none calls `show`.
"""

import importlib.util
import os

import matplotlib.pyplot as plt
import numpy as np

from aelib import callbacks

# Ten colours that stay the same for the ten digits in every lesson.
DIGIT_COLORS = plt.get_cmap("tab10").colors


def use_style():
    """Sets the style of every lesson's figures: sizes, fonts, light grids, no boxes.

    Example:

    >>> use_style()
    >>> plt.rcParams["image.interpolation"]
    'nearest'
    """
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.2),
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            "axes.grid": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "grid.alpha": 0.3,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.interpolation": "nearest",
        }
    )


def plot_images(rows, ax=None, titles=None):
    """Draws rows of grey images, one labelled row an entry, on the range 0 to 1.

    Args:
        rows: A dictionary from a row's label to its images, shape `(n, 784)`, `(n, height, width)` or with a last
            channel of 1; every row with the same number of images. Flat images must be square.
        ax: Axes to draw on; a new figure of fitting size unless given.
        titles: Optional texts above the columns.

    Returns:
        The axes.

    Raises:
        ValueError: If the rows' shapes differ, or flat images are not square.

    Example:

    >>> ax = plot_images({"noise": np.random.default_rng(0).uniform(size=(10, 784))})
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['noise']
    """
    stacks = [_as_images(images) for images in rows.values()]
    if len({stack.shape for stack in stacks}) != 1:
        raise ValueError(f"Every row needs images of one shape and number, not {[stack.shape for stack in stacks]}.")
    count, height, width = stacks[0].shape
    if ax is None:
        _, ax = plt.subplots(figsize=(0.7 * count + 1.2, (0.7 * len(rows) + 0.1) * height / width))
    canvas = _tile(np.concatenate(stacks), columns=count)
    ax.imshow(canvas, cmap="gray_r", vmin=0, vmax=1)
    ax.set_yticks([(height + 2) * row + height / 2 for row in range(len(rows))], list(rows))
    centers = [(width + 2) * column + width / 2 for column in range(count)]
    ax.set_xticks(centers if titles is not None else [], titles)
    ax.xaxis.tick_top()
    return _without_frame(ax)


def plot_filters(filters, ax=None, columns=10, title=None):
    """Draws filters as small images on a diverging colour map, each scaled to its own largest absolute weight.

    Args:
        filters: Filters, shape `(n, 784)` (the transpose of a dense kernel) or `(n, height, width)`.
        ax: Axes to draw on; a new figure unless given.
        columns: Number of filters in a row.
        title: Optional title.

    Returns:
        The axes.

    Raises:
        ValueError: If flat filters are not square.

    Example:

    >>> ax = plot_filters(np.random.default_rng(0).normal(size=(20, 784)), title="random")
    >>> ax.get_title()
    'random'
    """
    filters = _as_images(filters)
    filters = filters / np.maximum(np.abs(filters).max(axis=(1, 2), keepdims=True), 1e-12)
    rows = -(-len(filters) // columns)
    if ax is None:
        _, ax = plt.subplots(figsize=(0.6 * columns, 0.6 * rows + 0.3))
    ax.imshow(_tile(filters, columns), cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set(xticks=[], yticks=[], title=title)
    return _without_frame(ax)


def plot_latent(z, labels, ax=None):
    """Draws two-dimensional codes as points, in the ten digits' colours, with a legend.

    Args:
        z: Codes, shape `(n, 2)`.
        labels: The digit of each, shape `(n,)`.
        ax: Axes to draw on; a new figure unless given.

    Returns:
        The axes.

    Raises:
        ValueError: If the codes do not have two columns.

    Example:

    >>> labels = np.arange(300) % 10
    >>> angles = labels + np.random.default_rng(0).normal(0, 0.1, size=300)
    >>> ax = plot_latent(np.stack([np.cos(angles), np.sin(angles)], axis=1), labels)
    >>> ax.get_xlabel()
    'code 1'
    """
    z, labels = np.asarray(z), np.asarray(labels)
    if z.ndim != 2 or z.shape[1] != 2:
        raise ValueError(f"The codes have shape {z.shape}; (n, 2) is needed. Choose two of their columns.")
    if ax is None:
        _, ax = plt.subplots(figsize=(5.0, 4.2))
    for digit in np.unique(labels):
        ax.scatter(*z[labels == digit].T, s=4, alpha=0.6, color=DIGIT_COLORS[digit], label=str(digit))
    ax.legend(title="digit", markerscale=3, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.set(xlabel="code 1", ylabel="code 2")
    return ax


def plot_latent_grid(images, ax=None, extent=None):
    """Draws images decoded from a grid of two-dimensional codes as one picture.

    Args:
        images: Decoded images, shape `(rows, columns, 784)` or `(rows, columns, height, width)`; the first row is drawn
            at the bottom, so that the picture's axes are those of the plane.
        ax: Axes to draw on; a new figure unless given.
        extent: The codes at the borders, `(left, right, bottom, top)`.

    Returns:
        The axes.

    Raises:
        ValueError: If flat images are not square.

    Example:

    >>> levels = np.linspace(0, 1, 20).reshape(4, 5, 1)
    >>> ax = plot_latent_grid(levels * np.ones(784), extent=(-2, 2, -1, 1))
    >>> ax.get_ylim()
    (np.float64(-1.0), np.float64(1.0))
    """
    images = np.asarray(images)
    rows, columns = images.shape[:2]
    canvas = _tile(_as_images(images[::-1].reshape(rows * columns, *images.shape[2:])), columns, gap=0)
    if ax is None:
        _, ax = plt.subplots(figsize=(0.4 * columns + 0.5, 0.4 * rows + 0.5))
    ax.imshow(canvas, cmap="gray_r", vmin=0, vmax=1, extent=extent)
    ax.set(xlabel="code 1", ylabel="code 2")
    ax.grid(False)
    return ax


def explore_latent(decode, extent, columns=12, ax=None):
    """Draws the plane of a two-dimensional code as decoded images and, in a notebook, decodes one place by sliders.

    The sliders need ipywidgets. Without it, or where outputs are stored (with the environment variable `TQDM_DISABLE`,
    as for `aelib.callbacks.ProgressBar`), there is the drawing alone.

    Args:
        decode: A function from codes, shape `(n, 2)`, to images, shape `(n, 784)` or `(n, height, width)`, such as a
            model's `decode`.
        extent: The codes at the borders, `(left, right, bottom, top)`.
        columns: Number of images across; as many rows as keep the steps of both numbers alike.
        ax: Axes to draw on; a new figure unless given.

    Returns:
        The axes of the drawing.

    Raises:
        ValueError: If the extent is not four numbers, each left and bottom below its right and top, there is not at
            least one column, or flat images are not square.

    Example:

    >>> stripes = np.indices((4, 4))[0].reshape(1, 16) / 3
    >>> ax = explore_latent(lambda z: z[:, :1] * stripes, extent=(0, 1, 0, 1), columns=3)
    >>> ax.images[0].get_array().shape
    (12, 12)
    """
    extent = tuple(np.asarray(extent, float).ravel())
    if len(extent) != 4 or not (extent[0] < extent[1] and extent[2] < extent[3]):
        raise ValueError(f"The extent must be (left, right, bottom, top), left < right and bottom < top, not {extent}.")
    if columns < 1:
        raise ValueError(f"The number of columns must be at least 1, not {columns}.")
    left, right, bottom, top = extent
    step = (right - left) / columns
    rows = max(1, round((top - bottom) / step))
    # each image is decoded from the code in its middle
    across = left + step * (np.arange(columns) + 0.5)
    upwards = bottom + (top - bottom) / rows * (np.arange(rows) + 0.5)
    grid = np.stack(np.meshgrid(across, upwards), axis=-1).reshape(-1, 2).astype("float32")
    images = _as_images(decode(grid))
    ax = plot_latent_grid(images.reshape(rows, columns, *images.shape[1:]), ax, extent)
    if callbacks.in_notebook() and not os.environ.get("TQDM_DISABLE") and importlib.util.find_spec("ipywidgets"):
        _show_sliders(decode, extent)
    return ax


def _show_sliders(decode, extent):
    import ipywidgets  # here, because not every notebook has it

    def draw(first, second):
        plot_images({"": decode(np.array([[first, second]], "float32"))}, plt.subplots(figsize=(2.0, 2.0))[1])
        plt.show()

    left, right, bottom, top = extent
    sliders = {
        "first": ipywidgets.FloatSlider(min=left, max=right, value=(left + right) / 2, description="code 1"),
        "second": ipywidgets.FloatSlider(min=bottom, max=top, value=(bottom + top) / 2, description="code 2"),
    }
    for slider in sliders.values():
        slider.step = (slider.max - slider.min) / 100
    ipywidgets.interact(draw, **sliders)


def plot_history(history, ax=None, keys=("loss", "val_loss"), ylabel="squared error per image"):
    """Draws what `fit` logged, an epoch a point.

    Args:
        history: What `fit` returned, or its `history` dictionary.
        ax: Axes to draw on; a new figure unless given.
        keys: The logged values to draw.
        ylabel: Name and unit of the vertical axis.

    Returns:
        The axes.

    Raises:
        ValueError: If a key was not logged.

    Example:

    >>> ax = plot_history({"loss": [2.0, 1.0], "val_loss": [2.5, 1.5]})
    >>> [line.get_label() for line in ax.get_lines()]
    ['training', 'validation']
    """
    logged = getattr(history, "history", history)
    if ax is None:
        _, ax = plt.subplots()
    names = {"loss": "training", "val_loss": "validation"}
    for key in keys:
        if key not in logged:
            raise ValueError(f"{key!r} was not logged; there are {sorted(logged)}.")
        ax.plot(np.arange(1, len(logged[key]) + 1), logged[key], label=names.get(key, key))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.legend()
    return ax


def _as_images(images):
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim == 2:
        side = round(images.shape[1] ** 0.5)
        if side * side != images.shape[1]:
            raise ValueError(f"Flat images of {images.shape[1]} pixels are not square: reshape to (n, height, width).")
        images = images.reshape(-1, side, side)
    if images.ndim != 3:
        raise ValueError(
            f"Images have shape (n, pixels), (n, height, width) or (n, height, width, 1), not {images.shape}."
        )
    return images


def _tile(images, columns, gap=2):
    count, height, width = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap))
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _without_frame(ax):
    ax.grid(False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
