"""Executes lessons, for the other tools."""

import os
import pathlib
import re
import tempfile

import nbclient

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
CELL_TIMEOUT = 600  # seconds, as for nbval in the Makefile

# ipykernel leaves what C++ code writes to file descriptor 2 alone when it believes that it runs under pytest.
# Otherwise TensorFlow's log lines become outputs of the lesson. Nor are progress bars stored.
QUIET = {"PYTEST_CURRENT_TEST": "executing a lesson", "TQDM_DISABLE": "1"}


def lessons(number=""):
    """Returns the paths of all lessons in order, or of the one with this number."""
    found = sorted(NOTEBOOKS.glob(f"{number or '[0-9][0-9]'}_*.ipynb"))
    if not found:
        raise FileNotFoundError(f"There is no lesson {number!r} in notebooks/: use a number such as 01.")
    return found


def execute(notebook, timeout=CELL_TIMEOUT):
    """Executes a notebook in place; returns it and the traceback of the cell that failed ("" if none did).

    The kernel's working directory is a temporary folder, so that nothing a lesson writes stays behind.
    """
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute(env=os.environ | QUIET)
        except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError) as error:
            return notebook, re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return notebook, ""
