"""Executes every lesson and leaves copies and pages in build/lessons/: python -m tools.run_lessons"""

import base64
import copy
import html
import importlib.resources
import logging
import shutil
import sys
import time

import nbconvert
import nbformat

from aelib.data import load_mnist
from tools import gallery, links
from tools.execute import ROOT, execute, lessons

OUT = ROOT / "build" / "lessons"

logging.getLogger("traitlets").setLevel(logging.ERROR)  # else nbconvert counts the pictures without a description


STYLE = """
body {font-family: sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; line-height: 1.4}
main {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20em, 100%), 1fr)); gap: 1em}
a {border: 1px solid #bbb; border-radius: 6px; color: inherit; padding: 1em; text-decoration: none}
a:hover, a:focus {border-color: #1f77b4}
img {background: white; height: 11em; object-fit: cover; object-position: top left; width: 100%}
h2 {font-size: 1.1em}
"""


def write_page(notebook, name):
    exporter = nbconvert.HTMLExporter(extra_template_basedirs=[str(ROOT / "tools")], template_name="page")
    notebook, pages = copy.deepcopy(notebook), {f"notebooks/{path.name}" for path in lessons()}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = links.to_repository(cell.source, f"notebooks/{name}.ipynb", pages)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": name}})
    # a link to another lesson's notebook leads to its page
    for other in lessons():
        page = page.replace(f'href="{other.name}"', f'href="{other.stem}.html"')
    (OUT / f"{name}.html").write_text(page, encoding="utf-8")


def card(lesson, seconds, verdict):
    """Returns a lesson's entry of the index: figure, title, question, the seconds it took, whether it passed."""
    picture = ""
    if lesson.figure is not None:
        data = base64.b64encode(lesson.figure).decode()
        picture = f'<img src="data:image/png;base64,{data}" alt="{html.escape(lesson.alt)}">'
    return (
        f'<a href="{lesson.name}.html">{picture}<h2>{html.escape(lesson.title)}</h2>'
        f"<p>{html.escape(lesson.question)}</p><p>{seconds:.0f} s, {verdict}</p></a>"
    )


def write_index(cards):
    """Writes the page that leads to the lessons."""
    (OUT / "index.html").write_text(
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Autoencoders: the lessons</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><h1>Autoencoders: the lessons</h1>\n<main>\n"
        + "\n".join(cards)
        + "\n</main></body>\n</html>\n",
        encoding="utf-8",
    )


def main():
    load_mnist()  # says which data the lessons will find
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with importlib.resources.as_file(importlib.resources.files("jupyter_server_mathjax") / "static") as mathjax:
        shutil.copytree(mathjax, OUT / "mathjax")

    cards, failures = [], {}
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
        cards.append(card(gallery.lesson(path.stem, notebook), seconds, verdict))
        if traceback:
            failures[path.name] = traceback
        write_index(cards)

    for name, traceback in failures.items():
        print(f"\n{name} fails:\n\n{traceback}")
    print(f"\n{len(paths) - len(failures)} of {len(paths)} lessons pass. Read them in a browser:\n{OUT / 'index.html'}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
