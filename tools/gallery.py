"""What a lesson is shown by: its question, models and time from the README's table, and one of its stored figures."""

import base64
import dataclasses
import re

import nbformat

from tools.execute import ROOT, lessons

# The most telling figure of a lesson, by the id of its cell. A lesson that is not named shows the first one of "Look".
FIGURES = {
    "01_basic_autoencoder": "80cf4a2e",
    "02_linear_autoencoder_pca": "45844016",
    "03_stacked_autoencoder": "d0b65243",
    "04_denoising_autoencoder": "2c28a8d8",
    "05_sparse_autoencoder": "9b7da25f",
    "06_contractive_autoencoder": "0201d141",
    "07_convolutional_autoencoder": "ae949c89",
    "08_variational_autoencoder": "de79aef6",
    "09_adversarial_autoencoder": "66fb3e0d",
    "10_anomaly_detection": "e2b0ed58",
    "12_representations_at_work": "dde3720f",
}


README = ROOT / "README.md"


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What a lesson is shown by; `figure` is a PNG file's bytes, `None` if none is stored."""

    name: str
    title: str
    question: str
    models: str
    time: str
    figure: bytes | None
    alt: str


def lesson(name, notebook):
    """Returns the `Lesson` of a notebook.

    Args:
        name: its file's name without the ending.
        notebook: the notebook with its outputs.

    Raises:
        ValueError: If the README's table has no row for it.
    """
    row = re.search(
        rf"(?m)^\| \[\d+ ([^\]]+)\]\(notebooks/{re.escape(name)}\.ipynb\) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|",
        README.read_text(encoding="utf-8"),
    )
    if row is None:
        raise ValueError(f"The README has no row '[NN title](notebooks/{name}.ipynb) | question | models | time |'.")
    title, question, models, time = (text.strip() for text in row.groups())
    return Lesson(name, f"{name[:2]} {title}", question, models, time, *_figure(name, notebook))


def facts():
    """Returns the `Lesson` of each stored notebook, in order.

    Raises:
        ValueError: If the README has no row for a lesson, or a lesson has no figure to show.
    """
    found = [lesson(path.stem, nbformat.read(path, as_version=4)) for path in lessons()]
    for each in found:
        if each.figure is None:
            place = f"its cell {FIGURES[each.name]}" if each.name in FIGURES else "its section Look"
            raise ValueError(
                f"{each.name} has no stored figure in {place}: name the cell of its most telling figure in "
                "tools/gallery.py."
            )
    return found


def _figure(name, notebook):
    look = [number for number, cell in enumerate(notebook.cells) if re.search(r"(?m)^## Look", cell.source)]
    wanted = FIGURES.get(name)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (cell.id == wanted if wanted else look and number > look[0]):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output.data["image/png"]), cell.metadata.get("alt", "")
    return None, ""
