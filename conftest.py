"""For the examples in docstrings, and for the kernels that execute the lessons."""

import os

import numpy as np
import pytest

# The lessons' kernels inherit it: a progress bar is an output that no two runs share.
os.environ["TQDM_DISABLE"] = "1"


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace):
    doctest_namespace["np"] = np
