"""Planted submissions, graded by nbgrader as a student's are: make test-assignments

The answers of assignments/tests/*.md are put together to whole notebooks, the n-th answer to every task in one. Those
that misbehave are written here.
"""

import csv
import json
import multiprocessing
import pathlib
import sys
import time

import nbformat
import psutil
import pytest
from nbgrader.api import Gradebook

from tests.planted import ASSIGNMENTS, answers, grading
from tools import assignments, grade, submissions

ROOT = grade.ROOT
LIMITS = grade.Limits(cell_seconds=30, total_seconds=400)
SECRET = "what-only-the-teacher-knows"


def release(assignment):
    path = ROOT / "assignments" / "release" / assignment / f"{assignment}.ipynb"
    return nbformat.read(path, as_version=4)


def cell_of(notebook, grade_id):
    return next(cell for cell in notebook.cells if grading(cell).get("grade_id") == grade_id)


def answered(assignment, codes):
    """Returns the release version with answers to some tasks, and a sentence for the written question."""
    notebook = release(assignment)
    for cell in notebook.cells:
        if grading(cell).get("solution") and cell.cell_type == "markdown":
            cell.source = "The rotation is left."
    for task, code in codes.items():
        cell_of(notebook, task).source = code
    return notebook


def combined(assignment):
    """Returns {name: (notebook, points expected by task)}: the n-th right, and the n-th wrong answer to every task."""
    by_kind = {"right": {}, "wrong": {}}
    for answer in answers(assignment):
        by_kind[answer.kind].setdefault(answer.task, []).append(answer)
    found = {}
    for kind, by_task in by_kind.items():
        for number in range(max(map(len, by_task.values()))):
            chosen = {task: options[number % len(options)] for task, options in by_task.items()}
            notebook = answered(assignment, {task: answer.code for task, answer in chosen.items()})
            found[f"{kind} {number + 1}"] = notebook, {task: answer.points for task, answer in chosen.items()}
    return found


def right(assignment):
    """Returns the code of a right answer to every task."""
    return {answer.task: answer.code for answer in reversed(answers(assignment)) if answer.kind == "right"}


def graded(found, assignment, out, limits=LIMITS):
    folder = out / f"submitted {assignment}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        text = content if isinstance(content, bytes) else nbformat.writes(content).encode()
        (folder / (name if "." in name else f"{name}.ipynb")).write_bytes(text)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    groups = grade.by_assignment(submissions.collect(folder), grade.releases())
    results = grade.grade(groups[assignment], assignment, out=out / "grades", limits=limits)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before, "a submission was changed"
    return {result.student: result for result in results}


