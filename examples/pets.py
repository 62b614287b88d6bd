"""Oxford-IIIT Pet: 37 breeds of cats and dogs, with the data set's trimaps as masks.

``python examples/pets.py --download`` downloads 800 MB once, into ``--data``; without it the files
must be there. ``--pretrained`` downloads ImageNet weights, which save many epochs. For all 3,680
training images a GPU is recommended.

For your own data, change these lines:

- ``Pets``: your dataset. Items hold the image, the label and the object's mask as a
  ``tv_tensors.Mask``; the transform gets image and mask in one call.
- ``Breeds.__init__``: your network.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import OxfordIIITPet
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.transforms import v2

from lightning_cam import CAMCallback

Item = tuple[Tensor, int, tv_tensors.Mask]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BACKGROUND = 2  # of a trimap; 1 is the pet, 3 its outline
TO_FLOAT = {tv_tensors.Image: torch.float32, "others": None}  # a mask keeps its type


class Pets(OxfordIIITPet):
    """Photographs of pets with their breed and a mask of the pet, including its outline.

    Args:
        root: folder that holds ``oxford-iiit-pet``.
        split: ``"trainval"`` or ``"test"``.
        side: height and width in pixels.
        download: fetch the files if they are not there.
    """

    def __init__(self, root: Path, split: str, side: int = 224, *, download: bool = False) -> None:
        super().__init__(root, split, ["category", "segmentation"], download=download)
        crops: list[v2.Transform] = [v2.Resize(side), v2.CenterCrop(side)]
        if split == "trainval":
            crops = [v2.RandomResizedCrop(side, scale=(0.4, 1)), v2.RandomHorizontalFlip()]
        self.transform = v2.Compose(
            [*crops, v2.ToDtype(TO_FLOAT, scale=True), v2.Normalize(MEAN, STD)]
        )

    def __getitem__(self, index: int) -> Item:
        """Return image, breed and mask, cropped in the same way."""
        photo, (breed, trimap) = super().__getitem__(index)
        image = tv_tensors.Image(v2.functional.pil_to_tensor(photo.convert("RGB")))
        mask = tv_tensors.Mask(v2.functional.pil_to_tensor(trimap)[0] != BACKGROUND)
        image, mask = self.transform(image, mask)
        return image.as_subclass(Tensor), breed, mask


class Breeds(LightningModule):
    """ResNet-18 with one logit per breed."""

    def __init__(self, classes: int, *, pretrained: bool = False) -> None:
        super().__init__()
        self.net = resnet18(weights=ResNet18_Weights.DEFAULT if pretrained else None)
        self.net.fc = nn.Linear(self.net.fc.in_features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of a batch; the mask is not used."""
        images, labels, _ = batch
        return functional.cross_entropy(self(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Log the accuracy of a batch."""
        images, labels, _ = batch
        accuracy = (self(images).argmax(dim=1) == labels).float().mean()
        self.log("val_acc", accuracy, prog_bar=True, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=3e-4, weight_decay=0.05)


def main() -> None:
    """Train and print what the maps show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds oxford-iiit-pet")
    parser.add_argument("--download", action="store_true", help="fetch the data set, 800 MB")
    parser.add_argument("--pretrained", action="store_true", help="fetch ImageNet weights, 45 MB")
    parser.add_argument("--side", type=int, default=224, help="height and width in pixels")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training images")
    parser.add_argument("--workers", type=int, default=4, help="processes that read the images")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    options = parser.parse_args()
    try:
        train, val = (
            Pets(options.data, split, options.side, download=options.download)
            for split in ("trainval", "test")
        )
    except RuntimeError as error:
        sys.exit(f"{error} It is not in {options.data.resolve()}; --data names another folder.")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    torch.manual_seed(0)
    trainer = Trainer(
        callbacks=[CAMCallback()],  # 32 of the test images, breeds and masks included
        logger=TensorBoardLogger(options.out, name="pets"),
        max_epochs=options.epochs,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    workers = {"num_workers": options.workers, "persistent_workers": options.workers > 0}
    trainer.fit(
        Breeds(len(train.classes), pretrained=options.pretrained),
        DataLoader(train, 32, shuffle=True, **workers),
        DataLoader(val, 64, **workers),
    )
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    print(f"\nval_acc              {metrics['val_acc']:.2f}")
    for name in ("enrichment", "enrichment_center", "enrichment_untrained", "shortcut_score"):
        print(f"{name:20} {metrics.get(f'cam/{name}', float('nan')):.2f}")
    print(
        "\nPets are in the middle of their photographs: compare enrichment with enrichment_center,"
        "\nthat of a fixed spot in the middle."
        f"\nImages: tensorboard --logdir {options.out}"
    )


if __name__ == "__main__":
    main()
