"""Every lesson keeps the form that CONTRIBUTING.md describes, and the checker finds each fault in a spoilt lesson."""

import copy
from pathlib import Path

import nbformat
import pytest

from tools import links
from tools.lesson_form import CHECKED, LESSONS, MAX_BYTES, METADATA, SECTIONS, faults

NOTEBOOKS = links.ROOT / "notebooks"
REPO = links.repository()
NAME = LESSONS[0]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_lesson_keeps_the_form(path):
    assert path.stat().st_size < MAX_BYTES
    notebook = nbformat.reader.reads(path.read_text(encoding="utf-8"))  # unlike nbformat.read, mends nothing
    assert faults(notebook, path.name, NOTEBOOKS, REPO) == []


def test_lessons_are_numbered_without_gaps():
    found = [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    assert found == list(LESSONS[: len(found)])


def code_cell(source, outputs=(), tags=()):
    cell = nbformat.v4.new_code_cell(source, outputs=list(outputs))
    if tags:
        cell.metadata["tags"] = list(tags)
    return cell


def stdout(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


@pytest.fixture
def lesson():
    """The smallest lesson without a fault."""
    bodies = {heading: [] for heading in SECTIONS}
    bodies["You will be able to"] = ["- one\n- two\n- three"]
    bodies["Setup"] = [
        code_cell(links.setup_cell(REPO), [stdout("Python 3.11.7, aelib 0.1.0\n")]),
        code_cell("import keras\nplots.use_style()\nkeras.utils.set_random_seed(1)"),
    ]
    bodies["Intuition"] = [
        code_cell(
            "plots.show()", [nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": "<Figure>"})]
        ),
        "**Predict**: which?",
    ]
    bodies["Intuition"][0].metadata["alt"] = "A row of ten digits drawn in grey"
    bodies["Theory"] = ["$$a = b$$"]
    bodies["Data"] = [code_cell("load_mnist()", [stdout("MNIST: full set (60,000 + 10,000 images)\n")])]
    bodies["Claims"] = ["1. It is so.", code_cell("assert True\nprint('holds')", [stdout("holds\n")], [CHECKED])]
    bodies["Exercises"] = ["**Warm-up** a\n\n**Code** b\n\n**Open question** c"]
    bodies["Summary"] = ["- 1\n- 2\n- 3\n- 4\n- 5"]
    bodies["References"] = [
        "- Baldi and Hornik (1989), section 3",
        "Next: [linear autoencoders](02_linear_autoencoder_pca.ipynb)",
    ]
    cells = [
        f"# 01 Title\n\n**You will believe it.**\n\n{links.badge(NAME, REPO)}\n\n**Before**: Python. **Time**: 90 s."
    ]
    for heading, body in bodies.items():
        cells += [f"## {heading}", *body]
    cells = [nbformat.v4.new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    return nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(METADATA))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / LESSONS[1]).touch()
    return tmp_path


def find(notebook, start):
    """Returns the first cell whose source begins with `start`."""
    return next(cell for cell in notebook.cells if cell.source.startswith(start))


def replace(start, old, new):
    def spoil(notebook):
        cell = find(notebook, start)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return spoil


def remove(start):
    return lambda notebook: notebook.cells.remove(find(notebook, start))


def prints(text, name="stdout"):
    def spoil(notebook):
        find(notebook, "load_mnist").outputs.append(nbformat.v4.new_output("stream", name=name, text=text))

    return spoil


def shows(value):
    def spoil(notebook):
        output = nbformat.v4.new_output("execute_result", {"text/plain": value}, execution_count=4)
        find(notebook, "load_mnist").outputs.append(output)

    return spoil


def source(start, text):
    def spoil(notebook):
        find(notebook, start).source = text

    return spoil


def insert(position, *cells):
    def spoil(notebook):
        notebook.cells[position:position] = cells

    return spoil


def longer_median(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code" and not cell.source.startswith("import sys"):
            cell.source += "\nx = 1" * 9


def not_executed(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None


def set_in_cell(key, value):
    return lambda notebook: find(notebook, "load_mnist").update({key: value})


def set_metadata(key, value):
    return lambda notebook: notebook.metadata.update({key: value})


def tag(start, *tags):
    return lambda notebook: find(notebook, start).metadata.update(tags=list(tags))


SPOILT = {
    "no title": (replace("# 01", "# 01", "#### 01"), "must begin with the title"),
    "another lesson's number": (replace("# 01", "# 01", "# 02"), "must begin with the title '# 01"),
    "two titles": (replace("## Theory", "## Theory", "## Theory\n# Theory"), "more than one title"),
    "no belief": (replace("# 01", "**You will believe it.**", "You will."), "one sentence in bold"),
    "no badge": (replace("# 01", "colab-badge.svg", "badge.svg"), "needs the Colab badge"),
    "badge of another lesson": (replace("# 01", NAME, LESSONS[1]), "needs the Colab badge"),
    "badge of a fork": (replace("# 01", f"/{REPO}/", "/someone/else/"), "leads to someone/else"),
    "no time": (replace("# 01", "**Time**", "Time"), "line of facts"),
    "section missing": (remove("## Break it"), "sections (## ...) must be"),
    "section renamed": (replace("## Break it", "Break it", "Break things"), "sections (## ...) must be"),
    "section twice": (insert(-1, nbformat.v4.new_markdown_cell("## Summary\n- 1")), "sections (## ...) must be"),
    "two goals": (replace("- one", "\n- three", ""), "three to five list items"),
    "no prediction": (remove("**Predict"), "ask for a prediction"),
    "no equation": (remove("$$"), "displayed equation"),
    "no open question": (replace("**Warm-up", "**Open question**", ""), "'Exercises' needs **Open question**"),
    "short summary": (replace("- 1", "\n- 5", ""), "'Summary' needs five list items, not 4"),
    "no source": (remove("- Baldi"), "'References' needs"),
    "claim without assert": (replace("assert", "assert True\n", ""), "each with an assert"),
    "more claims than asserts": (replace("1. It", "It is so.", "It is.\n2. It is not."), "more claims than it asserts"),
    "claim not compared": (tag("assert"), "is not tagged nbval-check-output"),
    "other set-up cell": (replace("import sys", "--no-deps ", ""), "must be the set-up cell"),
    "no seed": (replace("import keras", "keras.utils.set_random_seed(1)", ""), "second code cell must"),
    "no style": (replace("import keras", "plots.use_style()", ""), "second code cell must"),
    "long cells": (longer_median, "median code cell"),
    "one long cell": (source("load_mnist", "x = 1\n" * 26), "26 lines, more than 25"),
    "one long class": (source("load_mnist", "class A:\n" + "    x = 1\n" * 40), "41 lines, more than 40"),
    "marker in a comment": (source("load_mnist", "# NBVAL_CHECK_OUTPUT\nx = 1"), "marker in a comment"),
    "four code cells in a row": (insert(-1, *(code_cell("x = 1") for _ in range(4))), "fourth code cell in a row"),
    "empty cell": (source("load_mnist", " \n"), "is empty"),
    "raw cell": (insert(1, nbformat.v4.new_raw_cell("x")), "neither code nor Markdown"),
    "not executed": (
        lambda notebook: find(notebook, "load_mnist").update(execution_count=None),
        "execution count None",
    ),
    "executed out of order": (
        lambda notebook: find(notebook, "load_mnist").update(execution_count=9),
        "execution count 9",
    ),
    "checked cell prints nothing": (tag("import keras", CHECKED), "prints nothing to compare"),
    "stored error": (set_in_cell("outputs", [nbformat.v4.new_output("error")]), "stores an error"),
    "stderr": (prints("UserWarning: x", "stderr"), "text on stderr"),
    "figure's name shown": (shows("<Figure size 640x480 with 1 Axes>"), "ends in a value that only shows"),
    "list of lines shown": (shows("[<matplotlib.lines.Line2D>]"), "ends in a value that only shows"),
    "progress bar": (prints("10/10 \x1b[32m━━━━━━━━\x1b[0m 0s 0.1"), "a progress bar"),
    "backspaces": (prints("50 %\x08\x08\x08\x08"), "a progress bar"),
    "time for each step": (prints("10/10 - 1s - 2ms/step - loss: 0.1"), "a timing"),
    "path": (prints(f"saved to {Path('/', 'home', 'someone', 'model.keras')}"), "a path of a machine"),
    "address": (shows("x at 0x7f0123456789"), "an object's address"),
    "offline sample": (prints("MNIST: offline sample of 5,000 images"), "offline sample's data line"),
    "no figure": (remove("plots.show"), "no figure is stored"),
    "no alternative text": (
        lambda notebook: find(notebook, "plots.show").metadata.clear(),
        "draws a figure and has no alternative text",
    ),
    "too many words": (replace("- Baldi", "section 3", "section " * 3000), "words, more than 3000"),
    "too many cells": (insert(-1, *(nbformat.v4.new_markdown_cell("x") for _ in range(60))), "cells, more than 75"),
    "nothing compared": (tag("assert"), "no cell is tagged"),
    "invalid": (
        lambda notebook: find(notebook, "load_mnist").update(outputs=[nbformat.from_dict({"x": 1})]),
        "not a valid",
    ),
    "old format": (lambda notebook: notebook.update(nbformat_minor=4), "format 4.4, not 4.5"),
    "same id twice": (lambda notebook: notebook.cells[1].update(id=notebook.cells[0].id), "have the same"),
    "no id": (lambda notebook: notebook.cells[1].pop("id"), "has no id"),
    "other kernel": (set_metadata("kernelspec", {"name": "conda", "display_name": "conda"}), "notebook's metadata"),
    "other metadata": (set_metadata("colab", {"provenance": []}), "notebook's metadata"),
    "version of Python": (
        set_metadata("language_info", {"name": "python", "version": "3.11.7"}),
        "notebook's metadata",
    ),
    "unknown tag": (tag("load_mnist", "nbval_check_output"), "alt and nbval-check-output: nbval_check_output"),
    "skipped cell": (tag("load_mnist", "nbval-skip"), "other than alt and nbval-check-output: nbval-skip"),
    "timestamps": (lambda notebook: notebook.cells[3].metadata.update(execution={}), "metadata other than alt"),
    "dead link": (replace("$$", "$$a", "[a](missing.md) $$a"), "the link to missing.md leads nowhere"),
    "next lesson not linked": (replace("Next", "](02", "] (02"), "must link to the next lesson"),
}


def test_the_smallest_lesson_has_no_fault(lesson, folder):
    assert faults(lesson, NAME, folder, REPO) == []


@pytest.mark.parametrize("spoil, fault", SPOILT.values(), ids=SPOILT)
def test_fault_is_found(lesson, folder, spoil, fault):
    spoil(lesson)
    found = faults(lesson, NAME, folder, REPO)
    assert any(fault in line for line in found), found


def test_lesson_outside_the_plan(lesson, folder):
    assert any("not one of the planned" in line for line in faults(lesson, "10_more.ipynb", folder, REPO))


def test_next_lesson_that_is_not_written_yet_is_announced_in_words(lesson, tmp_path):
    assert faults(lesson, NAME, tmp_path, REPO) == [f"the link to {LESSONS[1]} leads nowhere"]
    lesson.cells[-1].source = "Next: linear autoencoders."
    assert faults(lesson, NAME, tmp_path, REPO) == []
    lesson.cells[-1].source = "That is all."
    assert faults(lesson, NAME, tmp_path, REPO) == ["the last cell must say what comes next (Next: ...)"]


def test_what_is_allowed(lesson, folder):
    """A heading may go on after a colon; a table of Keras is no progress bar; a fraction is no path."""
    replace("## Experiment", "## Experiment", "## Experiment: how wide?")(lesson)
    prints("Layer (type) ┃ Output Shape\n━━━━━━━━━━━\n784/1000, train/test, 3 ms\n")(lesson)
    source("load_mnist", "class A:\n" + "    x = 1\n" * 39)(lesson)
    replace("$$", "$$a", "```\n## no heading, [no](link)\n```\n$$a")(lesson)
    assert faults(lesson, NAME, folder, REPO) == []
