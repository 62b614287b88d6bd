"""What the comparison of whole trainings rests on: recomputed parts, streams of a dataset's own."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils import checkpoint as torch_checkpoint
from torch.utils.data import Subset

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.interference.data import Squares
from benchmarks.interference.nets import Checkpointed
from lightning_cam import compute_cams
from lightning_cam.probe.generators import preserve_generators

METHODS = ("gradcam", "layercam", "fullgrad", "smoothgrad", "guided_backprop")


@pytest.mark.parametrize("layers", ["auto", ["first", "second.0"]], ids=["auto", "two"])
@pytest.mark.parametrize("parts", [("classify",), ("first", "second", "classify")], ids=len)
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "plain"])
def test_recomputed_parts_give_the_same_maps(reentrant, parts, layers):
    images, labels = torch.rand(3, 3, 16, 16), torch.tensor([0, 1, 2])
    plain, recomputed = Checkpointed((), reentrant=False), Checkpointed(parts, reentrant=reentrant)
    found, wanted = (
        compute_cams(net, images, labels, method=METHODS, layers=layers).maps
        for net in (recomputed, plain)
    )
    assert list(found) == list(wanted)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert all(parameter.grad is None for parameter in recomputed.parameters())


def test_checkpoints_work_again_after_an_error():
    before = dict(vars(torch_checkpoint))

    def fails(_):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        compute_cams(Checkpointed((), reentrant=True), torch.rand(1, 3, 16, 16), fails)
    assert all(vars(torch_checkpoint)[name] is value for name, value in before.items())


class Jitter:
    """A transform with streams of its own."""

    def __init__(self):
        self.parts = [random.Random(0), {"numpy": np.random.default_rng(0)}]
        self.old, self.torch = np.random.RandomState(0), torch.Generator().manual_seed(0)

    def __call__(self):
        drawn = [self.parts[0].random(), self.parts[1]["numpy"].random(), self.old.rand()]
        return [*drawn, torch.rand((), generator=self.torch).item()]


def test_a_datasets_own_streams_are_put_back_also_after_an_error():
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
