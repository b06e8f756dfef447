"""make claims: what it notes of a lesson, what it stretches, what it writes."""

import json

import nbformat
import pytest

from tools import claims

CELL = nbformat.v4.new_code_cell
TEXT = nbformat.v4.new_markdown_cell


def lesson(*assertions, seed="keras.utils.set_random_seed(7)"):
    cells = [
        TEXT("# 01 A lesson"),
        TEXT("## Setup"),
        CELL("import aelib"),
        CELL(f"import keras\n\n{seed}\nprinted = []"),
        TEXT("## Claims\n\n1. The first."),
    ]
    for number, assertion in enumerate(assertions, 1):
        if number > 1:
            cells.append(TEXT(f"{number}. Another."))
        cells.append(CELL(assertion))
    cells += [TEXT("## Exercises"), CELL("assert 1 < 2, 'not a claim'")]
    return nbformat.v4.new_notebook(cells=cells)


def noted(notebook, seed=1):
    """Executes what `prepare` adds and rewrites, in this process, without the kernel."""
    names = {}
    code = [cell for cell in claims.prepare(notebook, seed, "sample", 3).cells if cell.cell_type == "code"]
    helper = code[1].source[code[1].source.index("_claims = []") :]
    exec(helper, names)
    for cell in code[3:-2]:
        exec(cell.source, names)
    return names["_claims"]


def test_value_bound_and_verdict_of_each_comparison_are_noted():
    found = noted(
        lesson("gain = 2.5\nassert gain > 1\nassert not gain - 2 > 1", "half = 0.5\nassert 0.4 < half <= 0.45, 'text'")
    )
    assert [(each["claim"], each["control"], each["value"], each["operator"], each["bound"]) for each in found] == [
        ("1", False, 2.5, ">", 1.0),
        ("1", True, 0.5, ">", 1.0),
        ("2", False, 0.5, ">", 0.4),
        ("2", False, 0.5, "<=", 0.45),
    ]
    assert [each["holds"] for each in found] == [True, False, True, False]  # and nothing is raised
    assert found[1]["text"] == "gain - 2 > 1"


def test_and_is_two_claims_and_what_is_no_comparison_is_noted_by_its_verdict():
    found = noted(lesson("a = 1\nassert a > 0 and a < 1", "assert all(each > 0 for each in (1, 2))"))
    assert [(each["text"], each["holds"]) for each in found[:2]] == [("a > 0", True), ("a < 1", False)]
    assert found[2]["holds"] and found[2]["value"] is None


def test_only_the_claims_are_rewritten():
    before = lesson("assert 2 > 1")
    text = json.dumps(before)
    after = claims.prepare(before, 12, "full", 4)
    assert json.dumps(before) == text
    code = [cell.source for cell in after.cells if cell.cell_type == "code"]
    assert code[2] == before.cells[3].source and "seed + 1000 * 12" in code[1]
    assert code[-2] == "assert 1 < 2, 'not a claim'"
    assert '_load_mnist("full"' in code[1] and "value * 4" in code[1]


