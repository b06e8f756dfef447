"""Makes the release versions of the assignments from their sources: python -m tools.assignments [--check]

nbgrader takes out the solutions and the hidden tests. With --check nothing is written, and release versions that are
not what the sources give are named.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import nbformat

from tools.links import ROOT

FOLDER = ROOT / "assignments"
# `python -m nbgrader`, which Linux ends when the process that called it is killed (PR_SET_PDEATHSIG, SIGTERM).
PROGRAM = """
import sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
from nbgrader.apps.nbgraderapp import main
main()
"""


def names():
    """Returns the names of all assignments, in the order in which the course reaches them."""
    order = ("linear", "denoise", "contract", "generate", "detect")
    return sorted((path.name for path in (FOLDER / "source").iterdir() if path.is_dir()), key=order.index)


def nbgrader(course, *arguments, environment=None, timeout=600):
    """Runs a command of nbgrader in the folder of a course; returns (whether it succeeded, what it said)."""
    environment = dict(os.environ if environment is None else environment)
    # nbgrader starts alembic by its name, and the settings of a course import from this repository
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", os.defpath)])
    environment["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
        cwd=course,
        env=environment,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        return False, f"{said}\nstopped after {timeout} seconds"
    return process.returncode == 0, said


def make_course(course, assignment):
    """Makes a folder in which nbgrader can work, with the release version of one assignment; returns that's path."""
    (course / "source" / assignment).mkdir(parents=True, exist_ok=True)
    shutil.copy(FOLDER / "nbgrader_config.py", course)
    shutil.copy(FOLDER / "source" / assignment / f"{assignment}.ipynb", course / "source" / assignment)
    succeeded, said = nbgrader(course, "generate_assignment", assignment, "--create", "--force")
    if not succeeded:
        raise RuntimeError(f"nbgrader cannot make the release version of {assignment}:\n{said}")
    return course / "release" / assignment / f"{assignment}.ipynb"


def release(assignment):
    """Returns the text of an assignment's release version, made anew."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = nbformat.read(make_course(pathlib.Path(folder), assignment), as_version=4)
    original = nbformat.read(FOLDER / "source" / assignment / f"{assignment}.ipynb", as_version=4)
    notebook.metadata = original.metadata
    return nbformat.writes(notebook) + "\n"


def main():
    check, stale = sys.argv[1:] == ["--check"], []
    if sys.argv[1:] and not check:
        sys.exit("Usage: python -m tools.assignments [--check]")
    for name in names():
        path = FOLDER / "release" / name / f"{name}.ipynb"
        text = release(name)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            print(f"{name}: the release version is what the source gives")
            continue
        stale.append(name)
        if check:
            print(f"{name}: the release version is stale: make assignments")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{name}: the release version was stale; written {path.relative_to(ROOT)}")
    sys.exit(check and bool(stale))


if __name__ == "__main__":
    main()
