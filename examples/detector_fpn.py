"""Maps at each level of a detector's feature pyramid: which level is a box read from?

A small Faster R-CNN learns to detect shapes on photographs. For each box of the probe the callback
explains the score of the detection that matches it, at every level of the pyramid. Run it with
``python examples/detector_fpn.py``; see ``scenes.py`` for the images.

For your own data, change these lines:

- ``make_network``: your detector, e.g.
  ``torchvision.models.detection.fasterrcnn_resnet50_fpn(weights="DEFAULT")``. The module's
  ``forward`` takes a batch (B, 3, H, W), so that the probe's images can be explained together.
- ``make_probe``: your images, boxes and one class per image; all images have the same size.
- ``LEVELS``: the pyramid's outputs by name; ``fpn[0]`` is the finest.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from digits import ResidualBlock, SmallResNet
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from scenes import ShapeScenes
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, box_iou

from lightning_cam import CAMCallback, Probe

Objects = list[dict[str, Tensor]]
Batch = tuple[Sequence[Tensor], Objects]
LEVELS = ("fpn[0]", "fpn[1]")
FOUND_IOU, FOUND_SCORE = 0.5, 0.3


class Pyramid(nn.Module):
    """Feature maps at an eighth and a sixteenth of the image's size, 48 channels each."""

    out_channels = 48

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = SmallResNet(width=width).stem
        self.layer1 = ResidualBlock(width, 2 * width, stride=2)
        self.layer2 = ResidualBlock(2 * width, 4 * width, stride=2)
        self.layer3 = ResidualBlock(4 * width, 6 * width, stride=2)
        self.fpn = FeaturePyramidNetwork([4 * width, 6 * width], self.out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the levels by name, the finest first."""
        fine = self.layer2(self.layer1(self.stem(images)))
        levels: dict[str, Tensor] = self.fpn({"0": fine, "1": self.layer3(fine)})
        return levels


def make_network(classes: int, side: int) -> FasterRCNN:
    """Return a Faster R-CNN with few proposals, which pools small boxes from the fine level."""
    return FasterRCNN(
        Pyramid(),
        classes,
        min_size=side,
        max_size=side,
        rpn_anchor_generator=AnchorGenerator(((16,), (32,)), ((1.0,), (1.0,))),
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=64,
        rpn_post_nms_top_n_test=32,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_roi_pool=MultiScaleRoIAlign(["0", "1"], 7, 2, canonical_scale=28),
    )


class Detector(LightningModule):
    """Trains a torchvision detector; `val_recall` is the share of objects that are detected."""

    def __init__(self, network: nn.Module, learning_rate: float = 3e-3) -> None:
        super().__init__()
        self.net = network
        self.learning_rate = learning_rate

    def forward(self, images: Tensor) -> Objects:
        """Return the detections on each of a batch of images."""
        found: Objects = self.net(list(images))
        return found

    def training_step(self, batch: Batch) -> Tensor:
        """Return the sum of the detector's losses."""
        images, objects = batch
        losses: dict[str, Tensor] = self.net(images, objects)
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: Batch) -> None:
        """Log the share of objects that a detection of their class matches."""
        images, objects = batch
        detected = []
        for wanted, found in zip(objects, self(torch.stack(tuple(images))), strict=True):
            fits = box_iou(wanted["boxes"], found["boxes"]) >= FOUND_IOU
            fits &= (wanted["labels"][:, None] == found["labels"]) & (found["scores"] > FOUND_SCORE)
            detected.append(fits.any(dim=1).float())
        recall = torch.cat(detected)
        self.log("val_recall", recall.mean(), prog_bar=True, batch_size=len(recall))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a one-cycle schedule that steps after every batch."""
        rate, steps = self.learning_rate, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_probe(scenes: ShapeScenes) -> Probe:
    """Return a probe of scenes with one shape each, since an image of a probe has one class."""
    images, objects = zip(*(scenes[index] for index in range(len(scenes))), strict=True)
    return Probe(
        torch.stack(images),
        torch.cat([each["labels"] for each in objects]),
        boxes=[each["boxes"] for each in objects],
        class_names=scenes.classes,
    )


def collate(items: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> Batch:
    """Return images and objects in lists, as torchvision's detectors take them."""
    return [image for image, _ in items], [objects for _, objects in items]


def main() -> None:
    """Train and print the metrics of each level of the pyramid."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of images, weights and order")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="run a few steps only")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data in memory
    torch.manual_seed(options.seed)
    side, seed = 96, 10 * options.seed
    train, val = (ShapeScenes(n, seed + i, side) for i, n in enumerate((320, 48)))
    probe = make_probe(ShapeScenes(16, seed + 2, side, most=1))
    trainer = Trainer(
        callbacks=[CAMCallback(probe, target="box", layers=LEVELS, alerts=())],
        logger=TensorBoardLogger(options.out, name="detector_fpn"),
        max_epochs=1 if options.quick else options.epochs,
        limit_train_batches=2 if options.quick else None,
        limit_val_batches=1 if options.quick else None,
        accelerator="cpu",
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    model = Detector(make_network(len(train.classes), side))
    trainer.fit(
        model,
        DataLoader(train, 8, shuffle=True, collate_fn=collate),
        DataLoader(val, 8, collate_fn=collate),
    )
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    print(f"\nval_recall {metrics['val_recall']:.2f}\n")
    print(f"{'':10}{'boxes with a map':>18}{'enrichment':>12}")
    for level, suffix in zip(LEVELS, ("", f"/gradcam@net.backbone.{LEVELS[1]}"), strict=True):
        share = 1 - metrics[f"cam/zero_map_fraction{suffix}"]
        print(f"{level:10}{share:18.0%}{metrics[f'cam/enrichment{suffix}']:12.2f}")
    print(
        "\nA box is pooled from one level, which its size decides; its map at the other level is"
        "\nflat. Where no detection matches a box, its maps are flat at both levels. enrichment is"
        "\nattention within the box, relative to its area; nan where all maps are flat."
        f"\nImages: tensorboard --logdir {options.out}"
    )


if __name__ == "__main__":
    main()
