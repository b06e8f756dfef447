import sys
import types

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from aelib import plots

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def pixels(ax):
    return np.asarray(ax.images[0].get_array())


def test_images_lie_in_labelled_rows_on_the_range_0_to_1():
    images = rng.uniform(0.2, 0.8, size=(2, 3, 16))
    ax = plots.plot_images({"first": images[0], "second": images[1]}, titles=["a", "b", "c"])
    canvas = pixels(ax)
    assert canvas.shape == (4 + 2 + 4, 3 * 4 + 2 * 2)
    np.testing.assert_array_equal(canvas[6:10, 12:16], images[1, 2].reshape(4, 4))
    assert (canvas[4:6] == 0).all()
    assert ax.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "second"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]


def test_images_may_have_a_channel_and_an_axes_of_their_own():
    _, ax = plt.subplots()
    assert plots.plot_images({"x": np.ones((2, 4, 5, 1))}, ax=ax) is ax
    assert pixels(ax).shape == (4, 12)
    assert pixels(plots.plot_images({"a single column": np.ones((2, 5, 1))})).shape == (5, 4)


def test_filters_are_scaled_one_by_one_and_symmetric_about_zero():
    filters = np.stack([np.linspace(-2, 1, 9), np.zeros(9), np.linspace(0, 10, 9)])
    ax = plots.plot_filters(filters, columns=2)
    canvas = pixels(ax)
    assert canvas.shape == (8, 8)
    np.testing.assert_allclose(canvas[:3, :3], np.linspace(-1, 0.5, 9).reshape(3, 3))
    assert canvas[5:8, :3].max() == 1 and np.isfinite(canvas).all()
    assert ax.images[0].get_clim() == (-1, 1)
    np.testing.assert_allclose(pixels(plots.plot_filters(0.01 * filters, columns=2)), canvas)


def test_figures_grow_with_what_they_show():
    """A row of filters and a row of images are as high in a tall figure as in a low one."""
    for draw in (
        lambda rows: plots.plot_filters(np.ones((10 * rows - 3, 16))),
        lambda rows: plots.plot_images({str(row): np.ones((3, 16)) for row in range(rows)}),
        lambda rows: plots.plot_latent_grid(np.ones((rows, 3, 16))),
    ):
        first, second, third = (draw(rows).figure.get_figheight() for rows in (1, 2, 3))
        assert 0.3 < second - first < 1
        assert third - second == pytest.approx(second - first)


def test_labels_stand_at_the_middle_of_their_row_and_column():
    ax = plots.plot_images({"first": np.ones((3, 28, 20)), "second": np.ones((3, 28, 20))}, titles=list("abc"))
    filled = pixels(ax) == 1
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    np.testing.assert_allclose(ax.get_yticks(), rows.reshape(2, 28).mean(axis=1), atol=0.5)
    np.testing.assert_allclose(ax.get_xticks(), columns.reshape(3, 20).mean(axis=1), atol=0.5)


@pytest.mark.parametrize("low, high", [(0.2, 0.4), (-3.0, 5.0), (0.0, 0.0)])
def test_colours_mean_the_same_whatever_is_drawn(low, high):
    """Else a faint image would look like a strong one."""
    images = np.linspace(low, high, 32).reshape(2, 16)
    for ax, limits, colours in [
        (plots.plot_images({"a": images}), (0, 1), "gray_r"),
        (plots.plot_latent_grid(images.reshape(1, 2, 16)), (0, 1), "gray_r"),
        (plots.plot_filters(images), (-1, 1), "RdBu_r"),
    ]:
        assert ax.images[0].get_clim() == limits
        assert ax.images[0].get_cmap().name == colours


def test_codes_of_one_digit_have_one_color_whatever_digits_are_there():
    z, labels = rng.normal(size=(6, 2)), np.array([3, 7, 3, 7, 7, 3])
    ax = plots.plot_latent(z, labels)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), z[labels == 3])
    np.testing.assert_allclose(ax.collections[1].get_facecolor()[0, :3], plots.DIGIT_COLORS[7])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["3", "7"]


def test_first_row_of_a_latent_grid_is_at_the_bottom():
    images = np.zeros((3, 2, 4))
    images[0] = 1
    ax = plots.plot_latent_grid(images, extent=(-1, 1, -2, 2))
    assert pixels(ax).shape == (6, 4)
    assert pixels(ax)[-2:].min() == 1 and pixels(ax)[:-2].max() == 0
    assert ax.get_xlim() == (-1, 1) and ax.get_ylim() == (-2, 2)


