"""The benchmarks' page says what was measured, and nothing else; what the scripts compute besides times is right."""

import ast
import copy
import re
import tomllib

import nbformat
import pytest
from packaging.requirements import Requirement

from benchmarks import common, lesson_time, page, penalty_cost, scaling


def test_page_is_made_from_the_stored_results(tmp_path):
    assert set(page.results()) == set(page.NAMES)
    page.make(tmp_path)
    stored = (common.ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == stored, "run python -m benchmarks.page"
    for figure in re.findall(r"\]\((\w+\.svg)\)", stored):
        assert (tmp_path / figure).exists() and (common.ROOT / "benchmarks" / figure).exists()


def test_no_number_on_the_page_is_typed():
    tree = ast.parse((common.ROOT / "benchmarks" / "page.py").read_text(encoding="utf-8"))
    formats = {id(part) for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) and node.format_spec
               for part in ast.walk(node.format_spec)}  # fmt: skip
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in formats
    ]
    assert len(texts) > 100
    assert [text for text in texts if re.search(r"\d", text) and text != "utf-8"] == []
    for name in page.NAMES:
        text = (common.ROOT / "benchmarks" / "text" / f"{name}.md").read_text(encoding="utf-8")
        assert re.findall(r"[^\n]*\d[^\n]*", re.sub(r"\{[^{}]*\}", "", text)) == []


def test_page_says_what_is_missing_and_what_is_missed(tmp_path):
    found = copy.deepcopy(page.results())
    for measured in found["step_time"]["models"].values():
        for values in (measured["milliseconds"], measured["compile_seconds"], *measured["ratio"].values()):
            values.pop("torch", None)
            values.pop("pythae", None)
    found["step_time"]["models"]["dense"]["ratio"]["aelib"]["bare"] = 1.987
    page.make(tmp_path, {"step_time": found["step_time"]})
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "Not installed in this run: bare PyTorch loop, pythae." in text
    assert "**missed**: dense, aelib, `fit` / bare `tf.function` loop: 1.987, at most 1.15 wanted" in text


def test_results_name_no_place():
    for path in common.RESULTS.glob("*.json"):
        assert str(common.ROOT) not in path.read_text(encoding="utf-8")


def test_exponent_of_a_power_law():
    assert penalty_cost.exponent({10: 3 * 10**1.7, 40: 3 * 40**1.7, 90: 3 * 90**1.7}) == pytest.approx(1.7)


def test_ratio_is_taken_round_by_round():
    """The second half of the rounds was twice as slow for both: their ratio is still 1.5."""
    assert common.median_ratio([3, 3, 6, 6], [2, 2, 4, 4]) == 1.5


def test_ports_are_different_and_free():
    assert len(set(scaling.free_ports(4))) == 4


def test_lessons_cells_are_told_apart():
    sources = {
        "import os\n\nif colab:\n    %pip install -q x\ndigits = load_mnist()": "import",
        "digits = data.load_mnist()\nprint(digits)": "data",
        "def train(model):\n    return model.fit(x)\n\n\ndef twice(model):\n    train(model)\n    train(model)": "rest",
        "histories = [twice(model) for _ in range(3)]\nplt.show()": "training",
        "ax.plot(x)\nplt.show()": "figures",
        "error = model.evaluate(x)": "rest",
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    for number, cell in enumerate(notebook.cells):
        cell.metadata["execution"] = {
            "iopub.status.busy": "2026-01-01T00:00:00.000000Z",
            "iopub.status.idle": f"2026-01-01T00:00:{2**number:02}.000000Z",
        }
    expected = dict.fromkeys(lesson_time.KINDS, 0.0)
    for number, kind in enumerate(sources.values()):
        expected[kind] += 2**number
    assert lesson_time.split(notebook) == expected


def test_pins_of_the_comparisons_fit_their_group():
    groups = tomllib.loads((common.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    lines = (common.ROOT / "requirements" / "bench.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, groups["bench"]):
        assert requirement.specifier.contains(pins[requirement.name])