def test_a_lesson_runs_in_a_kernel_with_its_training_and_its_schedules_stretched(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # outside pytest nobody sets it
    code = """import numpy as np
schedule = keras.optimizers.schedules.CosineDecay(1.0, decay_steps=10)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
history = model.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=2, verbose=0)
images = aelib.data.load_mnist().x_train
assert len(history.epoch) > 5
assert not float(schedule(10)) < 0.5
assert len(images) == 4000
keras.utils.set_random_seed(5)
drawn = np.random.uniform()
np.random.seed(2005)
difference = abs(drawn - np.random.uniform())
assert difference < 1e-12"""
    found = claims.run(claims.prepare(lesson(code), 2, "sample", 3))
    assert [each["value"] for each in found[:2]] == [6, pytest.approx(0.75)]
    assert [each["holds"] for each in found] == [True, False, True, True]


@pytest.fixture
def project(tmp_path, monkeypatch):
    notebook = lesson("gain = 2\nassert gain > 1")
    nbformat.write(notebook, tmp_path / "01_a.ipynb")
    page = tmp_path / "CONTRIBUTING.md"
    page.write_text(f"before\n{claims.START}old\n{claims.END}\nafter\n")
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(claims, "PAGE", page)
    monkeypatch.setattr(claims, "lessons", lambda number="": [tmp_path / "01_a.ipynb"])
    monkeypatch.setattr(claims, "load_mnist", lambda source: None)
    return tmp_path


def note(value, control=False):
    return {
        "claim": "1",
        "text": "gain > 1",
        "control": control,
        "value": value,
        "operator": ">",
        "bound": 1.0,
        "holds": value > 1,
    }


def test_runs_are_kept_and_run_again_only_when_the_code_changes(project, monkeypatch, capsys):
    runs = []

    def run(notebook):
        runs.append(notebook)
        return [note(2.0), note(0.5, control=True)]

    monkeypatch.setattr(claims, "run", run)
    for _ in range(2):  # the second time there is nothing to do
        with pytest.raises(SystemExit) as stop:
            claims.main(["lesson=", "seeds=1,2", "data=sample", "times="])
        assert stop.value.code is False and len(runs) == 2
    notebook = nbformat.read(project / "01_a.ipynb", 4)
    notebook.cells[3].source += "  # a comment"
    nbformat.write(notebook, project / "01_a.ipynb")
    with pytest.raises(SystemExit):
        claims.main(["seeds=1,2", "data=sample"])
    assert len(runs) == 2
    notebook.cells[3].source += "\nmore = 1"
    nbformat.write(notebook, project / "01_a.ipynb")
    with pytest.raises(SystemExit):
        claims.main(["seeds=3", "data=sample"])
    assert len(runs) == 3 and [each["seed"] for each in claims.read("01")] == [3]
    assert "01 sample seed 3 x1" in capsys.readouterr().out


def test_a_stored_run_is_judged_by_the_bound_that_the_lesson_has_now(project, monkeypatch, capsys):
    monkeypatch.setattr(claims, "run", lambda notebook: [note(2.0), note(0.5, control=True)])
    notebook = nbformat.read(project / "01_a.ipynb", 4)
    for bound in (1, -2.5, 3):  # the control, 0.5, is held to its own bound
        notebook.cells[-3].source = f"gain = 2\nassert gain > {bound}\nassert not gain > 1"
        nbformat.write(notebook, project / "01_a.ipynb")
        with pytest.raises(SystemExit) as stop:
            claims.main(["seeds=1", "data=sample"])
        assert stop.value.code is (bound == 3), bound
        monkeypatch.setattr(claims, "run", lambda notebook: pytest.fail("run again"))
        assert f"| `gain > {bound}` |" in claims.PAGE.read_text()
    assert "NOT: gain > 3" in capsys.readouterr().out


def test_a_claim_that_fails_or_a_control_that_passes_is_named_and_fails_the_command(project, monkeypatch, capsys):
    for notes in ([note(0.5)], [note(2.0), note(3.0, control=True)]):
        monkeypatch.setattr(claims, "run", lambda notebook, notes=notes: notes)
        monkeypatch.setattr(claims, "read", lambda number: [])
        with pytest.raises(SystemExit) as stop:
            claims.main(["seeds=1", "data=full"])
        assert stop.value.code is True
        assert "NOT: gain > 1" in capsys.readouterr().out


def test_runs_stay_when_only_an_exercise_changes():
    before, after, earlier = lesson("assert 2 > 1"), lesson("assert 2 > 1"), lesson("assert 2 > 1", seed="a = 1")
    after.cells[-1].source = "answer = ..."
    assert claims.code_hash(before) == claims.code_hash(after) != claims.code_hash(earlier)


def test_the_table_has_mean_deviation_bound_margin_control_and_longer_training(project):
    code = claims.code_hash(nbformat.read(project / "01_a.ipynb", 4))
    runs = [
        {"code": code, "data": data, "seed": seed, "times": times, "claims": [note(value), note(0.5, control=True)]}
        for data, seed, times, value in (
            ("full", 1, 1, 2.0),
            ("full", 2, 1, 4.0),
            ("sample", 1, 1, 7.0),
            ("full", 1, 4, 9.0),
        )
    ]
    claims.write("01", [*runs, {**runs[0], "code": "older", "claims": [note(-50.0)]}])
    claims.write_page()
    page = claims.PAGE.read_text()
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old\n" not in page
    cells = [cell.strip() for cell in page.splitlines()[4].strip("|").split("|")]
    # the gaps 1 and 3 have mean 2 and deviation sqrt 2
    assert cells == ["01.1", "`gain > 1`", "3 ± 1.4", "7", "1", "1.4", "4 of 4", "0.5", "4 of 4", "9"]


def test_an_unknown_option_is_refused():
    with pytest.raises(SystemExit, match="lessons is unknown; use LESSON, SEEDS, DATA and TIMES"):
        claims.main(["lessons=04"])
