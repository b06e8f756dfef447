"""Builds the course as a web site in build/site/: python -m tools.site.build

The site's sources are put together in build/site-source/: the pages of docs/, the lessons as they are stored, the
documents of the repository that are pages too, and a page of the library for each of aelib's modules. Nothing is
executed.
"""

import fnmatch
import functools
import os
import re
import shutil
import subprocess
import sys
import time

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import nbformat

from tools import execute, gallery, links
from tools.site import lesson_page, library, npm

ROOT = links.ROOT
SOURCE = ROOT / "build" / "site-source"
SITE = ROOT / "build" / "site"
DOCTREES = ROOT / "build" / "site-doctrees"

# Documents of the repository that are pages of the site where there are any, at the same place as there, so that links
# between them hold.
DOCUMENTS = (
    "assignments/README.md",
    "assignments/teaching.md",
    "assignments/predictions.md",
    "benchmarks/README.md",
    "benchmarks/papers/README.md",
    "data/README.md",
)

# A number on a page: the lesson that stores it, and a regular expression with a group around it.
NUMBER = re.compile(r"\{\{(\d\d): (.+?)\}\}")

# Where a reader begins, by aim: title, page, and what is found there. Pages that do not exist yet are left out.
AIMS = (
    (
        "Learn from the start",
        "notebooks/01_*",
        "A bottleneck, and what a network must learn to pass digits through it.",
    ),
    ("Detect anomalies", "notebooks/10_*", "Errors, thresholds, and the baselines that stand beside an autoencoder."),
    ("Restore images", "notebooks/04_*", "Repair noise and missing pixels, and compare with the best linear map."),
    ("Generate", "notebooks/08_*", "Codes with a prior, samples, and what a bound on the likelihood does not say."),
    ("Sequences", "notebooks/11_*", "Codes of signals that go on for as long as they like."),
    ("Use the codes", "notebooks/12_*", "Few labels, clusters, search: which code is best for what."),
    ("Choose a method", "which.md", "What the lessons found, aim by aim."),
    ("Train on more than a laptop", "cluster.md", "Streams, several devices, several machines."),
    ("Teach", "assignments/README.md", "Assignments that grade themselves, and a guide to the lessons."),
)


