"""Objects on scenes, whose class follows from the object, and with some probability from a cue."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset
from torchvision import tv_tensors

from benchmarks.alerts import objects as sources

Cue = Literal["scene", "patch", "border", "stripe"]
_TRAIN = 800
_VAL = 300
_OUTLINE = 1
_PATCH = 7
_BORDER = 3
_STRIPE = 4


@dataclass(frozen=True)
class Splits:
    """The data of a run: `train`, `val` of the same kind, and `val` with uninformative cues.

    Items are a normalized image, its label and a mask, which is empty where a folder has none.
    """

    train: Any
    val: Any
    shuffled: Any
    classes: int


class WithMasks(TensorDataset):
    """Images, labels and masks of type `tv_tensors.Mask`."""

    def __getitem__(self, index: int) -> tuple[Tensor, int, Tensor]:
        image, label, mask = super().__getitem__(index)
        return image, int(label), tv_tensors.Mask(mask)


# name: objects, backgrounds, kind of cue
RECIPES: dict[str, tuple[Callable[[], Any], Callable[[], Any], Cue]] = {
    "digits-photos": (sources.digits, sources.photographs, "scene"),
    "garments-textures": (sources.garments, sources.textures, "scene"),
    "digits-patch": (sources.digits, sources.textures, "patch"),
    "garments-border": (sources.garments, sources.photographs, "border"),
    "digits-textures": (sources.digits, sources.textures, "scene"),
    "garments-photos": (sources.garments, sources.photographs, "scene"),
    "garments-patch": (sources.garments, sources.photographs, "patch"),
    "digits-border": (sources.digits, sources.textures, "border"),
    "shapes-photos": (sources.shapes, sources.photographs, "scene"),
    "shapes-patch": (sources.shapes, sources.textures, "patch"),
    "digits-stripe": (sources.digits, sources.photographs, "stripe"),
    "garments-stripe": (sources.garments, sources.textures, "stripe"),
    "silhouettes": (sources.shapes, sources.textures, "scene"),
}


def make_splits(
    name: str, correlation: float, seed: int, train: int = _TRAIN, val: int = _VAL
) -> Splits:
    """Return the data of a run by a recipe.

    Args:
        name: one of `RECIPES`.
        correlation: probability that an image has the cue of its class, else that of a random one.
        seed: of objects, positions and cues.
        train: number of training images.
        val: number of validation images.
    """
    objects, scenes, cue = RECIPES[name]
    ink, labels = objects()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    parts = {}
    for part, chosen, strength in (
        ("train", order[:train], correlation),
        ("val", order[-val:], correlation),
        ("shuffled", order[-val:], 0.0),
    ):
        generator = torch.Generator().manual_seed(2 * seed + (part == "train"))
        parts[part] = _composed(ink[chosen], labels[chosen], scenes(), cue, strength, generator)
    return Splits(**parts, classes=sources.CLASSES)


def _composed(
    ink: Tensor,
    labels: Tensor,
    scenes: tuple[Tensor, ...],
    cue: Cue,
    correlation: float,
    generator: torch.Generator,
) -> WithMasks:
    """Return objects at random positions; all random numbers are drawn whether used or not."""
    count, side, size = len(labels), sources.SIDE, ink.shape[2]
    own = torch.rand(count, generator=generator) < correlation
    other = torch.randint(sources.CLASSES, (count,), generator=generator)
    cues = torch.where(own, labels, other)
    free = torch.randint(sources.CLASSES, (count,), generator=generator)
    corners = torch.randint(side - size + 1, (count, 2), generator=generator).tolist()
    crops = torch.rand(count, 2, generator=generator).tolist()
    drawn = F.max_pool2d((ink > 0.1).float(), 2 * _OUTLINE + 1, stride=1, padding=_OUTLINE) > 0
    images, masks = [], []
    for i, (top, left) in enumerate(corners):
        scene = scenes[int(cues[i] if cue == "scene" else free[i])]
        image = _crop(scene, crops[i])
        if cue != "scene":
            _mark(image, cue, int(cues[i]))
        mask = torch.zeros(side, side, dtype=torch.bool)
        rows, columns = slice(top, top + size), slice(left, left + size)
        mask[rows, columns] = drawn[i, 0]
        image[:, rows, columns] = torch.where(drawn[i], ink[i], image[:, rows, columns])
        images.append(image)
        masks.append(mask)
    return WithMasks(normalized(torch.stack(images)), labels, torch.stack(masks))


def normalized(images: Tensor) -> Tensor:
    """Return images of 0 to 1 with mean and deviation as the networks are fed them."""
    return (images - 0.5) / 0.25


def _crop(scene: Tensor, at: list[float]) -> Tensor:
    top, left = (int(a * (n - sources.SIDE + 1)) for a, n in zip(at, scene.shape[1:], strict=True))
    return scene[:, top : top + sources.SIDE, left : left + sources.SIDE].clone()


def _mark(image: Tensor, cue: Cue, label: int) -> None:
    """Paint the colour of a class into a corner, along the bottom, or around the image."""
    color = torch.tensor(colorsys.hsv_to_rgb(label / sources.CLASSES, 0.9, 0.9)).view(3, 1, 1)
    if cue == "patch":
        image[:, 1 : 1 + _PATCH, 1 : 1 + _PATCH] = color
    elif cue == "stripe":
        image[:, -_STRIPE:] = color
    else:
        inner = image[:, _BORDER:-_BORDER, _BORDER:-_BORDER].clone()
        image[:] = color
        image[:, _BORDER:-_BORDER, _BORDER:-_BORDER] = inner


def folder_splits(folder: Path, side: int = 64) -> Splits:
    """Read `train/<class>/*`, `val/<class>/*`, `masks/val/<class>/*.png`, `shuffled/<class>/*`.

    Raises:
        ValueError: a part is missing, or a validation image has no mask of its name.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.v2 import functional as T

    for part in ("train", "val", "masks/val", "shuffled"):
        if not (folder / part).is_dir():
            raise ValueError(f"expected a folder {part} in {folder}, found none")
    parts, classes = {}, 0
    for part in ("train", "val", "shuffled"):
        listed = ImageFolder(str(folder / part))
        classes = max(classes, len(listed.classes))
        images, masks, labels = [], [], []
        for file, label in listed.samples:
            pixels = T.to_image(listed.loader(file)).float() / 255
            images.append(T.resize(pixels, [side, side], antialias=True))
            masks.append(_mask_of(folder, Path(file), side) if part == "val" else None)
            labels.append(label)
        known = [torch.zeros(side, side, dtype=torch.bool) if m is None else m for m in masks]
        parts[part] = WithMasks(
            normalized(torch.stack(images)), torch.tensor(labels), torch.stack(known)
        )
    return Splits(**parts, classes=classes)


def _mask_of(folder: Path, image: Path, side: int) -> Tensor:
    from PIL import Image
    from torchvision.transforms.v2 import functional as T

    file = (folder / "masks" / image.relative_to(folder)).with_suffix(".png")
    if not file.exists():
        raise ValueError(f"expected a mask {file}, found none")
    pixels = T.to_image(Image.open(file).convert("L")).float() / 255
    return T.resize(pixels, [side, side], antialias=True)[0] > 0.5
