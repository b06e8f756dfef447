"""Executes every lesson and leaves copies and pages in build/lessons/: python -m tools.run_lessons"""

import html
import importlib.resources
import logging
import shutil
import sys
import time

import nbconvert
import nbformat

from aelib.data import load_mnist
from tools.execute import ROOT, execute, lessons

OUT = ROOT / "build" / "lessons"

logging.getLogger("traitlets").setLevel(logging.ERROR)  # else nbconvert counts the pictures without a description


def write_page(notebook, name):
    exporter = nbconvert.HTMLExporter(extra_template_basedirs=[str(ROOT / "tools")], template_name="page")
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": name}})
    # a link to another lesson's notebook leads to its page
    for other in lessons():
        page = page.replace(f'href="{other.name}"', f'href="{other.stem}.html"')
    (OUT / f"{name}.html").write_text(page, encoding="utf-8")


def write_index(rows):
    """Writes a page with one line for each lesson: its title, the seconds it took, whether it passed."""
    lines = "\n".join(
        f'<tr><td><a href="{name}.html">{html.escape(title)}</a></td><td>{seconds:.0f} s</td><td>{verdict}</td></tr>'
        for name, title, seconds, verdict in rows
    )
    (OUT / "index.html").write_text(
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Autoencoders: the lessons</title>\n'
        "<style>body {font-family: sans-serif; margin: 3em} td {padding: 0.3em 1.5em 0.3em 0}</style></head>\n"
        f"<body><h1>Autoencoders: the lessons</h1>\n<table>\n{lines}\n</table></body>\n</html>\n",
        encoding="utf-8",
    )


def main():
    load_mnist()  # says which data the lessons will find
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with importlib.resources.as_file(importlib.resources.files("jupyter_server_mathjax") / "static") as mathjax:
        shutil.copytree(mathjax, OUT / "mathjax")

    rows, failures = [], {}
    paths = lessons()
    for path in paths:
        print(f"{path.stem:<{max(len(path.stem) for path in paths)}} ", end="", flush=True)
        start = time.monotonic()
        notebook, traceback = execute(nbformat.read(path, as_version=4))
        seconds = time.monotonic() - start
        verdict = "FAIL" if traceback else "pass"
        print(f"{seconds:6.0f} s  {verdict}", flush=True)
        nbformat.write(notebook, OUT / path.name)
        write_page(notebook, path.stem)
        rows.append((path.stem, notebook.cells[0].source.splitlines()[0].lstrip("# "), seconds, verdict))
        if traceback:
            failures[path.name] = traceback
        write_index(rows)

    for name, traceback in failures.items():
        print(f"\n{name} fails:\n\n{traceback}")
    print(f"\n{len(paths) - len(failures)} of {len(paths)} lessons pass. Read them in a browser:\n{OUT / 'index.html'}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
