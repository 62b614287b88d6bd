"""Small images with a square whose colour is the class, with masks or without."""

from __future__ import annotations

import random
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIDE = 16
CLASSES = 4


class Squares(Dataset[Any]):
    """Dim noise with a square near the middle, whose colour is the label.

    Args:
        count: number of images.
        seed: of the noise.
        masks: whether a sample is (image, label, mask) or (image, label).
        augmented: draw from the global random streams at each access, and use OpenCV.
    """

    def __init__(self, count: int, seed: int, *, masks: bool, augmented: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        colours = torch.cat([torch.eye(3), torch.ones(1, 3)])
        self.targets = [n % CLASSES for n in range(count)]
        self.images = torch.rand(count, 3, SIDE, SIDE, generator=generator) * 0.4
        self.masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool) if masks else None
        self.augmented = augmented
        for n, label in enumerate(self.targets):
            y, x = 3 + n % 3, 3 + n // 3 % 3
            self.images[n, :, y : y + 7, x : x + 7] = colours[label][:, None, None]
            if self.masks is not None:
                self.masks[n, y : y + 7, x : x + 7] = True

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image = _augmented(self.images[index]) if self.augmented else self.images[index]
        if self.masks is None:
            return image, self.targets[index]
        return image, self.targets[index], self.masks[index]


def _augmented(image: Tensor) -> Tensor:
    noise = 0.01 * random.random() + 0.01 * np.random.rand()  # noqa: NPY002
    pixels = cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (3, 3), 0.3 + noise)
    return torch.from_numpy(pixels).permute(2, 0, 1) + 0.01 * torch.rand(())


class Data(pl.LightningDataModule):
    """Training data without masks, validation data with them.

    Args:
        validations: number of validation loaders.
        augmented: see `Squares`.
        loading: further arguments of the dataloaders.
    """

    def __init__(self, validations: int = 1, *, augmented: bool = False, **loading: Any) -> None:
        super().__init__()
        self._validations = validations
        self._augmented = augmented
        self._loading = loading

    def train_dataloader(self) -> DataLoader[Any]:
        data = Squares(14, 0, masks=False, augmented=self._augmented)
        return DataLoader(data, batch_size=2, shuffle=True, **self._loading)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [
            DataLoader(
                Squares(8, 1 + n, masks=True, augmented=self._augmented),
                batch_size=4,
                **self._loading,
            )
            for n in range(self._validations)
        ]
