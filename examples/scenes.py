"""Images drawn by code, so that the examples need no download: vehicles, chest films, shapes.

Every image has the exact mask, or the boxes, of what was drawn. The backgrounds of vehicles and
shapes are crops of the two photographs in the scikit-learn wheel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

Pixels = npt.NDArray[np.uint8]
Points = Sequence[tuple[float, float]]
SUBPIXEL = 4  # bits after the point in OpenCV's coordinates

# The upper outline of each kind on a unit square, x to the right and y down, front on the left.
# Wheels, lower body and windows are the same for all: only the roof line differs.
ROOFS: dict[str, Points] = {
    "sedan": ((0.22, 0.46), (0.36, 0.26), (0.64, 0.26), (0.80, 0.46)),
    "hatchback": ((0.22, 0.46), (0.36, 0.26), (0.84, 0.26), (0.96, 0.46)),
    "coupe": ((0.28, 0.46), (0.46, 0.30), (0.58, 0.30), (0.94, 0.46)),
    "estate": ((0.22, 0.46), (0.36, 0.26), (0.95, 0.26), (0.98, 0.46)),
    "pickup": ((0.20, 0.46), (0.32, 0.24), (0.54, 0.24), (0.56, 0.46)),
    "van": ((0.06, 0.46), (0.18, 0.12), (0.97, 0.12), (0.97, 0.46)),
}
BODY: Points = ((0.02, 0.48), (0.06, 0.44), (0.97, 0.44), (1.0, 0.5), (1.0, 0.66), (0.0, 0.66))
FINDINGS = ("nodule", "effusion", "infiltrate", "catheter")
SHAPES = ("disc", "square", "triangle")


class VehicleCrops(Dataset[tuple[Tensor, int, tv_tensors.Mask]]):
    """Side views of six kinds of vehicles, any colour, size, place and direction, on photographs.

    Args:
        per_class: images of each kind.
        seed: of everything drawn.
        side: height and width in pixels.

    Attributes:
        classes: names of the kinds.
        targets: class index of every image.
        transform: turns a `uint8` image into a normalised float image.
    """

    classes = tuple(ROOFS)

    def __init__(self, per_class: int, seed: int = 0, side: int = 64) -> None:
        rng = np.random.default_rng(seed)
        self.targets = [label for label in range(len(ROOFS)) for _ in range(per_class)]
        self._pixels = [photo_crop(rng, side) for _ in self.targets]
        self._masks = [
            _draw_vehicle(image, ROOFS[self.classes[label]], rng)
            for image, label in zip(self._pixels, self.targets, strict=True)
        ]
        self.transform = normalised((0.45,) * 3, (0.3,) * 3)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int, tv_tensors.Mask]:
        """Return the normalised image, the label and the mask of the vehicle."""
        image, mask = self.transform(as_image(self._pixels[index]), as_mask(self._masks[index]))
        return image.as_subclass(Tensor), self.targets[index], mask


class ChestFilms(Dataset[dict[str, Any]]):
    """Drawn frontal chest films with none to four findings each, without anatomical accuracy.

    Args:
        count: number of films.
        seed: of everything drawn.
        side: height and width in pixels.

    Attributes:
        classes: names of the findings.
        labels: (count, 4) of 0 and 1.
        transform: turns a `uint8` image into a normalised float image.
    """

    classes = FINDINGS

    def __init__(self, count: int, seed: int = 0, side: int = 96) -> None:
        rng = np.random.default_rng(seed)
        present = rng.random((count, len(FINDINGS))) < 0.25  # noqa: PLR2004 - a quarter has each
        self.labels = torch.from_numpy(present).float()
        drawn = [_draw_film(row, rng, side) for row in present]
        self._pixels, self._masks = [film for film, _ in drawn], [mask for _, mask in drawn]
        self.transform = normalised((0.5,) * 3, (0.25,) * 3)

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the normalised image in three equal channels, the labels and one mask of all."""
        film = cv2.cvtColor(self._pixels[index], cv2.COLOR_GRAY2RGB)
        image, mask = self.transform(as_image(film), as_mask(self._masks[index]))
        return {"image": image.as_subclass(Tensor), "label": self.labels[index], "mask": mask}


