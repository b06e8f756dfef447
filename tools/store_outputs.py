"""Executes lessons on the full MNIST set and stores their outputs: python -m tools.store_outputs [NUMBER]"""

import sys
import time

import nbformat

from aelib.data import load_mnist
from tools.execute import execute, lessons
from tools.lesson_form import CELL_METADATA, METADATA


def normalise(notebook):
    """Removes what differs between machines and editors: timestamps, versions, editor settings."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in CELL_METADATA if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)


def main():
    try:
        paths = lessons(*sys.argv[1:])
        load_mnist(source="full")
    except (FileNotFoundError, OSError) as error:
        sys.exit(f"make store: {error}\nNothing was changed.")
    failed = False
    for path in paths:
        start = time.monotonic()
        notebook, traceback = execute(nbformat.read(path, as_version=4))
        if traceback:
            failed = True
            print(f"{path.name} fails, nothing stored:\n{traceback}")
        else:
            normalise(notebook)
            nbformat.write(notebook, path)
            print(f"{path.name} stored, {time.monotonic() - start:.0f} s, {path.stat().st_size // 1000} kB")
    sys.exit(failed)


if __name__ == "__main__":
    main()
