"""Small data, networks, trainers and readers of event files that several tests share."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lightning_cam import CAMCallback, Probe

SIDE = 16
QUIET = [
    # sixteen images in memory: loading in the main process is intended
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    # some tests keep a frozen part in evaluation mode on purpose
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode"),
]


class Squares(Dataset):
    """Dim noise with a bright square in one of four corners: the corner is the label."""

    def __init__(self, count=16, seed=0, side=SIDE, transform=None):
        draw = torch.Generator().manual_seed(seed)
        self.targets = [i % 4 for i in range(count)]
        self.images = torch.rand(count, 3, side, side, generator=draw) * 0.4
        self.masks = torch.zeros(count, side, side, dtype=torch.bool)
        half = side // 2
        for i, label in enumerate(self.targets):
            y, x = half * (label // 2), half * (label % 2)
            self.masks[i, y + 1 : y + half - 1, x + 1 : x + half - 1] = True
            self.images[i, label % 3][self.masks[i]] = 1.0
        self.transform = transform

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image = self.images[index]
        image = self.transform(image) if self.transform else image
        return image, self.targets[index], self.masks[index]


def squares_probe(count=4, seed=5, **known):
    data = Squares(count, seed)
    return Probe(data.images, data.targets, masks=data.masks, **known)


def loader(data=None, batch_size=4, **kwargs):
    return DataLoader(Squares() if data is None else data, batch_size, **kwargs)


def convnet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


class Steps:
    """Training part of a module of either Lightning; `trained` counts its training steps."""

    def __init__(self, net=None, learning_rate=0.05):
        super().__init__()
        torch.manual_seed(0)
        self.net = convnet() if net is None else net
        self.learning_rate = learning_rate
        self.trained = 0

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        self.trained += 1
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate, momentum=0.9)


class Validated(Steps):
    """The same with a validation step."""

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))


class Module(Validated, pl.LightningModule):
    """An image classifier with a validation loop."""


class ModuleWithoutValidation(Steps, pl.LightningModule):
    """An image classifier that only trains."""


class MetricsLog(pl.Callback):
    """Keeps `trainer.callback_metrics` of each validation."""

    def __init__(self):
        self.metrics = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.metrics.append({k: v.item() for k, v in trainer.callback_metrics.items()})

    def of(self, name):
        """Return one metric's values, None where it was not logged."""
        return [entry.get(name) for entry in self.metrics]


def make_trainer(folder, callbacks=(), trainer_class=pl.Trainer, **kwargs):
    settings = {
        "max_epochs": 1,
        "logger": False,
        "accelerator": "cpu",
        "devices": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 1,
        "default_root_dir": folder,
        "callbacks": list(callbacks),
    }
    return trainer_class(**{**settings, **kwargs})


def fit(folder, *callbacks, module=None, train=None, val=None, ckpt_path=None, **kwargs):
    """Train on sixteen squares and return the trainer."""
    module = Module() if module is None else module
    trainer = make_trainer(folder, callbacks, **kwargs)
    has_loop = isinstance(module, Validated)
    val = val if val is not None else (loader() if has_loop else None)
    trainer.fit(module, loader() if train is None else train, val, ckpt_path=ckpt_path)
    return trainer


def fit_with_tensorboard(folder, *callbacks, **kwargs):
    """Train with a TensorBoard logger; return the trainer and its event file."""
    trainer = fit(folder, *callbacks, logger=TensorBoardLogger(folder, name="tb"), **kwargs)
    return trainer, events_of(trainer)


def events_of(trainer):
    events = EventAccumulator(trainer.loggers[0].log_dir, size_guidance={"images": 0, "scalars": 0})
    return events.Reload()


def image_tags(events):
    return sorted(events.Tags()["images"])


def image_steps(events, tag):
    return [event.step for event in events.Images(tag)]


def scalar_steps(events, tag):
    return [event.step for event in events.Scalars(tag)]


def cam_scalars(events, start="cam/"):
    return sorted(tag for tag in events.Tags()["scalars"] if tag.startswith(start))


def decoded(data):
    """Decode an image file by OpenCV and return it as RGB."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None, "not an image file"
    return bgr[:, :, ::-1]


def png_files(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.png"))


def csv_rows(folder):
    (path,) = Path(folder).rglob("metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


def history_of(callback, probe="val"):
    """Return what a callback remembers of a probe's earlier evaluations."""
    return callback._monitor.probe_set.monitors[probe].history


def small(**kwargs):
    """Return a callback with a probe of four images, two of them drawn, and no rules."""
    settings = {"probe_size": 4, "num_pictures": 2, "interventions_every": 1, "alerts": ()}
    settings["panels"] = ("overlay", "timeline")
    return CAMCallback(**{**settings, **kwargs})
