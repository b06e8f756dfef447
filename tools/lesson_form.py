"""Holds a lesson to its form: sections in order, short cells, clean stored outputs, derived links.

`faults(notebook, ...)` returns every fault as one line; tests/test_lessons_form.py calls it for each lesson, and
CONTRIBUTING.md says the same rules in prose.
"""

import re
import statistics

import nbformat

from tools import links

LESSONS = (
    "01_basic_autoencoder.ipynb",
    "02_linear_autoencoder_pca.ipynb",
    "03_stacked_autoencoder.ipynb",
    "04_denoising_autoencoder.ipynb",
    "05_sparse_autoencoder.ipynb",
    "06_contractive_autoencoder.ipynb",
    "07_convolutional_autoencoder.ipynb",
    "08_variational_autoencoder.ipynb",
    "09_adversarial_autoencoder.ipynb",
    "10_anomaly_detection.ipynb",
    "11_sequences.ipynb",
    "12_representations_at_work.ipynb",
    "13_image_restoration.ipynb",
    "14_energy_based_gan.ipynb",
)
SECTIONS = (
    "You will be able to",
    "Setup",
    "Intuition",
    "Theory",
    "Data",
    "The idea in code",
    "Train",
    "Look",
    "Experiment",
    "Break it",
    "Claims",
    "Exercises",
    "Summary",
    "References",
)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = ("alt", "tags")  # "alt": the figure in one sentence, for those who do not see it
# nbval compares the stored text of cells with this tag. Its comment markers do the same, but readers would see them.
CHECKED = "nbval-check-output"
MAX_BYTES = 1_000_000

# What is read and run in one session.
MAX_CELLS = 75
MAX_WORDS = 3_000
MIN_ALT_WORDS = 5

# What a stored output must not hold: it differs from run to run or from machine to machine, or it is noise.
UNCLEAN = {
    "a progress bar": re.compile(r"[\x08\r]|\d+/\d+[^\n]{0,40}━"),
    "a timing": re.compile(r"\d\s?(?:us|µs|ms|s)/(?:step|epoch)|Wall time|CPU times"),
    "a path of a machine": re.compile(
        r"(?<![\w.])/(?:home|root|tmp|Users|work|content|private|var|opt|usr)/|\b[A-Z]:\\"
    ),
    "an object's address": re.compile(r"0x[0-9a-f]{6,}"),
    "the offline sample's data line (store from the full set)": re.compile(r"(?m)^MNIST:.*\bsample\b"),
}


def sections(notebook):
    """Returns [(heading, prose, code cells)] in order; the head, before the first `##`, has the heading ""."""
    parts = [("", [], [])]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts[-1][2].append(cell)
        else:
            for piece in re.split(r"(?m)^(?=## )", _prose(cell)):
                if piece.startswith("## "):
                    parts.append((piece.splitlines()[0].removeprefix("## ").strip(), [], []))
                parts[-1][1].append(piece)
    return [(heading, "\n".join(prose), code) for heading, prose, code in parts]


def _prose(cell):
    """Returns a Markdown cell's text without its blocks of code."""
    return re.sub(r"(?ms)^```.*?^```", "", cell.source)


def _items(text):
    return re.findall(r"(?m)^(?:[-*]|\d+\.)\s", text)


def _text(output):
    """Returns an output's text, and "" for the label that Jupyter stores beside every picture."""
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "" if "image/png" in data else data.get("text/plain", "") + data.get("text/html", "")


def _head_faults(text, filename, repo):
    number = filename[:2]
    if not re.match(rf"# {number} \S", text):
        yield f"the first cell must begin with the title '# {number} ...'"
    if not re.search(r"(?m)^\*\*[^*]+\*\*$", text):
        yield "the head needs one sentence in bold on its own line: what the reader will believe at the end"
    if links.badge(filename, repo) not in text:
        yield f"the head needs the Colab badge {links.badge(filename, repo)} (make links rewrites it)"
    if not re.search(r"\*\*Before\*\*:.*\*\*Time\*\*:", text, re.DOTALL):
        yield "the head needs a line of facts: **Before**: what to know. **Time**: how long on a CPU"


