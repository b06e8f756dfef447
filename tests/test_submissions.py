"""What was handed in is found, whatever a learning platform made of it, and repaired without losing an answer."""

import datetime
import json
import os
import shutil
import zipfile

import nbformat
import pytest

from tests.planted import ASSIGNMENTS, grading, source
from tools import submissions
from tools.links import ROOT


def release(assignment="linear"):
    return nbformat.read(ROOT / "assignments" / "release" / assignment / f"{assignment}.ipynb", as_version=4)


def text(notebook):
    return nbformat.writes(notebook).encode()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "handed in"


def write(folder, names, content=b"{}"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


# ---- finding


@pytest.mark.parametrize(
    "name, student",
    [
        ("Ada Lovelace.ipynb", "Ada Lovelace"),
        ("王小明.ipynb", "王小明"),
        ("ada/linear/linear.ipynb", "ada"),
        ("submitted/ada/linear/linear.ipynb", "ada"),
        ("Ada Lovelace_4711_assignsubmission_file_/linear.ipynb", "Ada Lovelace"),
        ("Ada Lovelace_4711_assignsubmission_file_linear.ipynb", "Ada Lovelace"),
        ("Course 1/Ada Lovelace_4711_assignsubmission_file/linear (1).ipynb", "Ada Lovelace"),
        ("lovelaceada_123_4567_linear.ipynb", "lovelaceada"),
        ("lovelaceada_LATE_123_4567_linear-1.ipynb", "lovelaceada"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_student_is_read_from_the_name(folder, name, student, zipped):
    write(folder, [name, "__MACOSX/._x.ipynb", ".DS_Store", "ada/.ipynb_checkpoints/linear-checkpoint.ipynb"])
    place = folder
    if zipped:
        place = shutil.make_archive(folder.parent / "export", "zip", folder)
    [found] = submissions.collect(place)
    assert (found.student, found.content) == (student, b"{}")
    assert found.when is not None


def test_newest_of_several_files_is_graded_and_the_other_named(folder):
    write(folder, ["ada/old.ipynb", "ada/new.ipynb", "ada/notes.txt"])
    os.utime(folder / "ada" / "old.ipynb", (1e9, 1e9))
    os.utime(folder / "ada" / "new.ipynb", (1.1e9, 1.1e9))
    [found] = submissions.collect(folder)
    assert found.path == "ada/new.ipynb"
    assert sum("second file" in remark for remark in found.remarks) == 2


def test_time_is_nbgraders_where_it_has_left_one(folder):
    write(folder, ["ada/linear/linear.ipynb"])
    write(folder, ["ada/linear/timestamp.txt"], b"2026-01-31 22:59:00.000000 UTC\n")
    [found] = submissions.collect(folder)
    assert found.when == datetime.datetime(2026, 1, 31, 22, 59, tzinfo=datetime.UTC)


def test_name_in_a_zip_without_its_flag_is_read_as_utf8(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("Zoe.ipynb")
        archive.writestr(entry, "{}")
    raw = path.read_bytes().replace(b"Zoe.ipynb", "Zoë".encode() + b".ipyn")
    path.write_bytes(raw)
    assert [one.student for one in submissions.collect(path)] == ["Zoë"]


@pytest.mark.parametrize("name", ["../../etc", "a/b", "[a-z]*?", ".hidden", "A & B {c} %d", "  "])
def test_id_is_a_plain_folder_name(name):
    found = submissions.Submission(name, "x", b"", None).id
    assert not set(found) & set("/\\[]*?{}.:") and found and found == found.strip()


def test_ids_of_different_names_differ():
    names = ["a.b", "a%2Eb", "a b", "a/b", "ab"]
    assert len({submissions.Submission(name, "x", b"", None).id for name in names}) == len(names)


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        submissions.collect(tmp_path / "file.txt")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"cells": []}',
        b'{"nbformat": 4, "nbformat_minor": 5}',
        b'{"nbformat": 9}',
    ],
)
def test_what_is_no_notebook_is_said_to_be_none(content):
    notebook, problem = submissions.read(content)
    assert notebook is None and "no notebook" in problem


def test_older_formats_are_read():
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [], "metadata": {}}]}
    assert submissions.read(json.dumps(old).encode())[1] == ""


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_assignment_is_recognized_by_its_cells(assignment):
    known = {name: release(name) for name in ASSIGNMENTS}
    assert submissions.assignment_of(release(assignment), known) == assignment
    assert submissions.assignment_of(nbformat.v4.new_notebook(), known) is None


