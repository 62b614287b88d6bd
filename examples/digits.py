"""Handwritten digits on photographs: data and network of the demo.

The scikit-learn wheel has all of it: 1,797 handwritten digits and two photographs. Each of the ten
classes has its own region of the photographs (sky, roofs, petals, ...). With a high
``correlation`` the background predicts the class and a network can ignore the digit; with
``correlation=0`` the background is independent of the class.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from sklearn.datasets import load_digits, load_sample_image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

IMAGE_SIZE = 64
DIGIT_SIZE = 36
OUTLINE = 2
TRAIN_DIGITS = 1_400
MEAN, STD = (0.44, 0.40, 0.36), (0.38, 0.35, 0.37)

# One box per class: photograph, then top, left, bottom, right in pixels. The boxes do not overlap
# and differ in colour and texture, so that backgrounds are easier to learn than digits.
REGIONS = (
    ("china.jpg", 0, 0, 120, 96),  # blue sky
    ("china.jpg", 0, 440, 120, 640),  # white sky
    ("china.jpg", 140, 110, 330, 310),  # red galleries of the pagoda
    ("china.jpg", 330, 385, 427, 555),  # grey shrubs
    ("flower.jpg", 270, 235, 350, 385),  # pale outer petals
    ("china.jpg", 340, 0, 427, 200),  # green shrubs
    ("china.jpg", 250, 560, 427, 640),  # dark pine
    ("flower.jpg", 155, 250, 270, 370),  # red inner petals
    ("flower.jpg", 310, 50, 427, 200),  # black shade
    ("flower.jpg", 100, 460, 270, 640),  # blue leaves
)

Split = Literal["train", "val"]
Sample = tuple[Tensor, int, tv_tensors.Mask]


class DigitsOnPhotos(Dataset[Sample]):
    """Digits pasted on crops of two photographs, with exact foreground masks.

    All pixels are made once, from ``seed`` alone. Two datasets that differ only in ``correlation``
    have the same digits at the same places: only the backgrounds differ. The mask of an item is
    true exactly where the digit replaced the photograph.

    Args:
        split: ``"train"`` or ``"val"``. They share no digit and no crop, though crops of one region
            overlap.
        correlation: probability that the background is of the region of the image's class.
            Otherwise the region is drawn from all ten, so that 0 means independent of the class.
        seed: of the split, the places and the backgrounds.

    Attributes:
        targets: class index of every image.
        regions: index of the region behind every image.
        classes: names of the classes.
        transform: turns a ``uint8`` image into a normalised float image.
    """

    classes = tuple(str(digit) for digit in range(10))

    def __init__(self, split: Split, correlation: float, seed: int = 0) -> None:
        if not 0.0 <= correlation <= 1.0:
            raise ValueError(f"correlation must lie in [0, 1], got {correlation}")
        self.transform = v2.Compose(
            [
                # The mask must keep its type: only the image is rescaled to [0, 1].
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )
        ink, drawn, labels = _render_digits()
        order = np.random.default_rng(seed).permutation(len(labels))
        chosen = order[:TRAIN_DIGITS] if split == "train" else order[TRAIN_DIGITS:]
        count = len(chosen)

        # Everything is drawn whether it is used or not, so that `correlation` changes nothing else.
        rng = np.random.default_rng([seed, split == "train"])
        size = drawn.shape[-1]
        corners = rng.integers(0, IMAGE_SIZE - size + 1, size=(count, 2))
        own = rng.random(count) < correlation
        other = rng.integers(0, len(REGIONS), count)
        which_crop = rng.random(count)
        self.targets: list[int] = labels[chosen].tolist()
        self.regions: list[int] = np.where(own, labels[chosen], other).tolist()

        photos = {name: torch.tensor(load_sample_image(name)) for name, *_ in REGIONS}
        images, masks = [], []
        for digit, region, (top, left), share in zip(
            chosen, self.regions, corners, which_crop, strict=True
        ):
            image = _crop(photos, region, split, share)
            mask = torch.zeros(IMAGE_SIZE, IMAGE_SIZE, dtype=torch.bool)
            rows, columns = slice(top, top + size), slice(left, left + size)
            mask[rows, columns] = drawn[digit]
            under = image[:, rows, columns]
            image[:, rows, columns] = torch.where(drawn[digit], ink[digit], under)
            images.append(image)
            masks.append(mask)
        self._images, self._masks = torch.stack(images), torch.stack(masks)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        """Return the normalised image, the label and the mask of the digit's pixels."""
        image, mask = self.transform(
            tv_tensors.Image(self._images[index]), tv_tensors.Mask(self._masks[index])
        )
        return image.as_subclass(Tensor), self.targets[index], mask


