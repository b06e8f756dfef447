"""Makes a page of the library for each of aelib's modules, from its docstrings."""

import doctest
import importlib
import inspect
import pkgutil

import matplotlib.pyplot as plt
import numpy as np

import aelib
from aelib import plots


def modules():
    """Returns [(module's name, its public names)], the names in the order in which they are defined."""
    found = []
    for info in pkgutil.iter_modules(aelib.__path__, "aelib."):
        module = importlib.import_module(info.name)
        names = [
            (name, value)
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__.startswith(info.name)
        ]
        found.append((info.name, names))
    return found


def draw_example(function, path):
    """Saves what a docstring's example draws; returns whether it draws anything."""
    plots.use_style()
    names = {**vars(plots), "np": np}
    for example in doctest.DocTestParser().get_examples(inspect.getdoc(function)):
        exec(compile(example.source, path.stem, "exec"), names)
    drawn = bool(plt.get_fignums())
    if drawn:
        plt.savefig(path)
    plt.close("all")
    return drawn


def write(folder):
    """Writes the pages and their contents, `index.rst`."""
    folder.mkdir()
    rows = []
    for module, names in modules():
        short = module.removeprefix("aelib.")
        text = [short, "=" * len(short), "", f".. automodule:: {module}", "   :no-members:", ""]
        for name, value in names:
            kind = "class" if inspect.isclass(value) else "function"
            text += [f".. auto{kind}:: {module}.{name}", *(["   :members:", ""] if kind == "class" else [""])]
            if module == "aelib.plots" and draw_example(value, folder / f"{name}.png"):
                text += [
                    f".. image:: {name}.png",
                    f"   :alt: What the example of {name} draws",
                    "   :class: example-figure",
                    "",
                ]
        (folder / f"{short}.rst").write_text("\n".join(text), encoding="utf-8")
        rows += [
            f"   * - :doc:`{short}`",
            f"     - {', '.join(f':any:`{name} <{module}.{name}>`' for name, _ in names)}",
        ]
    head = [
        "The library",
        "===========",
        "",
        "Layers, losses, models and measures that the lessons use, by module. Models are Keras models.",
        "``import aelib`` comes before TensorFlow's import, so that TensorFlow starts without its log lines.",
        "",
        ".. autofunction:: aelib.print_versions",
        "",
        ".. list-table::",
        "   :widths: 20 80",
        "",
    ]
    tree = ["", ".. toctree::", "   :hidden:", "", *(f"   {module.removeprefix('aelib.')}" for module, _ in modules())]
    (folder / "index.rst").write_text("\n".join([*head, *rows, *tree, ""]), encoding="utf-8")