def _section_faults(parts):
    found = [heading for heading, _, _ in parts]
    if [heading.split(":")[0] for heading in found] != list(SECTIONS):
        yield f"the sections (## ...) must be {', '.join(SECTIONS)}; found {', '.join(found) or 'none'}"
        return
    prose = {heading.split(":")[0]: text for heading, text, _ in parts}
    if not 3 <= len(_items(prose["You will be able to"])) <= 5:
        yield "'You will be able to' needs three to five list items"
    if "**Predict" not in prose["Intuition"]:
        yield "'Intuition' must ask for a prediction (**Predict ...**)"
    if "$$" not in prose["Theory"]:
        yield "'Theory' needs a displayed equation ($$)"
    for kind in ("**Warm-up", "**Code", "**Open question"):
        if kind not in prose["Exercises"]:
            yield f"'Exercises' needs {kind}**"
    if len(_items(prose["Summary"])) != 5:
        yield f"'Summary' needs five list items, not {len(_items(prose['Summary']))}"
    if not re.search(r"\b(?:19|20)\d\d\b", prose["References"]):
        yield "'References' needs at least one source with its year"
    yield from _claim_faults(*parts[SECTIONS.index("Claims")][1:])


def _claim_faults(prose, code):
    asserts = [len(re.findall(r"(?m)^\s*assert\b", cell.source)) for cell in code]
    if not code or not all(asserts):
        yield "'Claims' needs code cells, each with an assert"
    if sum(asserts) < len(_items(prose)):
        yield "'Claims' lists more claims than it asserts"
    for cell in code:
        if CHECKED not in cell.metadata.get("tags", []):
            yield f"a cell in 'Claims' is not tagged {CHECKED}: {cell.source.splitlines()[:1]}"


def _code_faults(code, repo):
    if not code or code[0].source != links.setup_cell(repo):
        yield "the first code cell must be the set-up cell, character for character (see CONTRIBUTING.md; make links)"
    if len(code) < 2 or not all(
        call in code[1].source for call in ("plots.use_style()", "keras.utils.set_random_seed(")
    ):
        yield "the second code cell must import, call plots.use_style() and seed with keras.utils.set_random_seed(...)"
    lengths = [len(cell.source.splitlines()) for cell in code]
    if lengths and statistics.median(lengths) > 8:
        yield f"the median code cell has {statistics.median(lengths):g} lines, more than 8"
    for number, cell in enumerate(code, 1):
        limit = 40 if re.search(r"(?m)^class ", cell.source) else 25
        if lengths[number - 1] > limit:
            yield f"code cell {number} has {lengths[number - 1]} lines, more than {limit}"
        if re.search(r"(?m)^\s*#\s*(NBVAL|PYTEST)_", cell.source):
            yield f"code cell {number} has a marker in a comment: use the tag {CHECKED}, which readers do not see"


def _prose_faults(cells):
    run = 0
    for number, cell in enumerate(cells, 1):
        run = run + 1 if cell.cell_type == "code" else 0
        if run == 4:
            yield f"cell {number} is the fourth code cell in a row: prose must lead in"
        if not cell.source.strip():
            yield f"cell {number} is empty"
        if cell.cell_type not in ("code", "markdown"):
            yield f"cell {number} is neither code nor Markdown"


def _length_faults(cells):
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    if words > MAX_WORDS:
        yield f"the text has {words} words, more than {MAX_WORDS}"
    if len(cells) > MAX_CELLS:
        yield f"{len(cells)} cells, more than {MAX_CELLS}"