def _render_digits() -> tuple[Tensor, Tensor, npt.NDArray[np.int64]]:
    """Return grey values, drawn pixels (strokes and outline) and labels of the enlarged digits.

    White strokes with a black outline are visible on any background.
    """
    data = load_digits()
    small = torch.from_numpy(data.images).float().div(16).unsqueeze(1)
    large = functional.interpolate(
        small, size=(DIGIT_SIZE, DIGIT_SIZE), mode="bicubic", align_corners=False
    )
    # A steep ramp turns the blurred enlargement into strokes with smooth edges.
    ink = functional.pad(large.sub(0.3).mul(3).clamp(0, 1), [OUTLINE] * 4)
    drawn = functional.max_pool2d((ink > 0).float(), 2 * OUTLINE + 1, stride=1, padding=OUTLINE)
    return ink.mul(255).byte(), drawn.squeeze(1).bool(), data.target


def _crop(photos: dict[str, Tensor], region: int, split: Split, share: float) -> Tensor:
    """Return the crop at the position ``share``, 0 to 1, among those of a split in a region."""
    name, top, left, bottom, right = REGIONS[region]
    columns = right - left - IMAGE_SIZE + 1
    count = (bottom - top - IMAGE_SIZE + 1) * columns
    # Odd positions are for training, even ones for validation.
    at = 2 * int(share * (count // 2)) + (split == "train")
    top, left = top + at // columns, left + at % columns
    crop = photos[name][top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    return crop.permute(2, 0, 1).clone()


class Loaders(NamedTuple):
    """The loaders of one run; `shuffled` has the validation digits on random backgrounds."""

    train: DataLoader[Sample]
    val: DataLoader[Sample]
    shuffled: DataLoader[Sample]


def make_loaders(correlation: float, seed: int = 0, batch_size: int = 32) -> Loaders:
    """Return the loaders of one run.

    Args:
        correlation: strength of the shortcut in the training and validation images.
        seed: of the data and the order of the training batches.
        batch_size: of the training batches.
    """
    train = DigitsOnPhotos("train", correlation, seed)
    val = DigitsOnPhotos("val", correlation, seed)
    shuffled = DigitsOnPhotos("val", 0.0, seed)
    generator = torch.Generator().manual_seed(seed)
    return Loaders(
        DataLoader(train, batch_size, shuffle=True, drop_last=True, generator=generator),
        DataLoader(val, 4 * batch_size),
        DataLoader(shuffled, 4 * batch_size),
    )


def shortcut_validation() -> DataLoader[Sample]:
    """Return the validation images of the demo's run `shortcut`, for `lightning-cam replay`."""
    return make_loaders(0.95).val


def balanced_validation() -> DataLoader[Sample]:
    """Return the validation images of the demo's run `balanced`, for `lightning-cam replay`."""
    return make_loaders(0.0).val


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut connection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's output for feature maps (B, C, H, W)."""
        inner = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.skip(features))


class SmallResNet(nn.Module):
    """Small residual network: stem, three stages, global average pooling, linear head.

    The last stage is at a quarter of the image's size (16x16 for 64x64), fine enough for maps that
    separate the digit from its surroundings.

    Args:
        classes: number of classes.
        width: channels of the first stage; the later ones have two and four times as many.
    """

    def __init__(self, classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.layer1 = ResidualBlock(width, width, stride=1)
        self.layer2 = ResidualBlock(width, 2 * width, stride=2)
        self.layer3 = ResidualBlock(2 * width, 4 * width, stride=1)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        features = self.layer3(self.layer2(self.layer1(self.stem(images))))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class DigitsModule(LightningModule):
    """Trains :class:`SmallResNet` with AdamW and one cycle of the learning rate.

    Args:
        learning_rate: largest of the cycle.
        weight_decay: of AdamW.
    """

    def __init__(self, learning_rate: float = 3e-3, weight_decay: float = 0.05) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.net = SmallResNet()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of a batch; the mask is not used."""
        images, labels, _ = batch
        loss = functional.cross_entropy(self(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Log the accuracy of a batch."""
        images, labels, _ = batch
        accuracy = (self(images).argmax(dim=1) == labels).float().mean()
        self.log("val_acc", accuracy, prog_bar=True, batch_size=len(labels))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a one-cycle schedule that steps after every batch."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
