"""Grades the notebooks in a folder or zip: python -m tools.grade FOLDER [due=2026-01-31T23:59]

nbgrader grades each submission in a process of its own; the kernel (tools/grading_kernel.py) has a folder of its own.
What was graded before and has not changed is not executed again, so an interrupted run goes on where it stopped.
Everything is in build/grades/ASSIGNMENT/: grades.csv, summary.html, feedback/, and the course's folder for nbgrader,
with its gradebook.
"""

import collections
import concurrent.futures
import csv
import dataclasses
import datetime
import hashlib
import html
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
import urllib.parse

import nbformat
from nbgrader.api import Gradebook, MissingEntry

from tools import submissions
from tools.assignments import FOLDER, make_course, names, nbgrader
from tools.links import ROOT

OUT = ROOT / "build" / "grades"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    cell_seconds: int = 60
    total_seconds: int = 300
    memory: int = 4 * 2**30  # bytes
    output: int = 200_000  # characters a cell


@dataclasses.dataclass
class Result:
    """What is known of one submission."""

    student: str
    id: str
    path: str
    when: str | None
    remarks: list
    graded: bool = False
    scores: dict = dataclasses.field(default_factory=dict)  # points, by task
    unread: float = 0.0  # points for which a human has to read something


# ---- one submission


