"""Datasets whose images hold their own index, so that tests know which were sampled."""

import random

import numpy as np
import torch
from torch.utils.data import Dataset

H, W = 6, 8


def numbered_image(index):
    """Return a (3, H, W) image, all of whose values are `index`."""
    return torch.full((3, H, W), float(index))


def indices_in(probe):
    """Return the indices of a probe's images, made by `numbered_image`."""
    return probe.images[:, 0, 0, 0].int().tolist()


class Listed(Dataset):
    """Lists its labels: 18 of class 0, 6 of class 1, 2 of class 2; records what was loaded."""

    def __init__(self, labels=(0,) * 18 + (1,) * 6 + (2,) * 2, transform=None):
        self.targets = list(labels)
        self.transform = transform
        self.loaded = []

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        self.loaded.append(index)
        image = numbered_image(index)
        return (self.transform(image) if self.transform else image), self.targets[index]


def streams():
    """Return the states of the global random streams of Python, NumPy and torch."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
