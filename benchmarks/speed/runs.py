"""Networks, data and probes of the trainings that are timed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torchvision
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed.bench import enlarged
from benchmarks.speed.photographs import photographs
from benchmarks.trainings import Classifier, quiet_trainer
from lightning_cam import Probe, compute_cams

CLASSES = 10
_DIFFERENT = 64  # photographs, before they repeat


def tiny() -> nn.Sequential:
    """Return six convolutions, whose names are 0, 2, 4, ..., and a linear layer."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n in range(6):
        stride = 2 if n % 2 else 1
        layers += [nn.Conv2d(8 if n else 3, 8, 3, stride=stride, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()


def classifier(model: str, learning_rate: float = 1e-3) -> Classifier:
    """Return a torchvision network of 10 classes with the same initial weights each time."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(model, weights=None, num_classes=CLASSES)
    return Classifier(net, learning_rate)


def loader(count: int, side: int, batch: int, seed: int = 0) -> DataLoader[Any]:
    """Return random images and labels, in memory."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, side, side, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(count) % CLASSES), batch)


def probe_for(net: nn.Module, count: int, side: int, *, seed: int = 1) -> Probe:
    """Return photographs with masks where the network's maps are high, so that no rule triggers."""
    few = photographs(min(count, _DIFFERENT), side, seed)
    images = few.repeat(-(-count // len(few)), 1, 1, 1)[:count]
    targets = torch.arange(count) % CLASSES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = enlarged(next(iter(compute_cams(net, images, targets).maps.values())), side)
    masks = maps > maps.flatten(1).median(dim=1).values[:, None, None]
    return Probe(images, targets, masks=masks)


def trainer(
    folder: str | Path, callbacks: Sequence[pl.Callback], device: str = "cpu", **options: Any
) -> pl.Trainer:
    """Return a trainer that logs to TensorBoard: see `quiet_trainer`."""
    logger = TensorBoardLogger(str(folder), name="run")
    return quiet_trainer(folder, callbacks, device, **{"logger": logger, **options})