def environment(folder, limits):
    """Returns the environment for nbgrader and the kernel: nothing of the teacher's, and only `folder` to write in."""
    kernels = folder / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    command = [sys.executable, str(ROOT / "tools" / "grading_kernel.py"), "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    own = {
        name: str(folder / name.lower())
        for name in ("HOME", "TMPDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    own |= {name: str(folder / name.lower()) for name in ("KERAS_HOME", "MPLCONFIGDIR")}
    for path in own.values():
        pathlib.Path(path).mkdir()
    return own | {
        "JUPYTER_PATH": str(folder / "jupyter"),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JOBLIB_MULTIPROCESSING": "0",  # other processes are refused, and it would say so in every notebook
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TQDM_DISABLE": "1",
        # several submissions share the cores; and one thread adds in the same order every time
        **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"),
        "GRADING_FOLDER": str(folder),
        "GRADING_MEMORY": str(limits.memory),
        "GRADING_SECONDS": str(4 * limits.total_seconds),
        "GRADING_OUTPUT": str(limits.output),
    }


def autograde(course, assignment, submission, release, limits):
    """Has nbgrader grade one submission; returns the remarks for the teacher."""
    notebook, problem = submissions.read(submission.content)
    if not problem and submissions.assignment_of(notebook, {assignment: release}) is None:
        problem = "the notebook has no cell of any assignment"
    if problem:
        return [problem], False
    repaired, remarks = submissions.repair(notebook, release)
    remarks += submissions.suspicions(notebook, release)
    folder = course / "submitted" / submission.id / assignment
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(repaired, folder / f"{assignment}.ipynb")
    if submission.when:
        when = submission.when.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
        (folder / "timestamp.txt").write_text(when, encoding="utf-8")
    arguments = ("autograde", assignment, f"--student={submission.id}", "--force")
    arguments += (
        f"--LimitedExecute.timeout={limits.cell_seconds}",
        f"--LimitedExecute.total_seconds={limits.total_seconds}",
    )
    for _ in range(2):  # a second time if two submissions met in the gradebook
        with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as own:
            env = environment(pathlib.Path(own).resolve(), limits)
            succeeded, said = nbgrader(course, *arguments, environment=env, timeout=3 * limits.total_seconds + 60)
        if succeeded or "database is locked" not in said:
            break
    log = course / "logs" / f"{submission.id}.txt"
    log.parent.mkdir(exist_ok=True)
    log.write_text(said, encoding="utf-8")
    if not succeeded:
        last = [line for line in said.splitlines() if line.strip()][-1:]
        return [*remarks, f"grading failed: {' '.join(last)[:300]}"], False
    graded = nbformat.read(course / "autograded" / submission.id / assignment / f"{assignment}.ipynb", as_version=4)
    errors = [
        (cell.metadata.get("nbgrader", {}), output)
        for cell in graded.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    ]
    stopped = [output.evalue for _, output in errors if output.ename == "Stopped"]
    # A reference gives no points. The hidden test behind it fails with it, whatever the answer is.
    remarks += [
        f"{meta['grade_id']} failed ({output.ename}): the answer may be right"
        for meta, output in errors
        if meta.get("points") == 0 and output.ename != "Stopped"
    ]
    remarks += [
        f"{reason} ({times} times)" if times > 1 else reason for reason, times in collections.Counter(stopped).items()
    ]
    return remarks, True


def points(gradebook, assignment, student):
    """Returns (points by task, points that a human still has to give) from nbgrader's gradebook."""
    [notebook] = gradebook.find_submission(assignment, student).notebooks
    scores, unread = {}, 0.0
    for grade in sorted(notebook.grades, key=lambda grade: grade.name):
        task = "-".join(grade.name.split("-")[:2])
        scores[task] = scores.get(task, 0.0) + grade.score
        if grade.needs_manual_grade and grade.manual_score is None:
            unread += grade.max_score
    return scores, unread


def maxima(assignment):
    """Returns the points that can be had, by task."""
    notebook = nbformat.read(FOLDER / "source" / assignment / f"{assignment}.ipynb", as_version=4)
    full = {}
    for cell in notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        if meta.get("grade"):
            task = "-".join(meta["grade_id"].split("-")[:2])
            full[task] = full.get(task, 0) + meta["points"]
    return full


# ---- all submissions


def grade(found, assignment, out=OUT, limits=Limits(), due=None, processes=None):
    """Grades submissions of one assignment, writes everything that belongs to it, and returns the results."""
    out = out / assignment
    course, kept = out / "course", out / "results"
    kept.mkdir(parents=True, exist_ok=True)
    rules = hashlib.sha256()
    for path in (FOLDER / "source" / assignment / f"{assignment}.ipynb", FOLDER / "nbgrader_config.py"):
        rules.update(path.read_bytes())
    tools = sorted((ROOT / "tools").glob("grading_*.py"))
    for path in (ROOT / "aelib" / "answers.py", ROOT / "tools" / "submissions.py", *tools):
        rules.update(path.read_bytes())
    release = nbformat.read(make_course(course, assignment), as_version=4)

    def one(submission):
        key = hashlib.sha256(rules.digest() + repr(limits).encode() + submission.content).hexdigest()
        path = kept / f"{submission.id}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        begin = time.monotonic()
        if known.get("key") != key:
            try:
                remarks, graded = autograde(course, assignment, submission, release, limits)
            except Exception as error:  # whatever is wrong with one file, the others are graded
                remarks, graded = [f"grading failed: {type(error).__name__}: {error}"[:300]], False
            known = {"key": key, "remarks": remarks, "graded": graded}
            partial = path.with_suffix(".part")
            partial.write_text(json.dumps(known), encoding="utf-8")
            partial.replace(path)
            how = f"{time.monotonic() - begin:.0f} s"
        else:
            how = "as before"
        print(f"{submission.student}: {how}", flush=True)
        when = submission.when.isoformat(timespec="minutes") if submission.when else None
        remarks = submission.remarks + known["remarks"]
        return Result(submission.student, submission.id, submission.path, when, remarks, known["graded"])

    with concurrent.futures.ThreadPoolExecutor(processes or max(1, min(4, os.cpu_count() or 1))) as pool:
        results = list(pool.map(one, found))
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for result in results:
            if result.graded:
                try:
                    result.scores, result.unread = points(gradebook, assignment, result.id)
                except MissingEntry:
                    result.graded = False
                    result.remarks.append(
                        "the gradebook does not know the submission: delete build/grades and grade again"
                    )
    write_feedback(results, assignment, course, out / "feedback")
    full = maxima(assignment)
    write_csv(results, full, due, out / "grades.csv")
    write_summary(results, full, assignment, due, out / "summary.html")
    return results


def write_feedback(results, assignment, course, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    succeeded, said = nbgrader(course, "generate_feedback", assignment, "--force", timeout=3600)
    for result in results:
        page = course / "feedback" / result.id / assignment / f"{assignment}.html"
        if result.graded and page.exists():
            shutil.copy(page, folder / f"{result.id}.html")
        else:
            reasons = "".join(f"<li>{html.escape(remark)}</li>" for remark in result.remarks)
            body = f"<p>The file {html.escape(result.path)} could not be graded:</p><ul>{reasons}</ul>"
            _page(folder / f"{result.id}.html", result.student, body)
            if result.graded:
                result.remarks.append("nbgrader made no feedback page")
    if not succeeded:
        print(f"nbgrader could not make all feedback pages:\n{said[-2000:]}")


def is_late(result, due):
    """Returns "yes", "no", or "" where a date is missing."""
    if due is None or result.when is None:
        return ""
    return "yes" if datetime.datetime.fromisoformat(result.when) > due else "no"


def write_csv(results, full, due, path):
    """Writes a row a student. A spreadsheet must not take a name for a formula."""
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["student", "file", *full, "total", "of", "to be read", "handed in", "late", "for a human to look at"]
        )
        for result in results:
            scores = [f"{result.scores.get(task, 0.0):g}" for task in full]
            total = f"{sum(result.scores.values()):g}"
            cells = [
                result.student,
                result.path,
                *scores,
                total,
                sum(full.values()),
                f"{result.unread:g}",
                result.when or "",
            ]
            cells += [is_late(result, due), "; ".join(result.remarks)]
            writer.writerow(
                [f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@" and cell else cell for cell in cells]
            )


def write_summary(results, full, assignment, due, path):
    """Writes the teacher's page: each task's points, the submissions for a human, all submissions."""
    rows = []
    for task, most in full.items():
        scores = [result.scores.get(task, 0.0) for result in results]
        nothing, everything = sum(score == 0 for score in scores), sum(score >= most for score in scores)
        mean = statistics.mean(scores) if scores else 0.0
        bar = f'<span class="bar" style="width: {8 * mean / most:.2f}em"></span>'
        rows.append((task, most, f"{mean:.1f} {bar}", nothing, len(scores) - nothing - everything, everything))
    head = ("task", "points", "mean", "with none", "with some", "with all")
    look = [(_link(result), "<br>".join(map(html.escape, result.remarks))) for result in results if result.remarks]
    unread = sum(result.unread > 0 for result in results)
    everyone = [
        (
            _link(result),
            f"{sum(result.scores.values()):g}",
            f"{result.unread:g}",
            result.when or "",
            is_late(result, due),
        )
        for result in results
    ]
    body = (
        f"<p>{len(results)} submissions, {sum(result.graded for result in results)} graded. Points for written answers "
        "that nobody has read yet count as 0 until they are given.</p>"
        f"<h2>Tasks</h2>{_table(head, rows)}"
        f"<h2>For a human</h2><p>Written answers to read: {unread} submissions (assignments/README.md says how).</p>"
        f"{_table(('student', 'why'), look) if look else '<p>Nothing else.</p>'}"
        f"<h2>All submissions</h2>{_table(('student', 'points', 'to be read', 'handed in', 'late'), everyone)}"
    )
    _page(path, f"Assignment {assignment}", body)


def _link(result):
    return f'<a href="feedback/{urllib.parse.quote(result.id)}.html">{html.escape(result.student)}</a>'


def _table(head, rows):
    lines = ["".join(f"<th>{cell}</th>" for cell in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table>"


def _page(path, title, body):
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        "<style>body {font-family: sans-serif; margin: 3em} td, th {padding: 0.3em 1.5em 0.3em 0; text-align: left; "
        "vertical-align: top} .bar {display: inline-block; height: 0.7em; background: #4878a8}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}</body>\n</html>\n",
        encoding="utf-8",
    )


def releases():
    """Returns all release versions, by the assignment's name."""
    return {name: nbformat.read(FOLDER / "release" / name / f"{name}.ipynb", as_version=4) for name in names()}


def by_assignment(found, known):
    """Returns the submissions by assignment; a file that is none of them goes with the most frequent one."""
    groups, rest = {}, []
    for submission in found:
        notebook, _ = submissions.read(submission.content)
        name = submissions.assignment_of(notebook, known) if notebook else None
        if name:
            groups.setdefault(name, []).append(submission)
        else:
            rest.append(submission)
    if not groups:
        raise ValueError("none of the files is a notebook of one of the assignments")
    most = max(groups, key=lambda name: len(groups[name]))
    groups[most] = sorted(groups[most] + rest, key=lambda submission: submission.id)
    return groups


def main():
    options = [argument for argument in sys.argv[1:] if argument.startswith("due=")]
    paths = [argument for argument in sys.argv[1:] if argument not in options]
    try:
        if len(paths) != 1 or not paths[0]:
            raise ValueError("name one folder or zip file")
        text = options[0].removeprefix("due=") if options else ""
        due = datetime.datetime.fromisoformat(text).astimezone() if text else None
        groups = by_assignment(submissions.collect(paths[0]), releases())
    except ValueError as error:
        sys.exit(f"make grade SUBMISSIONS=folder DUE=2026-01-31T23:59 (if there is a date): {error}")
    print("Grading executes what students wrote, each submission in a process and a folder of its own.")
    for assignment, found in groups.items():
        grade(found, assignment, due=due)
        print(f"{assignment}: {len(found)} submissions. {OUT / assignment / 'summary.html'}")


if __name__ == "__main__":
    main()
