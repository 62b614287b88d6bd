"""`check_sources` and `sample_source`: what `CAMCallback(probe=...)` accepts."""

import pytest
import torch
from helpers.datasets import Listed
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import Probe
from lightning_cam.probe.sampling import sample_dataset, sample_loader
from lightning_cam.probe.sources import check_sources, sources_in

PROBE = Probe(torch.rand(2, 3, 4, 4))


def test_validation_data_is_the_default():
    assert check_sources(None) == {"val": "val"}


@pytest.mark.parametrize(
    "source", [PROBE, "train", "val", Listed(), [1, 2], iter([1]), DataLoader(Listed())]
)
def test_a_single_source_is_accepted(source):
    assert check_sources(source) == {"val": source}


def test_several_sources_keep_their_names_and_order():
    sources = {"train": "train", "far": PROBE}
    assert list(check_sources(sources).items()) == list(sources.items())


@pytest.mark.parametrize(
    ("probe", "error", "match"),
    [
        ({}, ValueError, "at least one probe, got an empty dict"),
        ("tests", ValueError, "expected probe 'train', 'val' or 'test', got 'tests'"),
        ({"a": "valid"}, ValueError, "got 'valid'"),
        (
            torch.rand(2, 3, 4, 4),
            TypeError,
            r"got a Tensor. Wrap tensors: Probe\(images, targets\)",
        ),
        ({"a": 3}, TypeError, "expected probe 'a' as a Probe, .* got a int"),
    ],
)
def test_other_values_are_rejected(probe, error, match):
    with pytest.raises(error, match=match):
        check_sources(probe)


def test_datasets_and_loaders_are_sampled_alike():
    of_data = Probe(**sample_dataset(Listed(), 6, 3).values)
    of_loader = Probe(**sample_loader(DataLoader(Listed(), batch_size=2), 6, 3).values)
    assert len(of_data) == 6
    assert of_data.fingerprint == of_loader.fingerprint
    assert of_data.ids != Probe(**sample_dataset(Listed(), 6, 4).values).ids


def test_a_smaller_dataset_gives_a_smaller_probe():
    data = TensorDataset(torch.rand(3, 3, 4, 4))
    assert len(sample_dataset(data, 32, 0).values["images"]) == 3


@pytest.mark.parametrize(
    ("sources", "in_fit", "in_test"),
    [
        ({"val": "val"}, ["val"], ["test"]),
        ({"train": "train", "val": "val"}, ["train", "val"], ["test"]),
        ({"val": "val", "held": "test"}, ["val"], ["held"]),
        ({"val": "test"}, ["val"], ["val"]),
        ({"own": [1], "val": "val"}, ["own", "val"], ["own"]),
    ],
)
def test_what_is_evaluated_in_a_fit_and_in_a_test(sources, in_fit, in_test):
    assert list(sources_in("fit", sources)) == in_fit
    assert list(sources_in("test", sources)) == in_test
