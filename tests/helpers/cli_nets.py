"""Models, data and callbacks that tests of the command line name as `helpers.cli_nets:...`."""

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import CAMCallback, Probe, Threshold

CLASSES = 4


def net(width=6, channels=3):
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, CLASSES),
    )


def grey_net():
    return net(channels=1)


class Lit(pl.LightningModule):
    """A module with an argument, which its checkpoints hold."""

    def __init__(self, width):
        super().__init__()
        self.save_hyperparameters()
        self.network = net(width)

    def forward(self, images):
        return self.network(images)

    def training_step(self, batch, index):
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class LitWithHook(Lit):
    """Normalises in a batch hook."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        images, *rest = batch
        return ((images - 0.5) / 0.25, *rest)


class TwoOptimizers(Lit):
    """Steps twice per batch, so that scalars are not logged under `global_step`."""

    def __init__(self, width):
        super().__init__(width)
        self.automatic_optimization = False

    def training_step(self, batch, index):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self):
        first, last = self.network[0], self.network[-1]
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (first, last)]


class LitWithoutValidation(Lit):
    validation_step = pl.LightningModule.validation_step


def squares():
    """Return images with a bright square in one of four corners, their labels and masks."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 16, 16, generator=draw) * 0.4
    labels = torch.arange(16) % CLASSES
    masks = torch.zeros(16, 16, 16, dtype=torch.bool)
    for i, label in enumerate(labels.tolist()):
        y, x = 8 * (label // 2), 8 * (label % 2)
        masks[i, y + 1 : y + 7, x + 1 : x + 7] = True
        images[i, label % 3][masks[i]] = 1.0
    return images, labels, masks


def dataset():
    return TensorDataset(*squares())


def val_loader():
    return DataLoader(dataset(), 8)


def probe():
    images, labels, masks = squares()
    return Probe(images[:4], labels[:4], masks=masks[:4])


def probe_elsewhere():
    """Return a probe whose masks cover all but the squares, so that maps are off the object."""
    images, labels, masks = squares()
    return Probe(images[:8], labels[:8], masks=~masks[:8])


class Data(pl.LightningDataModule):
    def setup(self, stage):
        assert stage == "fit"
        self.held = dataset()

    def train_dataloader(self):
        return DataLoader(self.held, 4)

    def val_dataloader(self):
        return DataLoader(self.held, 8)


def needs_an_argument(width):
    return net(width)


def not_a_model():
    return "a string"


def interrupted():
    raise KeyboardInterrupt


def broken():
    raise RuntimeError("a bug in a user's code")


def complains():
    raise ValueError("a user's own complaint")


def cam_callback():
    """Return a callback with rules, methods, panels and options of its own."""
    return CAMCallback(
        probe_elsewhere(),
        method=["layercam", "gradcam"],
        layers=["network.2", "network.4"],
        alerts=[Threshold("relevance_mass", below=0.9, patience=1, warmup=0)],
        interventions_every=2,
        panels=["overlay", "features", "activation_maximization"],
        slow_panels_every=2,
        num_pictures=3,
        colormap="viridis",
        chunk_size=3,
        seed=7,
        tag="own",
        on_alert=(),
    )


CALLBACK = cam_callback()