# ---- repairing


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def test_release_version_needs_no_repair():
    repaired, remarks = submissions.repair(release(), release())
    assert remarks == [] and sources(repaired) == sources(release())


def test_changed_deleted_and_doubled_tests_come_back_behind_their_answers():
    notebook = release()
    tests = {grading(cell)["grade_id"]: cell for cell in notebook.cells if grading(cell).get("locked")}
    tests["linear-setup"].source = "import evil"
    tests["linear-1-hidden"].source = "pass"
    notebook.cells.remove(tests["linear-2-visible"])
    notebook.cells.append(nbformat.from_dict(tests["linear-2-hidden"]))
    repaired, remarks = submissions.repair(notebook, release())
    assert sources(repaired) == sources(release())
    for name in ("linear-setup", "linear-1-hidden"):
        assert any(f"{name} was changed" in remark for remark in remarks)
    assert "the cell linear-2-visible is missing" in remarks
    assert "the cell linear-2-hidden is there 2 times" in remarks


def test_answers_in_another_order_take_their_tests_along():
    notebook = release()
    place = {grading(cell).get("grade_id"): number for number, cell in enumerate(notebook.cells)}
    answer = notebook.cells.pop(place["linear-3"])
    answer.source = "largest_angle = 3"
    notebook.cells.insert(place["linear-1"], answer)
    repaired, remarks = submissions.repair(notebook, release())
    assert remarks == ["the answers stand in another order than in the assignment"]
    names = [grading(cell).get("grade_id") for cell in repaired.cells]
    assert names.index("linear-3") < names.index("linear-1") < names.index("linear-1-visible")
    tests = [name for name in names if name and name.endswith(("visible", "hidden"))]
    assert tests == [name for name in place if name and name.endswith(("visible", "hidden"))]


def test_last_of_two_copies_of_an_answer_counts():
    notebook = release()
    place = [grading(cell).get("grade_id") for cell in notebook.cells].index("linear-2")
    notebook.cells.insert(place, nbformat.from_dict(notebook.cells[place]))
    notebook.cells[place + 1].source = "last"
    repaired, remarks = submissions.repair(notebook, release())
    assert remarks == ["the cell linear-2 is there 2 times; the last counts"]
    assert [cell.source for cell in repaired.cells if grading(cell).get("grade_id") == "linear-2"] == ["last"]
    assert len(repaired.cells) == len(notebook.cells)


def test_own_cells_of_a_student_stay_where_they_are():
    notebook = release()
    place = [grading(cell).get("grade_id") for cell in notebook.cells].index("linear-2")
    notebook.cells.insert(place, nbformat.v4.new_code_cell("helper = 1"))
    repaired, _ = submissions.repair(notebook, release())
    assert sources(repaired)[place] == "helper = 1" and len(repaired.cells) == len(notebook.cells)


def test_missing_answers_are_no_answers():
    notebook = release()
    notebook.cells = [cell for cell in notebook.cells if not grading(cell).get("solution")]
    repaired, remarks = submissions.repair(notebook, release())
    assert sum("is missing" in remark for remark in remarks) == 6
    graded = [cell for cell in repaired.cells if grading(cell).get("grade")]
    assert sum(grading(cell)["points"] for cell in graded) == 100


@pytest.mark.parametrize("place", ["id", "metadata"])
def test_cells_are_known_without_nbgraders_metadata(place):
    notebook = release()
    for cell in notebook.cells:
        cell.metadata = {"id": cell.id} if place == "metadata" else {}
        if place == "metadata":
            cell.id = f"x{cell.id}"[:60]
    repaired, remarks = submissions.repair(notebook, release())
    assert remarks == [] and sources(repaired) == sources(release())
    assert sum(grading(cell).get("points", 0) for cell in repaired.cells) == 100


@pytest.mark.parametrize(
    "code, what",
    [
        ("answers.check = lambda *a, **k: None", "answers.check = ..."),
        ("np.linalg.svd = None", "np.linalg.svd = ..."),
        ("get_ipython().ast_transformers.append(x)", "ast_transformers"),
        ("import sys\nsys.modules['x'] = 1", "sys.modules"),
        ("%matplotlib inline\ntf.constant = 1", "tf.constant = ..."),
        ("def broken(:\n    os._exit(0)", "os._exit"),
    ],
)
def test_code_that_could_interfere_is_shown(code, what):
    notebook = release()
    notebook.cells.append(nbformat.v4.new_code_cell(code))
    assert any(what in found for found in submissions.suspicions(notebook, release()))


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_ordinary_answers_are_not_suspected(assignment):
    assert submissions.suspicions(source(assignment), release(assignment)) == []
