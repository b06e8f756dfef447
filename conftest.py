"""For the examples in docstrings."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace):
    doctest_namespace["np"] = np
