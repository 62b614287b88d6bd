"""Several labels per image: a DenseNet-121 on chest films, with one map per finding.

The films are drawn. A label is a row of 0 and 1, and the callback explains each positive finding by
a map of its own. Run it with ``python examples/chest_xray.py``; with the ChestX-ray14 files on
disk, ``python examples/chest_xray.py --chestxray14 FOLDER`` trains on them.

For your own data, change these lines:

- ``ChestXray14``: how your table names the images and their findings. Items are dicts with
  ``image`` and ``label``, and with ``mask`` where there are outlines of the findings.
- ``Findings.__init__``: ``densenet121(weights="DEFAULT")`` with its classifier replaced, for a
  pretrained network. The films have three equal channels for that reason.
- ``layers``: ``"auto"`` alone for films of 224 pixels and more.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from scenes import ChestFilms, as_image, as_mask, normalised
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MultilabelAUROC
from torchvision.models import densenet121

from lightning_cam import CAMCallback

FINDINGS_14 = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema"),
    *("Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening"),
    *("Pneumonia", "Pneumothorax"),
)


class ChestXray14(Dataset[dict[str, Any]]):
    """ChestX-ray14 of the NIH as it is unpacked: ``images_*/images/*.png`` and CSV files.

    Args:
        folder: holds ``Data_Entry_2017.csv`` (or ``..._v2020.csv``), ``train_val_list.txt`` and
            the images.
        split: of the official training list nine of ten patients are ``"train"`` and one is
            ``"val"``; ``"boxed"`` are the images of ``BBox_List_2017.csv`` that are in neither,
            with the findings' boxes as masks: the probe.
        side: height and width that the films are scaled to.
    """

    classes = FINDINGS_14

    def __init__(
        self, folder: Path, split: Literal["train", "val", "boxed"], side: int = 224
    ) -> None:
        self.side, self.boxes = side, _boxes(folder / "BBox_List_2017.csv")
        (table,) = folder.glob("Data_Entry_2017*.csv")
        with table.open() as file:
            found = {row["Image Index"]: row["Finding Labels"] for row in csv.DictReader(file)}
        listed = (folder / "train_val_list.txt").read_text().split()
        # By patient, the number before the underscore: images of one patient are similar.
        names = [n for n in listed if (int(n.split("_")[0]) % 10 == 0) == (split == "val")]
        if split == "boxed":
            names = sorted(set(self.boxes) - set(listed))
        places = {path.name: path for path in folder.glob("images*/**/*.png")}
        self.names = [name for name in names if name in places]
        self.paths = [places[name] for name in self.names]
        rows = [[finding in found[n].split("|") for finding in FINDINGS_14] for n in self.names]
        self.labels = torch.tensor(rows).float()
        self.transform = normalised((0.5,) * 3, (0.25,) * 3)

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the film in three equal channels, its labels, and its boxes as a mask."""
        film = np.asarray(Image.open(self.paths[index]).convert("RGB"))
        mask = np.zeros(film.shape[:2], np.uint8)
        for x, y, width, height in self.boxes.get(self.names[index], []):
            mask[int(y) : int(y + height), int(x) : int(x + width)] = 1
        size = (self.side, self.side)
        film = cv2.resize(film, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        image, mask = self.transform(as_image(film), as_mask(mask))
        return {"image": image.as_subclass(Tensor), "label": self.labels[index], "mask": mask}


def _boxes(path: Path) -> dict[str, list[tuple[float, ...]]]:
    """Return the boxes of each image as x, y, width, height in pixels of the original."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with path.open() as file:
        for name, _, *box in list(csv.reader(file))[1:]:
            found.setdefault(name, []).append(tuple(float(number) for number in box[:4]))
    return found


class Findings(LightningModule):
    """DenseNet-121 with one logit per finding; rare findings have larger weights in the loss."""

    def __init__(self, labels: Tensor, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.net = densenet121(num_classes=labels.shape[1])
        self.auroc = MultilabelAUROC(labels.shape[1])
        self.learning_rate = learning_rate
        share = labels.mean(dim=0).clamp(0.01, 0.99)
        self.loss = nn.BCEWithLogitsLoss(pos_weight=(1 - share) / share)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of films."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the weighted binary cross-entropy of a batch."""
        loss: Tensor = self.loss(self(batch["image"]), batch["label"])
        return loss

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        """Log the mean area under the ROC curves."""
        self.auroc.update(self(batch["image"]), batch["label"].long())
        self.log("val_auroc", self.auroc, prog_bar=True, batch_size=len(batch["label"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate)


def make_sets(folder: Path | None, seed: int, *, quick: bool) -> tuple[Any, Any, Any]:
    """Return datasets for training, validation and the probe: ChestX-ray14 if a folder is given."""
    if folder is not None:
        parts = [ChestXray14(folder, split) for split in ("train", "val", "boxed")]
        return parts[0], parts[1], parts[2]
    train, val = ChestFilms(32 if quick else 320, seed), ChestFilms(16 if quick else 64, seed + 1)
    return train, val, val


def main() -> None:
    """Train and print what the maps show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--chestxray14", type=Path, metavar="FOLDER", help="the unpacked files")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training films")
    parser.add_argument("--seed", type=int, default=0, help="of films, weights and order")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="run a few steps only")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # set num_workers
    torch.manual_seed(options.seed)
    train, val, probe = make_sets(options.chestxray14, options.seed, quick=options.quick)
    callback = CAMCallback(
        probe,
        target="label",  # a map for each positive finding
        layers=["auto", "denseblock3"],  # the last layer's maps are coarse, so one before it too
        num_pictures=8,
    )
    trainer = Trainer(
        callbacks=[callback],
        logger=TensorBoardLogger(options.out, name="chest_xray"),
        max_epochs=1 if options.quick else options.epochs,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    model = Findings(train.labels)
    trainer.fit(model, DataLoader(train, 16, shuffle=True), DataLoader(val, 32))
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    print(f"\n{'val_auroc, 0.50 is chance':52} {metrics['val_auroc']:.2f}")
    finer = "/gradcam@net.features.denseblock3"
    for name in (f"cam/enrichment{end}" for end in ("", finer, "_untrained", "_center")):
        print(f"{name:52} {metrics[name]:.2f}")
    print(
        "\nenrichment is attention on the findings, relative to their area. A film has one mask for"
        "\nall its findings, so a map of one finding also counts as correct on another one."
        f"\nA map of each finding: tensorboard --logdir {options.out}"
    )


if __name__ == "__main__":
    main()
