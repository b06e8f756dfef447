"""For the examples in docstrings, and for the kernels that execute the lessons."""

import os

# Before NumPy and TensorFlow start their threads: processes side by side share the cores instead of each starting a
# thread for every core. The lessons' kernels inherit it.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(share))

import numpy as np
import pytest

# The lessons' kernels inherit it: a progress bar is an output that no two runs share.
os.environ["TQDM_DISABLE"] = "1"


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace):
    doctest_namespace["np"] = np
