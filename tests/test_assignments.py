"""The assignments' tests are fair: planted answers get the points that they deserve, without nbgrader or a kernel."""

import ast
import functools
import re

import nbformat
import pytest

from aelib import data
from tests.planted import ASSIGNMENTS, answers, grading, source
from tools import links
from tools.links import ROOT

MAX_LINES = 25  # of a cell: what is read at a glance, as in the lessons
ALL = [(assignment, answer) for assignment in ASSIGNMENTS for answer in answers(assignment)]
_prepared = {}
_load_once = functools.cache(data.load_mnist)


@pytest.fixture(autouse=True)
def sample_is_read_once(monkeypatch):
    monkeypatch.setattr(data, "load_mnist", _load_once)


def prepared(assignment):
    """Returns the names that an assignment's notebook has defined before the first task."""
    if assignment not in _prepared:
        names = {}
        for cell in source(assignment).cells:
            if grading(cell).get("grade_id") == f"{assignment}-imports":
                exec(cell.source, names)
        _prepared[assignment] = names
    return dict(_prepared[assignment])


def cells_of(assignment, task):
    return [
        cell for cell in source(assignment).cells if re.fullmatch(rf"{task}-\w+", grading(cell).get("grade_id", ""))
    ]


def grade(assignment, task, code):
    """Returns the points of an answer, and the message of the first test that fails ("" if none does)."""
    names, points, message = prepared(assignment), 0, ""
    exec(code, names)
    for cell in cells_of(assignment, task):
        try:
            exec(cell.source, names)
        except Exception as error:
            # Without its reference a test would blame the answer.
            assert grading(cell)["points"], f"{grading(cell)['grade_id']}: {type(error).__name__}: {error}"
            message = message or f"{type(error).__name__}: {error}"
        else:
            points += grading(cell)["points"]
    return points, message


@pytest.mark.parametrize("assignment, answer", ALL, ids=[f"{each.task}: {each.what}" for _, each in ALL])
def test_planted_answer_gets_the_points_that_it_deserves(assignment, answer, capsys):
    points, message = grade(assignment, answer.task, answer.code)
    assert points == answer.points, message
    if answer.kind == "wrong":
        assert re.search(answer.message, message), message


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_enough_answers_are_planted_for_every_task(assignment):
    cells = source(assignment).cells
    tasks = [grading(cell)["grade_id"] for cell in cells if grading(cell).get("solution") and cell.cell_type == "code"]
    planted = answers(assignment)
    assert {answer.task for answer in planted} == set(tasks)
    for task in tasks:
        full = sum(grading(cell)["points"] for cell in cells_of(assignment, task))
        right = [answer for answer in planted if answer.task == task and answer.kind == "right"]
        wrong = [answer for answer in planted if answer.task == task and answer.kind == "wrong"]
        assert len(right) >= 3 and all(answer.points == full for answer in right), task
        assert len(wrong) >= 4 and all(answer.points < full and answer.message for answer in wrong), task
        assert any("keras." in answer.code for answer in right) and any("tf." in answer.code for answer in right), task


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_cells_without_points_define_what_the_hidden_tests_compare_with_and_need_nothing_of_the_student(assignment):
    cells = source(assignment).cells
    for number, cell in enumerate(cells):
        if grading(cell).get("points") != 0:
            continue
        name = grading(cell)["grade_id"]
        task = name.removesuffix("-reference")
        assert name == f"{task}-reference", "a graded cell without points"
        assert grading(cell)["grade"] and grading(cell)["locked"] and not grading(cell)["solution"]
        assert grading(cells[number + 1])["grade_id"] == f"{task}-hidden"
        names = {}
        exec(cell.source, names)
        imports = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Import | ast.ImportFrom)]
        imported = {(alias.asname or alias.name).partition(".")[0] for node in imports for alias in node.names}
        own = set(names) - imported - {"__builtins__"}
        # They share the student's namespace, so they have names that no student would use.
        assert own and all(each.startswith(("reference_", "known_mistakes_of_")) for each in own), name


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_hidden_tests_replace_no_helper_of_the_student(assignment):
    """What a cell assigns outside a function replaces the student's function of that name."""
    hidden = [cell for cell in source(assignment).cells if grading(cell).get("grade_id", "").endswith("-hidden")]
    for cell in hidden:
        for node in ast.parse(cell.source).body:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.Expr), ast.unparse(node)
            assert not isinstance(node, ast.FunctionDef) or node.name.startswith("check_"), node.name


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_reference_solution_passes_and_the_points_add_up(assignment, capsys):
    names = prepared(assignment)
    for cell in source(assignment).cells:
        if cell.cell_type == "code" and "%pip" not in cell.source:
            exec(cell.source, names)
    assert sum(grading(cell).get("points", 0) for cell in source(assignment).cells) == 100


# ---- the release version


def released(assignment):
    return nbformat.read(ROOT / "assignments" / "release" / assignment / f"{assignment}.ipynb", as_version=4)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("version", [source, released])
def test_code_cells_are_short(version, assignment):
    lines = {cell.id: len(cell.source.splitlines()) for cell in version(assignment).cells if cell.cell_type == "code"}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def without(text, begin, end, stub):
    """Takes out what stands between two markers, as nbgrader's documentation says; `stub` keeps the indentation."""
    return re.sub(
        rf"(?ms)^([ ]*){re.escape(begin)}\n.*?{re.escape(end)}(\n|\Z)", lambda match: match[1] + stub + match[2], text
    )


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_release_version_is_not_stale(assignment):
    """Also that neither solutions nor hidden tests are in it. `make test-assignments` compares with nbgrader's own."""
    release = released(assignment)
    expected = []
    for cell in source(assignment).cells:
        stub = (
            'raise NotImplementedError("Your code comes here.")'
            if cell.cell_type == "code"
            else "*Your answer comes here.*"
        )
        text = without(cell.source, "### BEGIN SOLUTION", "### END SOLUTION", stub)
        expected.append(re.sub(r"(?ms)^### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS\n?", "", text).strip())
    assert [cell.source.strip() for cell in release.cells] == expected, "make assignments"
    assert [cell.id for cell in release.cells] == [cell.id for cell in source(assignment).cells]
    assert not any("SOLUTION" in cell.source or "HIDDEN TESTS" in cell.source for cell in release.cells)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_notebook_opens_in_colab_and_installs_as_the_lessons_do(assignment):
    cells = source(assignment).cells
    repo = links.repository()
    assert links.badge(f"{assignment}.ipynb", repo, f"assignments/release/{assignment}") in cells[0].source
    assert next(cell.source for cell in cells if cell.cell_type == "code") == links.setup_cell(repo)
    assert all(not cell.get("outputs") for cell in cells)