def test_history_begins_at_epoch_one():
    ax = plots.plot_history({"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]}, ylabel="error")
    np.testing.assert_array_equal(ax.get_lines()[1].get_xydata(), [[1, 4], [2, 3]])
    assert ax.get_ylabel() == "error" and ax.get_xlabel() == "epoch"
    assert set(ax.get_xticks() % 1) == {0}


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="15 pixels are not square"):
        plots.plot_filters(np.zeros((2, 15)))
    with pytest.raises(ValueError, match=r"Images have shape .* not \(2, 4, 4, 3\)"):
        plots.plot_filters(np.zeros((2, 4, 4, 3)))
    with pytest.raises(ValueError, match="Images have shape"):
        plots.plot_filters(np.zeros(16))
    with pytest.raises(ValueError, match="one shape and number"):
        plots.plot_images({"a": np.zeros((2, 16)), "b": np.zeros((3, 16))})
    with pytest.raises(ValueError, match=r"\(n, 2\) is needed"):
        plots.plot_latent(np.zeros((5, 3)), np.zeros(5))
    with pytest.raises(ValueError, match="was not logged"):
        plots.plot_history({"loss": [1.0]})


# ---- the plane, decoded


def decode_as_levels(z):
    """An image of 4 x 4 equal pixels: the first number plus ten times the second."""
    return np.repeat(z @ [[1.0], [10.0]], 16, axis=1)


def test_explored_plane_decodes_the_middle_of_each_field_with_the_first_row_at_the_bottom():
    ax = plots.explore_latent(decode_as_levels, extent=(0, 4, 0, 2), columns=4)
    canvas = pixels(ax)
    assert canvas.shape == (2 * 4, 4 * 4)  # as many rows as keep the steps alike
    np.testing.assert_allclose(canvas[-1, ::4], 5 + np.array([0.5, 1.5, 2.5, 3.5]))
    np.testing.assert_allclose(canvas[0, ::4], 15 + np.array([0.5, 1.5, 2.5, 3.5]))
    np.testing.assert_array_equal(ax.images[0].get_extent(), (0, 4, 0, 2))


@pytest.mark.parametrize("extent", [(0, 1, 0), (1, 0, 0, 1), (0, 1, 1, 1), (0, np.nan, 0, 1)])
def test_explored_plane_refuses_an_extent_that_is_none(extent):
    with pytest.raises(ValueError, match="left < right and bottom < top"):
        plots.explore_latent(decode_as_levels, extent)


def test_explored_plane_needs_a_column():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        plots.explore_latent(decode_as_levels, (0, 1, 0, 1), columns=0)


class FakeWidgets:
    """Stands in for ipywidgets, which the course's environment does not have."""

    def __init__(self):
        self.shown = []

    @staticmethod
    def FloatSlider(**options):  # noqa: N802
        return types.SimpleNamespace(**options)

    def interact(self, draw, **sliders):
        self.shown.append(sliders)
        draw(*(slider.value for slider in sliders.values()))


@pytest.mark.parametrize(
    "notebook, disabled, installed, sliders",
    [(True, "", True, 1), (False, "", True, 0), (True, "1", True, 0), (True, "", False, 0)],
)
def test_explored_plane_has_sliders_only_in_a_notebook_whose_outputs_are_not_stored(
    monkeypatch, notebook, disabled, installed, sliders
):
    widgets, decoded = FakeWidgets(), []
    monkeypatch.setattr(plots.callbacks, "in_notebook", lambda: notebook)
    monkeypatch.setenv("TQDM_DISABLE", disabled)
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: widgets if installed else None)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)

    def decode(z):
        decoded.append(z)
        return decode_as_levels(z)

    plots.explore_latent(decode, extent=(-2, 4, 0, 2), columns=6)
    assert len(decoded[0]) == 12
    assert len(widgets.shown) == sliders
    if sliders:
        np.testing.assert_array_equal(decoded[1], [[1.0, 1.0]])
        first, second = widgets.shown[0].values()
        assert (first.min, first.max, first.step) == (-2, 4, 0.06)
        assert (second.min, second.max, second.step) == (0, 2, 0.02)