def _output_faults(code):
    if not any(cell.execution_count for cell in code):
        yield "the lesson is not executed: make store"
        return
    for number, cell in enumerate(code, 1):
        if cell.execution_count != number:
            yield f"code cell {number} has execution count {cell.execution_count}: make store runs from top to bottom"
        checked = CHECKED in cell.metadata.get("tags", [])
        if checked and not "".join(map(_text, cell.outputs)).strip():
            yield f"code cell {number} is tagged {CHECKED} and prints nothing to compare"
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {number} stores an error"
            elif output.get("name") == "stderr":
                yield f"code cell {number} stores text on stderr: {output.text[:80]!r}"
            elif output.output_type == "execute_result" and re.match(r"\[?<", output.data.get("text/plain", "")):
                yield f"code cell {number} ends in a value that only shows {output.data['text/plain'][:40]!r}"
            if "image/png" in output.get("data", {}) and len(cell.metadata.get("alt", "").split()) < MIN_ALT_WORDS:
                yield f'code cell {number} draws a figure and has no alternative text ("alt" in its metadata)'
            for what, pattern in UNCLEAN.items():
                if pattern.search(_text(output)):
                    yield f"code cell {number} stores {what}"
    if not any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs):
        yield "no figure is stored"
    if not any(CHECKED in cell.metadata.get("tags", []) for cell in code):
        yield f"no cell is tagged {CHECKED}"


def _validity_faults(notebook):
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        yield f"format {notebook.nbformat}.{notebook.nbformat_minor}, not 4.5"
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) < len(ids):
        yield "a cell has no id, or two have the same one"
        return  # validate() would mend the ids in place
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error.message}"


def _metadata_faults(notebook):
    if notebook.metadata != METADATA:
        yield "the notebook's metadata must be only the kernel python3 and the language: make store sets it"
    for number, cell in enumerate(notebook.cells, 1):
        extra = set(cell.metadata) - set(CELL_METADATA) | set(cell.metadata.get("tags", [])) - {CHECKED}
        if extra:
            yield f"cell {number} has metadata other than alt and {CHECKED}: {', '.join(sorted(extra))}"


def _whole_text_faults(notebook, filename, folder, repo):
    text = "\n".join(_prose(cell) for cell in notebook.cells if cell.cell_type == "markdown")
    if len(re.findall(r"(?m)^# ", text)) > 1:
        yield "more than one title (#)"
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:|#", target) and not (folder / target.split("#")[0]).exists():
            yield f"the link to {target} leads nowhere"
    for other in re.findall(r"colab\.research\.google\.com/github/([^/]+/[^/]+)/", text):
        if other != repo:
            yield f"a Colab link leads to {other}, not to {repo} (make links rewrites it)"
    last = notebook.cells[-1].source if notebook.cells[-1].cell_type == "markdown" else ""
    following = LESSONS[LESSONS.index(filename) + 1 :][:1] if filename in LESSONS else ()
    for name in following:
        if (folder / name).exists() and f"]({name})" not in last:
            yield f"the last cell must link to the next lesson, {name}"
        elif "Next" not in last:
            yield "the last cell must say what comes next (Next: ...)"


def faults(notebook, filename, folder, repo):
    """Returns the faults of a lesson, one line each.

    Args:
        notebook: the notebook, as `nbformat.from_dict` returns it.
        filename: its file's name, such as "01_basic_autoencoder.ipynb".
        folder: the folder of all lessons, against which relative links are resolved.
        repo: the repository's "owner/name".
    """
    invalid = list(_validity_faults(notebook))
    if invalid:
        return invalid
    parts = sections(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = [] if filename in LESSONS else [f"{filename} is not one of the planned lessons (tools/lesson_form.py)"]
    found += _head_faults(parts[0][1], filename, repo)
    found += _section_faults(parts[1:])
    found += _code_faults(code, repo)
    found += _prose_faults(notebook.cells)
    found += _length_faults(notebook.cells)
    found += _output_faults(code)
    found += _metadata_faults(notebook)
    found += _whole_text_faults(notebook, filename, folder, repo)
    return found
