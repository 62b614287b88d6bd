"""`preserve_generators`: random generators that datasets and transforms hold are restored."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from lightning_cam import Probe
from lightning_cam.runtime.generators import is_generator_type, preserve_generators


class Augment:
    """A transform that draws from generators of its own."""

    def __init__(self):
        self.python = random.Random(1)
        self.numpy = np.random.default_rng(2)
        self.legacy = np.random.RandomState(3)
        self.torch = torch.Generator().manual_seed(4)

    def draw(self):
        return (
            self.python.random(),
            self.numpy.random(),
            self.legacy.rand(),
            torch.rand((), generator=self.torch).item(),
        )

    def __call__(self, image):
        return image + sum(self.draw())


class Data:
    def __init__(self, **held):
        self.__dict__.update(held)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        image = torch.zeros(3, 4, 4)
        return self.transform(image) if hasattr(self, "transform") else image


@pytest.mark.parametrize(
    "wrap",
    [
        lambda augment: augment,
        lambda augment: Data(transform=augment),
        lambda augment: Data(transforms=[lambda x: x, augment]),
        lambda augment: Data(steps={"train": (augment,)}),
        lambda augment: Subset(Data(transform=augment), [0, 1]),
    ],
    ids=["itself", "attribute", "list", "dict", "subset"],
)
def test_generators_are_restored_wherever_they_are_held(wrap):
    augment = Augment()
    expected = Augment().draw()
    with preserve_generators(wrap(augment)):
        assert augment.draw() == expected
        assert augment.draw() != expected
    assert augment.draw() == expected


def test_generators_are_restored_after_an_error():
    augment = Augment()

    def draw_and_fail():
        augment.draw()
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"), preserve_generators(Data(transform=augment)):
        draw_and_fail()
    assert augment.draw() == Augment().draw()


def test_a_mapping_that_refuses_to_be_read_hides_no_other_generator():
    class Pool(dict):
        def values(self):
            raise NotImplementedError("iteration is not safe here")

    augment = Augment()
    with preserve_generators(Data(pool=Pool(a=1), transform=augment)):
        augment.draw()
    assert augment.draw() == Augment().draw()


def test_a_dataset_that_holds_itself_is_searched_once():
    data = Data(transform=Augment())
    data.itself = data
    with preserve_generators(data):
        data.transform.draw()
    assert data.transform.draw() == Augment().draw()


def test_sampling_a_probe_does_not_advance_the_generators_of_a_transform():
    augment = Augment()
    Probe.from_dataset(Data(transform=augment), 2)
    assert augment.draw() == Augment().draw()


def test_the_systems_randomness_has_no_state_and_is_left_alone():
    held = Data(augment=Augment(), system=random.SystemRandom())
    before = Augment().draw()
    with preserve_generators(held):
        held.augment.draw()
    assert held.augment.draw() == before
    assert not is_generator_type(type(held.system))
