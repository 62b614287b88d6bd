"""The same random numbers and a single thread for every test."""

import gc
import random

import hypothesis
import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # small networks; two workers share two cores
hypothesis.settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=40, database=None
)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """Put the files directly in `tests/unit` first, which start many processes.

    Two workers take files in order: a long one that comes last is waited for by the other.
    """
    items.sort(key=lambda item: item.path.parent.name != "unit")


def pytest_collection_finish():
    """Leave modules and tests out of every later garbage collection, to shorten it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - users' transforms draw from this stream
    torch.manual_seed(0)
