"""Trainings on data of many shapes: pictures, a classifier that writes down what it was fed, a run.

The oracle is the module's own validation: what it was fed and what it said of that.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from functools import cached_property

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from helpers.training import decoded, events_of, make_trainer
from lightning_cam import CAMCallback

SIDE = 32
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
CLASSES = ("disc", "ring", "cross")


# --- data ----------------------------------------------------------------------------------------


def labels_of(count, classes=3):
    return [(7 * i) % classes for i in range(count)]


def picture(index, label, channels=3):
    """Return an image (C, 32, 32) in whole steps of 1/255 that no other index has."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    shades = [(x * (c + 2) + y * (3 - c % 3) + 5 * index) % 97 + 30 for c in range(channels)]
    image = torch.stack(shades).float()
    image[label % channels][_object(index)] = 250
    return image / 255


def _object(index):
    """Return the mask (32, 32) of an image's object."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    top, left = 4 + index % 5, 6 + index % 7
    mask[top : top + 12, left : left + 10] = True
    return mask


def object_mask(index):
    return _object(index)


def bytes_of(image):
    return (image * 255).round().to(torch.uint8)


def normalised(image, mean=MEAN, std=STD):
    shape = (-1, 1, 1) if image.ndim == 3 else (1, -1, 1, 1)
    return (image - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


class Listed(Dataset):
    """A data set of the values that a function returns for each index."""

    def __init__(self, item, count=18):
        self.item, self.count = item, count
        self.read = 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read += 1
        return self.item(index)


def data_of(item, count=18, **loader):
    """Return a dataloader of what `item(index, label)` returns."""
    labels = labels_of(count)
    settings = {"batch_size": 6, **loader}
    return DataLoader(Listed(lambda i: item(i, labels[i]), count), **settings)


def pairs(**loader):
    return data_of(lambda i, label: (picture(i, label), label), **loader)


# --- modules -------------------------------------------------------------------------------------


def features(channels=3, out=8):
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, out, 3, 2, 1), nn.ReLU()
    )


def network(classes=3, channels=3):
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(features(channels), pool, nn.Linear(8, classes))


class Recorded(pl.LightningModule):
    """Keeps of its latest validation what it was fed: images, labels, and what it said of them."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_validation_epoch_start(self):
        self.seen = []

    def record(self, images, labels, probabilities):
        """Keep a batch.

        Args:
            images: as the network is fed them.
            labels: (B,) classes, (B, K) of 0 and 1, or None.
            probabilities: (B, K) of each class, by the module's own softmax or sigmoid.
        """
        labels = [None] * len(images) if labels is None else list(labels)
        for image, label, each in zip(images, labels, probabilities, strict=True):
            own = None if label is None else torch.as_tensor(label).clone()
            self.seen.append((image.clone(), own, each.detach().clone()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Classifier(Recorded):
    """`read` says where in a batch images and labels are."""

    def __init__(self, net=None):
        super().__init__()
        self.net = network() if net is None else net

    def forward(self, images):
        return self.net(images)

    def read(self, batch):
        return batch

    def logits(self, images):
        """Return what the loss takes."""
        return self(images)

    def training_step(self, batch, batch_idx):
        images, labels = self.read(batch)
        return F.cross_entropy(self.logits(images), labels)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        images, labels = self.read(batch)
        self.record(images, labels, self.logits(images).softmax(dim=1))


class ByKey(Classifier):
    """Batches are dicts."""

    image, label = "image", "label"

    def read(self, batch):
        return batch[self.image], batch[self.label]


class Probabilities(Classifier):
    """Its forward ends in an activation; the loss takes its logarithm."""

    def activation(self, logits):
        return logits.softmax(dim=1)

    def forward(self, images):
        return self.activation(self.net(images))

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return F.nll_loss(self(images).log(), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.record(images, labels, self(images))


class Multi(Classifier):
    """Several labels per image."""

    def training_step(self, batch, batch_idx):
        images, labels = self.read(batch)
        return F.binary_cross_entropy_with_logits(self.logits(images), labels.float())

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        images, labels = self.read(batch)
        self.record(images, labels, self.logits(images).sigmoid())


class Binary(Multi):
    """One logit; the labels are 0 and 1."""

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        images, labels = self.read(batch)
        positive = self.logits(images).sigmoid().reshape(-1, 1)
        probabilities = torch.cat([1 - positive, positive], dim=1)
        self.record(images, labels.reshape(-1).long(), probabilities)


# --- runs ----------------------------------------------------------------------------------------


@dataclass
class Run:
    """A training that ended."""

    trainer: pl.Trainer
    module: Recorded
    callback: CAMCallback
    said: str

    @cached_property
    def events(self):
        return events_of(self.trainer)

    @property
    def probe(self):
        return next(iter(self.callback.probes.values()))

    @property
    def notes(self):
        lines = [line.strip() for line in self.said.splitlines()]
        return [line.removeprefix("note:").strip() for line in lines if line.startswith("note:")]

    def fact(self, name):
        """Return what the block at the start says of a part."""
        lines = [line.strip() for line in self.said.splitlines()]
        (found,) = [line for line in lines if line.startswith(f"{name}:")]
        return found.removeprefix(f"{name}:").strip()

    def scalar(self, name="cam/label_confidence"):
        return self.events.Scalars(name)[-1].value

    def drawn(self):
        """Return the images of the event file that show the first samples, 32×32 RGB of 0 to 1."""
        tags = sorted(t for t in self.events.Tags()["images"] if t.startswith("cam/overlay/"))
        shown = [decoded(self.events.Images(tag)[-1].encoded_image_string) for tag in tags]
        small = [each[:224, :224].reshape(SIDE, 7, SIDE, 7, 3).mean(axis=(1, 3)) for each in shown]
        return dict(zip(tags, (each / 255 for each in small), strict=True))


class _Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def _listening():
    handler, log = _Lines(), logging.getLogger("lightning.pytorch")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def callback(**options):
    """Return the callback of these tests: quick, and its pictures show the bare images."""
    quick = {"probe_size": 6, "num_pictures": 2, "alpha": 0.0, "interventions_every": 0}
    return CAMCallback(**{**quick, "panels": ("overlay",), "report": False, **options})


def run(folder, module, val=None, *, train=None, cam=None, datamodule=None, **settings):
    """Train, by default on the validation data, and return the run. Warnings are errors."""
    cam = callback() if cam is None else cam
    trainer = make_trainer(folder, [cam], logger=TensorBoardLogger(folder, name="tb"), **settings)
    with _listening() as lines:
        if datamodule is None:
            trainer.fit(module, val if train is None else train, val)
        else:
            trainer.fit(module, datamodule=datamodule)
    said = "\n".join(line for line in lines if line.startswith("lightning_cam"))
    return Run(trainer, module, cam, said)


def check(run, *, notes=(), labels=True):
    """Check that the probe is what the module was fed, and the label's probability its own.

    Args:
        run: a training.
        notes: what is said beside the facts, a part of each sentence.
        labels: whether the probe has labels.
    """
    probe, own, agreed = run.probe, [], []
    confidences = run.callback._monitor.probe_set.monitors["val"].history.previous.confidences
    for row, image in enumerate(probe.images):
        same = [each for each in run.module.seen if _equal(each[0], image)]
        assert len(same) == 1, f"image {row} of the probe was fed {len(same)} times"
        _, label, probabilities = same[0]
        if not labels:
            assert probe.targets is None
            largest = probabilities.max()
            agreed.append(float(abs(confidences[row] - largest)))
            continue
        assert torch.equal(probe.targets[row], label.long()), f"label of image {row}"
        own += probabilities[label.bool()].tolist() if label.ndim else [float(probabilities[label])]
        if label.ndim:
            agreed.append(float((confidences[row] - probabilities).abs().max()))
        else:
            agreed.append(float(abs(confidences[row] - probabilities.max())))
    assert max(agreed) < 1e-5
    if labels:
        assert abs(run.scalar() - np.mean(own)) < 1e-5
    beside = [note for note in run.notes if not note.startswith("classes balanced among")]
    assert len(beside) == len(notes), beside
    for said, wanted in zip(beside, notes, strict=True):
        assert wanted in said, said


def _equal(fed, image):
    return fed.shape == image.shape and torch.equal(fed.float(), image)


def check_pictures(run, source=picture):
    """Check that the images in the event file show the source, within what JPEG changes."""
    found = run.drawn()
    assert found
    for tag, shown in found.items():
        index = int(tag.split("/")[2].split("-")[-1].split("_")[-1])
        label = labels_of(index + 1)[index]
        image = source(index, label)
        image = image[:1].expand(3, -1, -1) if len(image) < 3 else image[:3]
        wanted = image.permute(1, 2, 0).numpy()
        error = np.abs(shown - wanted)
        assert error.mean() < 0.03, f"{tag} differs by {error.mean():.3f}"
