"""`find_normalization` in transforms, nested in each other and in wrappers of datasets."""

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from torchvision import datasets, transforms
from torchvision.transforms import v2

from lightning_cam.probe.normalization import find_normalization

MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


class WithTransform(Dataset):
    def __init__(self, transform, name="transform"):
        setattr(self, name, transform)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.zeros(3, 4, 4), 0


def fake_data(**transform):
    return datasets.FakeData(size=2, image_size=(3, 4, 4), **transform)


V1, V2 = transforms.Normalize(MEAN, STD), v2.Normalize(MEAN, STD)


@pytest.mark.parametrize(
    "dataset",
    [
        WithTransform(V1),
        WithTransform(V2),
        WithTransform(transforms.Compose([transforms.ToTensor(), V1])),
        WithTransform(v2.Compose([v2.ToImage(), V2, v2.RandomHorizontalFlip()])),
        WithTransform(transforms.Compose([transforms.Compose([transforms.Compose([V1])])])),
        WithTransform(v2.Compose([v2.Compose([v2.Compose([V2])])])),
        WithTransform(torch.nn.Sequential(v2.RandomHorizontalFlip(), V2)),
        WithTransform([transforms.ToTensor(), V1]),
        WithTransform(V1, name="transforms"),
        WithTransform(v2.Normalize(np.array(MEAN), np.array(STD))),
        WithTransform(v2.Normalize(tuple(MEAN), tuple(STD))),
        fake_data(transform=V1),
        fake_data(transform=v2.Compose([v2.ToImage(), V2])),
        Subset(fake_data(transform=V2), [0]),
        Subset(Subset(WithTransform(V1), [0, 1]), [0]),
        ConcatDataset([WithTransform(V1), WithTransform(V1)]),
        Subset(
            ConcatDataset([Subset(WithTransform(v2.Compose([V2])), [0]), WithTransform(V2)]), [0]
        ),
        random_split(WithTransform(V1), [2, 2])[0],
    ],
    ids=range(18),
)
def test_normalisation_is_found_in_nested_transforms_and_datasets(dataset):
    mean, std = find_normalization(dataset)
    assert mean == pytest.approx(MEAN)
    assert std == pytest.approx(STD)


def test_the_last_normalisation_counts():
    twice = transforms.Compose([transforms.Normalize([0.0], [1.0]), V1])
    assert find_normalization(WithTransform(twice)) == (MEAN, STD)


@pytest.mark.parametrize(
    "dataset",
    [
        WithTransform(None),
        WithTransform(transforms.ToTensor()),
        WithTransform(lambda image: image),
        TensorDataset(torch.zeros(2, 3, 4, 4)),
        torch.zeros(2, 3, 4, 4),
        [1, 2, 3],
        None,
        object(),
    ],
    ids=range(8),
)
def test_without_normalisation_none_is_returned(dataset):
    assert find_normalization(dataset) is None


def test_a_dataset_that_holds_itself_is_searched_once():
    dataset = WithTransform(V1)
    dataset.dataset = dataset
    assert find_normalization(dataset) == (MEAN, STD)
