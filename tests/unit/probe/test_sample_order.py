"""`sample_order`: the samples that a loader takes, by sampler and batch sampler."""

import pytest
import torch
from helpers.datasets import Listed
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from lightning_cam.probe.sample_order import sample_order

COUNT = 12


class Data(Listed):
    def __init__(self):
        super().__init__((0, 1) * (COUNT // 2))


class EveryThird(Sampler):
    def __iter__(self):
        return iter(range(0, COUNT, 3))

    def __len__(self):
        return COUNT // 3


class PairsOfEnds(Sampler):
    """A batch sampler of the user's own."""

    def __iter__(self):
        yield [0, COUNT - 1]
        yield [1, COUNT - 2]

    def __len__(self):
        return 2


ALL = set(range(COUNT))


@pytest.mark.parametrize(
    ("arguments", "expected", "name"),
    [
        ({}, ALL, "SequentialSampler"),
        ({"shuffle": True}, ALL, "RandomSampler"),
        ({"sampler": SubsetRandomSampler([2, 5, 7])}, {2, 5, 7}, "SubsetRandomSampler"),
        ({"sampler": EveryThird()}, {0, 3, 6, 9}, "EveryThird"),
        ({"sampler": [4, 1]}, {1, 4}, "list"),
        (
            {"sampler": WeightedRandomSampler([0.0, 1.0] + [0.0] * (COUNT - 2), 5)},
            {1},
            "WeightedRandomSampler",
        ),
        ({"sampler": DistributedSampler(range(COUNT), 3, 1)}, ALL, "SequentialSampler"),
        ({"batch_sampler": PairsOfEnds()}, {0, 11, 1, 10}, "PairsOfEnds"),
        (
            {"batch_sampler": BatchSampler(SequentialSampler([0] * 4), 2, drop_last=False)},
            {0, 1, 2, 3},
            "SequentialSampler",
        ),
    ],
)
def test_the_samples_of_the_loader_are_taken(arguments, expected, name):
    arguments = arguments if "batch_sampler" in arguments else {"batch_size": 4, **arguments}
    loader = DataLoader(Data(), **arguments)
    indices, found = sample_order(loader)
    assert set(indices) == expected
    assert len(indices) == len(set(indices))
    assert found == name


def test_a_wrapped_sampler_is_taken_whole():
    from lightning.fabric.utilities.distributed import DistributedSamplerWrapper

    sampler = DistributedSamplerWrapper(SubsetRandomSampler([2, 5, 7]), 2, 0)
    indices, name = sample_order(DataLoader(Data(), 4, sampler=sampler))
    assert set(indices) == {2, 5, 7}
    assert name == "SubsetRandomSampler"


def test_a_random_sampler_of_all_samples_is_not_drawn_from():
    generator = torch.Generator()
    sampler = RandomSampler(Data(), generator=generator)
    before = generator.get_state()
    sample_order(DataLoader(Data(), 4, sampler=sampler))
    assert torch.equal(generator.get_state(), before)


def test_indices_of_a_subset_count_within_it():
    assert sample_order(DataLoader(Subset(Data(), [3, 9]), 4))[0] == [0, 1]
