"""Overfitting on a small set of vehicle crops: attention on training and on validation images.

The same network is trained twice, on few and on many crops, for about as many steps. The callback
evaluates a probe of the training images and one of the validation images. Run it with
``python examples/crops.py``; see ``scenes.py`` for the images.

For your own data, change these lines:

- ``make_sets``: your datasets. Items are (image, label) or (image, label, mask); metrics that need
  masks or boxes are left out where there are none.
- ``Classifier.__init__``: your network, e.g.
  ``torchvision.models.resnet18(weights="DEFAULT", num_classes=...)``.
- ``RUNS``: one run with your number of epochs.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from digits import SmallResNet
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from scenes import VehicleCrops
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from lightning_cam import CAMCallback

Batch = tuple[Tensor, Tensor, Tensor]
RUNS = {"few": (8, 60), "many": (160, 12)}  # images per class, epochs
EVALUATIONS = 6  # of each run


class Result(NamedTuple):
    """The number of training images of a run, and its last metrics."""

    images: int
    metrics: dict[str, float]


class Classifier(LightningModule):
    """A small residual network with AdamW and one cycle of the learning rate."""

    def __init__(self, classes: int, learning_rate: float = 3e-3) -> None:
        super().__init__()
        self.net = SmallResNet(classes)
        self.learning_rate = learning_rate

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: Batch) -> Tensor:
        """Return the cross-entropy of a batch."""
        images, labels, _ = batch
        logits = self(images)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log("train_acc", accuracy, on_step=False, on_epoch=True, batch_size=len(labels))
        return functional.cross_entropy(logits, labels)

    def validation_step(self, batch: Batch) -> None:
        """Log the accuracy of a batch."""
        images, labels, _ = batch
        accuracy = (self(images).argmax(dim=1) == labels).float().mean()
        self.log("val_acc", accuracy, prog_bar=True, batch_size=len(labels))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a one-cycle schedule that steps after every batch."""
        rate, steps = self.learning_rate, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_sets(per_class: int, seed: int) -> tuple[VehicleCrops, VehicleCrops]:
    """Return the training and the validation set; they share no image."""
    return VehicleCrops(per_class, seed), VehicleCrops(per_class=40, seed=seed + 1_000)


def run(name: str, seed: int, out: Path, *, quick: bool = False) -> Result:
    """Train once with a probe of the training and one of the validation images."""
    per_class, epochs = (2, 2) if quick else RUNS[name]
    torch.manual_seed(seed)
    train, val = make_sets(per_class, seed)
    callback = CAMCallback(
        {"train": "train", "val": "val"},
        probe_size=48,
        interventions_every=1,
        alerts=(),  # no rules: this example only compares the two probes
    )
    trainer = Trainer(
        callbacks=[callback],
        logger=TensorBoardLogger(out, name=name),
        max_epochs=epochs,
        check_val_every_n_epoch=max(1, epochs // EVALUATIONS),
        accelerator="cpu",
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    loaders = DataLoader(train, 32, shuffle=True), DataLoader(val, 120)
    trainer.fit(Classifier(len(train.classes)), *loaders)
    return Result(len(train), {k: float(v) for k, v in trainer.callback_metrics.items()})


def table(name: str, result: Result) -> str:
    """Return a run's metrics on training and validation images, and their gap, as a table."""
    metrics = result.metrics
    rows = {"accuracy": [metrics["train_acc"], metrics["val_acc"]]}
    for metric in ("enrichment", "pointing_game", "relevance_rank", "background_reliance"):
        rows[metric] = [metrics[f"cam/{part}/{metric}"] for part in ("train", "val", "gap")]
    return "\n".join(
        [
            f"\n{name}: {result.images} training images",
            f"{'':24}{'train':>7}{'val':>7}{'gap':>7}",
            *(f"  {row:22}" + "".join(f"{v:7.2f}" for v in values) for row, values in rows.items()),
        ]
    )


def main() -> None:
    """Train both runs and print their metrics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and order")
    parser.add_argument("--out", type=Path, default=Path("runs/crops"), help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="run a few steps only")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data in memory
    results = {name: run(name, options.seed, options.out, quick=options.quick) for name in RUNS}
    print("\n".join(table(name, result) for name, result in results.items()))
    print(
        "\ngap                    training minus validation: far from 0, attention on training"
        "\n                       images differs from attention on new ones"
        "\nbackground_reliance    share of what the network knows that exchanging backgrounds"
        "\n                       between classes costs"
        f"\nimages                 tensorboard --logdir {options.out}"
    )


if __name__ == "__main__":
    main()