class ShapeScenes(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """One to three discs, squares and triangles of any colour on photographs, with their boxes.

    Items are what torchvision's detectors take: an image in 0 to 1 and a dict of `boxes`
    (n, 4) `x1, y1, x2, y2` and `labels` (n,), where 0 is left to the background.

    Args:
        count: number of images.
        seed: of everything drawn.
        side: height and width in pixels.
        most: largest number of shapes per image.
    """

    classes = ("background", *SHAPES)

    def __init__(self, count: int, seed: int = 0, side: int = 96, most: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self._pixels = [photo_crop(rng, side) for _ in range(count)]
        self._found = [
            [_draw_shape(image, rng) for _ in range(rng.integers(1, most + 1))]
            for image in self._pixels
        ]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image, and the boxes and labels of its shapes."""
        boxes = torch.tensor([box for box, _ in self._found[index]], dtype=torch.float32)
        labels = torch.tensor([label for _, label in self._found[index]])
        image = v2.functional.to_dtype(as_image(self._pixels[index]), torch.float32, scale=True)
        return image.as_subclass(Tensor), {"boxes": boxes, "labels": labels}


def normalised(mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """Return a transform that normalises an image and leaves its mask as it is."""
    to_float = {tv_tensors.Image: torch.float32, "others": None}  # a mask keeps its type
    return v2.Compose([v2.ToDtype(to_float, scale=True), v2.Normalize(mean, std)])


def as_image(pixels: Pixels) -> tv_tensors.Image:
    """Return (H, W, 3) pixels as an image (3, H, W)."""
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))


def as_mask(drawn: Pixels) -> tv_tensors.Mask:
    """Return an (H, W) mask, true where something was drawn."""
    return tv_tensors.Mask(torch.from_numpy(drawn > 0))


@lru_cache(maxsize=1)
def _photographs() -> tuple[Pixels, ...]:
    return tuple(load_sample_image(name) for name in ("china.jpg", "flower.jpg"))


def photo_crop(rng: np.random.Generator, side: int) -> Pixels:
    """Return a square of one of the photographs, (side, side, 3)."""
    photo = _photographs()[rng.integers(2)]
    top, left = (rng.integers(0, length - side + 1) for length in photo.shape[:2])
    return np.ascontiguousarray(photo[top : top + side, left : left + side])


def _paint(rng: np.random.Generator) -> tuple[int, int, int]:
    hue, saturation, value = rng.integers(180), rng.integers(40, 220), rng.integers(90, 230)
    pixel = np.array([[[hue, saturation, value]]], dtype=np.uint8)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _draw_vehicle(image: Pixels, roof: Points, rng: np.random.Generator) -> Pixels:
    """Draw a vehicle on an image and return its mask."""
    side = len(image)
    length = rng.uniform(0.55, 0.75) * side
    left = rng.uniform(0.02 * side, 0.98 * side - length)
    top = rng.uniform(0.1 * side, 0.9 * side - 0.75 * length)
    mirrored = rng.random() < 0.5  # noqa: PLR2004 - half of them
    paint = _paint(rng)
    mask = np.zeros((side, side), np.uint8)

    def at(points: Any) -> npt.NDArray[np.int32]:
        xy = np.array(points, dtype=float)
        xy[:, 0] = 1 - xy[:, 0] if mirrored else xy[:, 0]
        return np.round((xy * length + (left, top)) * 2**SUBPIXEL).astype(np.int32)

    def fill(points: Any, colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(image, [at(points)], colour, cv2.LINE_AA, SUBPIXEL)
        cv2.fillPoly(mask, [at(points)], 255, cv2.LINE_8, SUBPIXEL)

    def disc(x: float, radius: float, colour: tuple[int, int, int]) -> None:
        (center,), size = at([(x, 0.66)]).tolist(), int(radius * length * 2**SUBPIXEL)
        cv2.circle(image, center, size, colour, -1, cv2.LINE_AA, SUBPIXEL)
        cv2.circle(mask, center, size, 255, -1, cv2.LINE_8, SUBPIXEL)

    corners = np.array(roof)
    middle = corners.mean(axis=0)
    fill(roof, paint)
    fill(BODY, paint)
    fill(middle + (corners - middle) * (0.84, 0.62), (40, 50, 60))  # windows
    for x in (0.2, 0.8):
        disc(x, 0.11, (20, 20, 20))
        disc(x, 0.05, (170, 170, 170))
    return mask


def _draw_film(present: Any, rng: np.random.Generator, side: int) -> tuple[Pixels, Pixels]:
    """Return a film with the findings asked for, (side, side), and the mask of all of them."""
    film = np.full((side, side), 165.0)
    spread = rng.uniform(0.9, 1.1)
    lungs = [(0.5 + sign * 0.2 * spread, 0.48) for sign in (-1, 1)]
    size = (0.145 * spread, 0.32 * rng.uniform(0.92, 1.05))
    for center in lungs:
        film -= 110 * _ellipse(side, center, size, soft=0.03)
    for rib in np.arange(0.14, 0.86, 0.085) + rng.uniform(0, 0.03):
        film += 20 * _arch(side, rib)
    film += 70 * _ellipse(side, (0.55, 0.66), (0.13, 0.12), soft=0.03)  # the heart
    film += 25 * _ellipse(side, (0.5, 0.45), (0.05, 0.5), soft=0.02)  # the spine
    mask = np.zeros((side, side), bool)
    for finding, wanted in zip(FINDINGS, present, strict=True):
        center = lungs[rng.integers(2)]
        shade = _finding(finding, center, size, rng, side)
        if wanted:
            film += shade
            mask |= shade > 20  # noqa: PLR2004 - where it is visible
    film = cv2.GaussianBlur(film, (0, 0), 0.6) + rng.normal(0, 5, film.shape)
    return film.clip(0, 255).astype(np.uint8), mask.astype(np.uint8)


def _finding(
    name: str, lung: tuple[float, float], size: tuple[float, float], rng: Any, side: int
) -> npt.NDArray[np.float64]:
    """Return how much brighter a finding in a lung makes each pixel."""
    (x, y), (width, height) = lung, size
    place = (x + rng.uniform(-0.5, 0.5) * width, y + rng.uniform(-0.6, 0.3) * height)
    if name == "nodule":
        radius = rng.uniform(0.035, 0.05)
        return 120 * _ellipse(side, place, (radius, radius), soft=0.01)
    if name == "effusion":  # the base of the lung is filled
        level = y + rng.uniform(0.35, 0.6) * height
        below = np.linspace(0, 1, side)[:, None] > level
        return 95 * _ellipse(side, lung, size, soft=0.02) * below
    if name == "infiltrate":  # a cloud
        cloud = cv2.GaussianBlur(rng.random((side, side)), (0, 0), side / 40)
        cloud = (cloud - cloud.min()) / np.ptp(cloud)
        return 110 * cloud * _ellipse(side, place, (0.1, 0.13), soft=0.06)
    line = np.zeros((side, side), np.uint8)  # a catheter, from the neck into the chest
    start, bend = (0.5 + rng.uniform(0.1, 0.25), 0.02), (0.5, rng.uniform(0.25, 0.35))
    path = np.array([start, bend, (0.49, rng.uniform(0.5, 0.65))]) * side
    cv2.polylines(line, [path.astype(np.int32)], isClosed=False, color=255, thickness=2)
    return 0.5 * line.astype(np.float64)


def _grid(side: int) -> tuple[Any, Any]:
    return np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))


def _ellipse(
    side: int, center: tuple[float, float], radii: tuple[float, float], soft: float
) -> npt.NDArray[np.float64]:
    """Return 1 within an ellipse and 0 outside, in units of the image's side."""
    x, y = _grid(side)
    distance = np.hypot((x - center[0]) / radii[0], (y - center[1]) / radii[1])
    return np.asarray(1 / (1 + np.exp((distance - 1) * min(radii) / soft * 2)))


def _arch(side: int, height: float) -> npt.NDArray[np.float64]:
    """Return a pair of ribs."""
    x, y = _grid(side)
    line = height + 0.6 * (np.abs(x - 0.5) - 0.2) ** 2 + 0.1 * np.abs(x - 0.5)
    return np.asarray(np.exp(-(((y - line) / 0.012) ** 2)) * (np.abs(x - 0.5) < 0.38))  # noqa: PLR2004


def _draw_shape(image: Pixels, rng: np.random.Generator) -> tuple[list[float], int]:
    """Draw a shape on an image; return its box and its label."""
    side = len(image)
    radius = int(rng.integers(side // 10, side // 5))
    x, y = (int(v) for v in rng.integers(radius + 1, side - radius - 1, 2))
    label, paint = int(rng.integers(1, 1 + len(SHAPES))), _paint(rng)
    box = [x - radius, y - radius, x + radius, y + radius]
    if SHAPES[label - 1] == "disc":
        cv2.circle(image, (x, y), radius, paint, -1, cv2.LINE_AA)
    elif SHAPES[label - 1] == "square":
        cv2.rectangle(image, box[:2], box[2:], paint, -1)
    else:
        corners = np.array([(x, box[1]), (box[2], box[3]), (box[0], box[3])], np.int32)
        cv2.fillPoly(image, [corners], paint, cv2.LINE_AA)
    return [float(v) for v in box], label
