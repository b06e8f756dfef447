"""Where the time of each lesson goes: python -m benchmarks.lesson_time

Reads the executed copies that `make lessons` leaves in build/lessons/ (it is run first where there are none), where
every cell has the times of its start and its end. A cell counts as one kind, the first that fits:

- training: it calls something that fits a model to data, itself or through a function defined in the lesson;
- figures: it draws;
- import: it imports;
- data: it loads MNIST;
- rest: evaluations, encodings, tables, the claims.
"""

import ast
import datetime
import re
import subprocess
import sys

import nbformat

from benchmarks import common
from tools.run_lessons import OUT

CONFIG = {
    "training": ["fit", "fit_transform", "train_on_batch", "pretrain_layerwise", "linear_probe_error"],
    "figures": ["show"],
    "data": ["load_mnist"],
    "targets": {"share outside import, training and figures": 0.1},
}
KINDS = ("import", "data", "training", "figures", "rest")


def calls(tree):
    """Returns the names of the functions and methods that are called somewhere in a piece of code."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {getattr(function, "attr", getattr(function, "id", None)) for function in functions}


def kind(tree, training):
    """Returns what a cell does, and adds the functions it defines that train to the names in `training`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and calls(node) & training:
            training.add(node.name)
    statements = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    called = calls(ast.Module(statements, []))
    if called & training:
        return "training"
    if called & set(CONFIG["figures"]):
        return "figures"
    if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree)):
        return "import"
    return "data" if called & set(CONFIG["data"]) else "rest"


def source(cell):
    """Returns a cell's Python, without the lines that are for Jupyter."""
    return re.sub(r"(?m)^(\s*)[%!].*", r"\1pass", cell.source)


def seconds_of(cell):
    """Returns how long a cell ran, from the times that nbclient notes in its metadata."""
    begin, end = (
        datetime.datetime.fromisoformat(cell.metadata.execution[f"iopub.status.{status}"])
        for status in ("busy", "idle")
    )
    return (end - begin).total_seconds()


def split(notebook):
    """Returns {kind: seconds} of an executed lesson."""
    seconds, training = dict.fromkeys(KINDS, 0.0), set(CONFIG["training"])
    for cell in notebook.cells:
        if cell.cell_type == "code":
            seconds[kind(ast.parse(source(cell)), training)] += seconds_of(cell)
    return seconds


def main():
    if not any(OUT.glob("[0-9][0-9]_*.ipynb")):
        subprocess.run([sys.executable, "-m", "tools.run_lessons"], cwd=common.ROOT, check=True)
    lessons = {}
    for path in sorted(OUT.glob("[0-9][0-9]_*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        seconds = split(notebook)
        share = (seconds["data"] + seconds["rest"]) / sum(seconds.values())
        title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
        lessons[path.stem] = {"title": title, "seconds": seconds, "total": sum(seconds.values()), "share": share}
    common.write("lesson_time", CONFIG, {"lessons": lessons})


if __name__ == "__main__":
    main()