def failures(out, assignment, student):
    """Returns the messages of the cells that failed, as the student's feedback page has them."""
    course = out / "grades" / assignment / "course"
    notebook = nbformat.read(course / "autograded" / student / assignment / f"{assignment}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]


# ---- right and wrong answers


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_planted_answers_get_their_points_from_nbgrader(assignment, tmp_path):
    planted = combined(assignment)
    results = graded({name: notebook for name, (notebook, _) in planted.items()}, assignment, tmp_path)
    full = grade.maxima(assignment)
    written = f"{assignment}-{len(full)}"
    for name, (_, expected) in planted.items():
        found = dict(results[name].scores)
        assert found.pop(written) == 0 and results[name].unread == full[written] == 20
        assert found == expected, (name, failures(tmp_path, assignment, name))
        page = tmp_path / "grades" / assignment / "feedback" / f"{name}.html"
        assert page.stat().st_size > 10_000


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_release_version_is_what_the_source_gives(assignment):
    path = ROOT / "assignments" / "release" / assignment / f"{assignment}.ipynb"
    assert path.read_text(encoding="utf-8") == assignments.release(assignment), "make assignments"


# ---- submissions that misbehave

ENDLESS = """
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
LOOP = """
def largest_angle(first, second):
    while True:
        pass
"""
HOG = """
def error_per_image(x, mean, components):
    held = []
    while True:
        held.append(np.ones(50_000_000))
"""
EXIT = """
import sys


def largest_angle(first, second):
    sys.exit(0)
"""
HARD_EXIT = """
import os

os._exit(0)
"""
KILL = """
import os, signal

os.kill(os.getpid(), signal.SIGKILL)
"""
CRASH = """
import ctypes

ctypes.string_at(0)
"""
LOUD = """
print("tests pass " * 10)
while True:
    print("a" * 10_000)
"""
WARNS = """
import sys


def error_per_image(x, mean, components):
    np.log(np.zeros(1))
    print("a warning", file=sys.stderr)
    centred = x - mean
    return np.sum((centred - centred @ components.T @ components) ** 2, axis=1)
"""


def attack(outside):
    """Returns a cell that tries what it must not, and prints what succeeded."""
    return f"""
import os, pathlib, shutil, socket, subprocess, urllib.request
import tensorflow as tf

outside = pathlib.Path({str(outside)!r})
attempts = {{
    "write": lambda: (outside / "new.txt").write_text("x"),
    "change": lambda: (outside / "precious.txt").write_text("x"),
    "append": lambda: open(outside / "precious.txt", "a").write("x"),
    "remove": lambda: (outside / "precious.txt").unlink(),
    "rename": lambda: (outside / "precious.txt").rename(outside / "other.txt"),
    "move here": lambda: os.replace(outside / "precious.txt", "mine.txt"),
    "link": lambda: os.symlink(outside / "precious.txt", outside / "link"),
    "folder": lambda: (outside / "folder").mkdir(),
    "tree": lambda: shutil.rmtree(outside),
    "tensorflow": lambda: tf.io.write_file(str(outside / "tensorflow.txt"), "x"),
    "process": lambda: subprocess.run(["touch", str(outside / "process.txt")], check=True),
    "shell": lambda: os.system("touch " + str(outside / "shell.txt")) and 1 / 0,
    "network": lambda: socket.create_connection(("127.0.0.1", 80), timeout=2),
    "name": lambda: urllib.request.urlopen("http://localhost/", timeout=2),
    "parent": lambda: os.kill(os.getppid(), 9),
}}
for name, attempt in attempts.items():
    try:
        attempt()
    except BaseException as error:
        print(name, "refused:", type(error).__name__)
    else:
        print(name, "SUCCEEDED")
pathlib.Path("own.txt").write_text("a file in the own folder is allowed")
print(sorted(os.environ), [value for value in os.environ.values() if {SECRET[:10]!r} in value])
"""


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory):
    """Grades all submissions that misbehave, once; returns what was graded."""
    out = tmp_path_factory.mktemp("misbehaving")
    outside = out / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("precious")
    good = right("linear")
    found = {"blank": release("linear")}
    found["stops"] = answered("linear", good | {"linear-1": "def pca(x, k:\n", "linear-2": HOG, "linear-3": EXIT})
    cell_of(found["stops"], "linear-4").source = HARD_EXIT + good["linear-4"]
    bad = {"linear-1": ENDLESS, "linear-2": CRASH, "linear-3": LOOP, "linear-4": LOUD}
    found["dies"] = answered("linear", good | bad)
    found["dies"].cells.insert(6, nbformat.v4.new_code_cell(KILL))

    changed = answered("linear", good | {"linear-2": WARNS})
    changed.cells.insert(4, nbformat.v4.new_code_cell(attack(outside)))
    changed.metadata.kernelspec = {"name": "conda-env-mine", "display_name": "mine", "language": "python"}
    tests = [cell for cell in changed.cells if grading(cell).get("locked") and grading(cell)["grade"]]
    for cell in tests:
        cell.source = "print('all tests pass')"
        cell.metadata.nbgrader["points"] = 1000
    changed.cells = [cell for cell in changed.cells if cell not in tests[3:6]]  # deleted
    place = changed.cells.index(cell_of(changed, "linear-5"))
    changed.cells.insert(6, changed.cells.pop(place))  # the last answer first
    twice = nbformat.from_dict(cell_of(changed, "linear-1"))
    twice.id = "twice"
    changed.cells.insert(changed.cells.index(cell_of(changed, "linear-1")), twice)
    found["Владимир 王小明 (A & B) d'Été"] = changed

    plain = answered("linear", good)  # what an editor leaves that drops what it does not know
    for cell in plain.cells:
        cell.metadata = {}
    plain.metadata = {}
    found["plain"] = plain
    tampering = answered("linear", {"linear-1": "from aelib import answers\n\nanswers.check = lambda *a, **k: None"})
    found["tampers"] = tampering
    found |= {"text.ipynb": b"Dear teacher, my dog ate it.", "empty.ipynb": b"", "thesis.pdf": b"%PDF-1.7 \xff\xfe"}
    found |= {"other.ipynb": nbformat.writes(nbformat.v4.new_notebook()).encode()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEACHERS_TOKEN", SECRET)
        results = graded(found, "linear", out, LIMITS)
    return results, out, outside, found


def scores(result):
    return [result.scores.get(f"linear-{task}", 0) for task in range(1, 7)]


def test_blank_has_no_points_and_nothing_to_read(misbehaving):
    result = misbehaving[0]["blank"]
    assert scores(result) == [0] * 6 and result.unread == 0 and result.graded


def test_what_stops_python_costs_the_task_only(misbehaving):
    results, out, *_ = misbehaving
    assert scores(results["stops"]) == [0, 0, 0, 0, 10, 0]
    assert scores(results["dies"]) == [0, 0, 0, 0, 10, 0], failures(out, "linear", "dies")
    messages = "\n".join(failures(out, "linear", "stops") + failures(out, "linear", "dies"))
    for part in (
        "SyntaxError",
        "MemoryError",
        "SystemExit",
        "was stopped after",
        "characters",
        "Python ended in this cell",
    ):
        assert part in messages, part
    assert any("was stopped after" in remark for remark in results["dies"].remarks)


def test_changed_tests_are_restored_and_the_rest_is_graded(misbehaving):
    result = misbehaving[0]["Владимир 王小明 (A & B) d'Été"]
    assert scores(result) == [20, 15, 15, 20, 10, 0]
    remarks = "; ".join(result.remarks)
    for part in ("was changed, and restored", "is missing", "another order", "2 times", "os.environ", "subprocess"):
        assert part in remarks, part


def test_nothing_outside_is_changed_and_nothing_of_the_teacher_seen(misbehaving):
    _, out, outside, _ = misbehaving
    assert [path.name for path in outside.iterdir()] == ["precious.txt"]
    assert (outside / "precious.txt").read_text() == "precious"
    [folder] = (out / "grades" / "linear" / "course" / "autograded").glob("*王小明*")
    notebook = nbformat.read(folder / "linear" / "linear.ipynb", as_version=4)
    [attacked] = [cell for cell in notebook.cells if "attempts" in cell.source]
    text = "".join(output.get("text", "") for output in attacked.outputs)
    assert "SUCCEEDED" not in text and text.count("refused:") == 15
    for page in (out / "grades" / "linear" / "feedback").iterdir():
        assert SECRET not in page.read_text() and "TEACHERS_TOKEN" not in page.read_text()


def test_metadata_that_was_lost_is_found_again(misbehaving):
    assert scores(misbehaving[0]["plain"]) == [20, 15, 15, 20, 10, 0]


def test_whoever_replaces_a_check_is_shown_to_a_human(misbehaving):
    assert any("answers.check = ..." in remark for remark in misbehaving[0]["tampers"].remarks)


def test_teacher_is_told_of_a_reference_that_failed(tmp_path):
    code = right("contract")
    code["contract-1"] = f"import sys\n\nsys.modules['scipy'] = None\n\n{code['contract-1']}"
    result = graded({"one": answered("contract", code)}, "contract", tmp_path)["one"]
    assert result.scores == {"contract-1": 7, "contract-2": 25, "contract-3": 15, "contract-4": 20, "contract-5": 0}
    assert "contract-1-reference failed (ModuleNotFoundError): the answer may be right" in result.remarks
    assert "contract-1-reference" in (tmp_path / "grades" / "contract" / "summary.html").read_text()


def test_what_is_no_notebook_is_named_and_loses_nobody(misbehaving):
    results, out, _, found = misbehaving
    assert len(results) == len(found)
    for name, why in {"text": "no notebook", "empty": "empty", "thesis": "no notebook", "other": "no cell"}.items():
        assert not any(results[name].scores.values())
        assert why in "; ".join(results[name].remarks)
    with (out / "grades" / "linear" / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["student"] for row in rows] == [result.student for result in results.values()]
    assert {row["student"]: row["total"] for row in rows}["plain"] == "80"
    assert len(list((out / "grades" / "linear" / "feedback").iterdir())) == len(found)
    summary = (out / "grades" / "linear" / "summary.html").read_text()
    assert "Dear teacher" not in summary and "thesis" in summary


def test_grading_again_executes_nothing_and_gives_the_same(misbehaving, capsys):
    results, out, _, _ = misbehaving
    again = graded({}, "linear", out, LIMITS)
    assert capsys.readouterr().out.count("as before") == len(results)
    assert again == results


def is_kernel(process):
    try:
        return any(part.endswith("grading_kernel.py") for part in process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return False


def begun_and_killed(found, assignment, out):
    """Kills `graded` when a kernel executes; returns the processes that are left."""
    grading = multiprocessing.get_context("spawn").Process(target=graded, args=(found, assignment, out))
    grading.start()
    end, started = time.monotonic() + 300, []
    while not any(map(is_kernel, started)):
        assert grading.is_alive() and time.monotonic() < end
        time.sleep(0.5)
        started = psutil.Process(grading.pid).children(recursive=True)
    grading.kill()
    grading.join()
    return psutil.wait_procs(started, timeout=20)[1]


def test_grading_anew_gives_the_same_points_and_keeps_those_of_a_human(tmp_path):
    found = {"one": answered("linear", right("linear"))}
    left = begun_and_killed(found, "linear", tmp_path)
    assert not left or sys.platform != "linux"
    assert not list(tmp_path.glob("grades/linear/results/*.json"))
    first = graded(found, "linear", tmp_path)
    kept = pathlib.Path(tmp_path, "grades", "linear", "results", "one.json")
    assert json.loads(kept.read_text())["graded"]
    kept.unlink()
    with Gradebook(f"sqlite:///{tmp_path}/grades/linear/course/gradebook.db") as gradebook:
        [notebook] = gradebook.find_submission("linear", "one").notebooks
        [written] = [grade for grade in notebook.grades if grade.name == "linear-6"]
        written.manual_score, written.needs_manual_grade = 17, False
        gradebook.db.commit()
    again = graded(found, "linear", tmp_path)["one"]
    assert scores(first["one"]) == [20, 15, 15, 20, 10, 0] and first["one"].unread == 20
    assert scores(again) == [20, 15, 15, 20, 10, 17] and again.unread == 0
