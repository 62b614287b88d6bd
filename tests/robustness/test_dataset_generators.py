"""Random streams that a dataset owns are restored after its samples were read."""

import random

import numpy as np
import pytest
import torch
from robustness.non_interference.data import Squares
from torch.utils.data import Subset

from lightning_cam.runtime.generators import preserve_generators


class Jitter:
    """A transform with random streams of its own."""

    def __init__(self):
        self.parts = [random.Random(0), {"numpy": np.random.default_rng(0)}]
        self.old, self.torch = np.random.RandomState(0), torch.Generator().manual_seed(0)

    def __call__(self):
        drawn = [self.parts[0].random(), self.parts[1]["numpy"].random(), self.old.rand()]
        return [*drawn, torch.rand((), generator=self.torch).item()]


def test_streams_of_a_dataset_are_restored_also_after_an_error():
    data, other = Squares(4, 0, masks=False), Jitter()
    data.transform = Jitter()
    expected = [other() for _ in range(3)]
    assert data.transform() == expected[0]

    def read():
        with preserve_generators(Subset(data, [0, 1])):
            assert data.transform() == expected[1]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        read()
    assert [data.transform(), data.transform()] == expected[1:]