def assemble():
    """Puts the sources of all pages together in an empty folder."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", SOURCE, ignore=shutil.ignore_patterns("__pycache__"))
    pages = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.md")}
    lessons = gallery.facts()
    documents = [name for name in DOCUMENTS if (ROOT / name).exists()]
    pages |= {f"notebooks/{lesson.name}.ipynb" for lesson in lessons} | set(documents)

    figures = SOURCE / "_static" / "lessons"
    figures.mkdir(parents=True)
    terms = lesson_page.glossary((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    (SOURCE / "notebooks").mkdir()
    for lesson in lessons:
        (figures / f"{lesson.name}.png").write_bytes(lesson.figure)
        lesson_page.write(ROOT / "notebooks" / f"{lesson.name}.ipynb", SOURCE / "notebooks", terms, pages)

    for name in documents:
        (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
        pictures = list((ROOT / name).parent.glob("*.svg"))
        for picture in pictures:
            shutil.copy(picture, (SOURCE / name).parent)
        text = (ROOT / name).read_text(encoding="utf-8")
        kept = pages | {picture.relative_to(ROOT).as_posix() for picture in pictures}
        (SOURCE / name).write_text(links.to_repository(text, name, kept), encoding="utf-8")

    library.write(SOURCE / "library")
    for page in SOURCE.glob("*.md"):
        fill(page, lessons, documents, pages)
    draw_social_preview(SOURCE / "_static" / "social.png")
    npm.install("mathjax", SOURCE / "_static" / "mathjax")
    for package in ("tfjs-core", "tfjs-backend-cpu"):
        npm.install(package, SOURCE / "_static" / "explorer")


def fill(page, lessons, documents, pages):
    """Puts in what a page of docs/ takes from elsewhere: cards, contents, and numbers from stored outputs."""
    text = page.read_text(encoding="utf-8")
    text = text.replace("<!-- aims -->", aims(pages))
    text = text.replace("<!-- gallery -->", cards(lessons))
    text = text.replace("<!-- lessons -->", "\n".join(f"notebooks/{lesson.name}" for lesson in lessons))
    text = text.replace("<!-- documents -->", "\n".join(name.removesuffix(".md") for name in documents))
    text = NUMBER.sub(lambda match: stored(*match.groups(), page.name), text)
    # a link out of docs/ leads to the repository
    text = links.to_repository(text, f"docs/{page.name}", {f"docs/{path}" for path in pages})
    page.write_text(text, encoding="utf-8")


def draw_social_preview(path):
    """Draws what other sites show beside a link to this one: the README's figure under the course's name."""
    figure, ax = plt.subplots(figsize=(12, 6.3), dpi=100, layout="constrained")
    figure.suptitle("\nAutoencoders in Keras 3", fontsize=48, weight="bold")
    ax.imshow(plt.imread(ROOT / "docs" / "reconstructions.png"))
    ax.set_title("an executable course: every claim is a test", fontsize=24, pad=24)
    ax.axis("off")
    figure.savefig(path)
    plt.close(figure)


@functools.cache
def outputs(number):
    """Returns the text that a lesson's cells have printed, one after the other."""
    [path] = execute.lessons(number)
    cells = nbformat.read(path, as_version=4).cells
    printed = (output for cell in cells if cell.cell_type == "code" for output in cell.outputs)
    return "\n" + "\n".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in printed
    )


def stored(number, pattern, page):
    """Returns what a regular expression's group finds in a lesson's stored outputs."""
    match = re.search(pattern, outputs(number))
    if match is None:
        raise ValueError(f"docs/{page} shows {pattern!r} of lesson {number}, whose stored outputs have it no more.")
    return match[1]


def aims(pages):
    """Returns the cards that lead a reader to the page of an aim."""
    made = [
        f":::{{grid-item-card}} {title}\n:link: /{page.rsplit('.', 1)[0]}\n:link-type: doc\n\n{text}\n:::\n"
        for title, pattern, text in AIMS
        for page in sorted(fnmatch.filter(pages, pattern))[:1]
    ]
    return "::::{grid} 1 2 2 3\n:gutter: 2\n\n" + "\n".join(made) + "::::"


def cards(lessons):
    """Returns the lessons as cards: figure, title, question, time."""
    made = []
    for lesson in lessons:
        made.append(
            f"::::{{grid-item-card}} {lesson.title}\n"
            f":img-top: _static/lessons/{lesson.name}.png\n"
            f":img-alt: {lesson.alt}\n"
            f":link: notebooks/{lesson.name}\n"
            ":link-type: doc\n"
            ":class-card: lesson-card\n\n"
            f"{lesson.question}\n"
            f":::{{card-footer}}\n{lesson.time}\n:::\n::::\n"
        )
    return ":::::{grid} 1 2 2 3\n:gutter: 3\n\n" + "\n".join(made) + ":::::"


def main():
    start = time.monotonic()
    try:
        assemble()
    except ValueError as error:
        sys.exit(f"make site: {error}")
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", "-b", "html", "-E", "-d", DOCTREES]
    # autodoc imports aelib from the working tree, without TensorFlow's log lines
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([*command, SOURCE, SITE], cwd=ROOT, env=environment)
    if result.returncode:
        sys.exit("make site: the pages have the faults above. Their sources are in build/site-source/.")
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    print(f"{len(list(SITE.rglob('*.html')))} pages, {size / 1e6:.1f} MB, in {time.monotonic() - start:.0f} s:")
    print(SITE / "index.html")


if __name__ == "__main__":
    main()
