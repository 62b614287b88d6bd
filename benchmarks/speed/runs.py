"""Small Lightning trainings to watch: random images, a torchvision network, TensorBoard."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torchvision
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed.bench import enlarged
from benchmarks.speed.photographs import photographs
from lightning_cam import Probe, compute_cams

CLASSES = 10
_DIFFERENT = 64  # photographs, before they repeat


class Classifier(pl.LightningModule):
    """An ordinary classifier with a validation loop."""

    def __init__(self, net: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.net = net
        self.learning_rate = learning_rate

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Return the loss."""
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Log the loss."""
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain descent."""
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


def classifier(model: str, learning_rate: float = 1e-3) -> Classifier:
    """Return a torchvision network of 10 classes with the same fresh weights each time."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(model, weights=None, num_classes=CLASSES)
    return Classifier(net, learning_rate)


def loader(count: int, side: int, batch: int, seed: int = 0) -> DataLoader[Any]:
    """Return random images and labels, in memory."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, side, side, generator=draw)
    return DataLoader(TensorDataset(images, torch.arange(count) % CLASSES), batch)


def probe_for(net: nn.Module, count: int, side: int, *, seed: int = 1) -> Probe:
    """Return photographs with masks where the fresh network looks: then no rule is suspicious."""
    few = photographs(min(count, _DIFFERENT), side, seed)
    images = few.repeat(-(-count // len(few)), 1, 1, 1)[:count]
    targets = torch.arange(count) % CLASSES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = enlarged(next(iter(compute_cams(net, images, targets).maps.values())), side)
    masks = maps > maps.flatten(1).median(dim=1).values[:, None, None]
    return Probe(images, targets, masks=masks)


def trainer(
    folder: str | Path, callbacks: Sequence[pl.Callback], device: str = "cpu", **more: Any
) -> pl.Trainer:
    """Return a trainer that logs to TensorBoard and prints nothing."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    known: dict[str, Any] = {
        "accelerator": "gpu" if device == "cuda" else "cpu",
        "devices": 1,
        "logger": TensorBoardLogger(str(folder), name="run"),
        "callbacks": list(callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 50,
    }
    return pl.Trainer(**{**known, **more})
