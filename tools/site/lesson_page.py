"""Makes a page of the site from a stored lesson: its text and outputs stay, what only a page needs is added.

The alternative texts of figures, links that open the lesson elsewhere, links to the glossary, and cells that only draw
are folded.
"""

import ast
import re

import nbformat

from tools import links

# A statement that mentions one of these draws.
DRAWING = {"plt", "plots", "ax", "axes", "figure", "fig"}
FOLDED_LINES = 6  # a shorter cell is as quick to read as to unfold

# Lessons whose claims a reader can judge in the page, and the models that are put side by side for it.
EXPLORERS = {
    "08_variational_autoencoder": "plain_2 variational_2 adversarial_gaussian_2",
    "09_adversarial_autoencoder": "plain_2 adversarial_gaussian_2 adversarial_mixture_2",
}

# Where no term is linked: blocks and spans of code, formulas, links, headings, tables, what is bold.
PROTECTED = re.compile(
    r"(?ms)^```.*?^```|\$\$.*?\$\$|`[^`\n]*`|\$[^$\n]+\$|!?\[[^\]]*\]\([^)]*\)|^#[^\n]*|^\|[^\n]*|\*\*[^*]+\*\*|<[^>\n]+>"
)


def glossary(text):
    """Returns the terms that a page's glossary explains, the longest first."""
    block = re.search(r"(?ms)^```\{glossary\}\n(.*?)^```", text)[1]
    return sorted(re.findall(r"(?m)^(\S.*)$", block), key=len, reverse=True)


def write(path, folder, terms, pages):
    """Writes the page of one lesson.

    Args:
        path: the lesson.
        folder: where the page is written, under the same name.
        terms: the terms that are linked to the glossary, once a lesson.
        pages: what is a page of the site, as paths in the repository; other relative links lead to GitHub.
    """
    notebook = nbformat.read(path, as_version=4)
    repo = links.repository()
    missing = list(terms)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(links.badge(path.name, repo), openers(path.name, repo))
            cell.source = link_terms(links.to_repository(cell.source, f"notebooks/{path.name}", pages), missing)
        elif any("image/png" in output.get("data", {}) for output in cell.outputs):
            cell.metadata["mystnb"] = {"image": {"alt": cell.metadata.get("alt", "")}}
            if only_draws(cell.source):
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    if path.stem in EXPLORERS:
        [exercises] = [number for number, cell in enumerate(notebook.cells) if cell.source.startswith("## Exercises")]
        text = (
            "## Judge for yourself\n\nModels of these kinds, trained for this page (`make explorer`). Where do the "
            "codes lie, what does the decoder make of the places between them, and what is halfway from A to B?\n\n"
            f"```{{explorer}} map {EXPLORERS[path.stem]}\n```"
        )
        notebook.cells.insert(exercises, nbformat.v4.new_markdown_cell(text))
    nbformat.write(notebook, folder / path.name)


def openers(name, repo):
    """Returns the links that open a lesson elsewhere."""
    colab = f"https://colab.research.google.com/github/{repo}/blob/{links.BRANCH}/notebooks/{name}"
    binder = f"https://mybinder.org/v2/gh/{repo}/{links.BRANCH}?urlpath=lab/tree/notebooks/{name}"
    source = f"https://github.com/{repo}/blob/{links.BRANCH}/notebooks/{name}"
    return f"[Open in Colab]({colab}){{.opener}} [Open in Binder]({binder}){{.opener}} [Notebook]({source}){{.opener}}"


def link_terms(text, missing):
    """Links the first use of each term to the glossary, and takes the terms that it linked off the list."""
    pieces, end = [], 0
    for match in [*PROTECTED.finditer(text), None]:
        free = text[end : match.start() if match else len(text)]
        pieces.append(_link_in(free, missing))
        if match:
            pieces.append(match[0])
            end = match.end()
    return "".join(pieces)


def _link_in(text, missing):
    found = {}
    for term in missing:
        match = re.search(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", text, re.IGNORECASE)
        if match and not any(match.start() < end and start < match.end() for start, end in found):
            found[match.span()] = term
    for (start, end), term in sorted(found.items(), reverse=True):
        text = f"{text[:start]}{{term}}`{text[start:end]} <{term}>`{text[end:]}"
        missing.remove(term)
    return text


def only_draws(source):
    """Whether each statement of a cell draws, so that a reader can go on without it."""
    if len(source.splitlines()) < FOLDED_LINES:
        return False
    names = ({node.id for node in ast.walk(each) if isinstance(node, ast.Name)} for each in ast.parse(source).body)
    return all(found & DRAWING for found in names)
