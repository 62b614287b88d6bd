"""From image files to the tensors that a model is fed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.runtime.image_files import (
    IMAGE_SUFFIXES,
    MAX_8_BIT,
    check_finite,
    converted,
    is_deep,
    read_image,
    white_of,
)

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from torch import Tensor


@dataclass(frozen=True)
class Preparation:
    """How an image file becomes a model's input.

    Attributes:
        size: height and width in pixels.
        mean: per channel, subtracted from pixels in 0 to 1.
        std: per channel, divided by.
        fit: `crop` or `squash`.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str = "crop"

    def image(self, file: Path) -> Tensor:
        """Return an image, (C, H, W) float32 as the model is fed.

        Raises:
            ValueError: the file is no image, cannot be read, or holds numbers of an unknown range.
        """
        import numpy as np
        import torch

        picture = read_image(file)
        if is_deep(picture):
            most = white_of(picture, file)
            picture = (picture.convert("I") if picture.mode[0] == "I" else picture).convert("F")
        else:
            most = MAX_8_BIT
            picture = converted(picture, "L" if len(self.mean) == 1 else "RGB")
        pixels = np.atleast_3d(np.array(self._fitted(picture), dtype=np.float32)) / most
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).clamp(0, 1)
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
        ready: Tensor = (tensor - mean) / std
        return ready.contiguous()

    def mask(self, file: Path) -> Tensor:
        """Return a mask, (H, W) bool: true where a pixel is not black."""
        import numpy as np
        import torch
        from PIL import Image

        from lightning_cam.probe.annotations.regions import object_pixels

        pixels = np.array(read_image(file))  # of a palette image the indices
        check_finite(pixels, file)
        marked = Image.fromarray((object_pixels(pixels) * MAX_8_BIT).astype(np.uint8))
        return torch.from_numpy(np.array(self._fitted(marked, sharp=True)) > 0)

    def _fitted(self, picture: Picture, *, sharp: bool = False) -> Picture:
        from PIL import Image, ImageOps

        how = Image.Resampling.NEAREST if sharp else Image.Resampling.BILINEAR
        width_first = (self.size[1], self.size[0])
        if self.fit == "crop":
            return ImageOps.fit(picture, width_first, how)
        return picture.resize(width_first, how)


def preparation(args: argparse.Namespace, expected: Any, channels: int) -> Preparation:
    """Return how images are prepared: as options say, else as the model expects.

    Args:
        args: with `size`, `mean`, `std` and `fit`.
        expected: a `models.Expected`.
        channels: of the model's images.

    Raises:
        ValueError: mean and std that are not one number or as many as there are channels.
    """
    mean = _for_channels("--mean", args.mean or expected.mean, channels, given=bool(args.mean))
    std = _for_channels("--std", args.std or expected.std, channels, given=bool(args.std))
    if min(std) <= 0:
        raise ValueError(f"expected --std above 0, got {','.join(map(str, std))}")
    return Preparation(args.size or expected.size, mean, std, args.fit)


def _for_channels(
    option: str, values: Sequence[float], channels: int, *, given: bool
) -> tuple[float, ...]:
    if len(values) == 1:
        return tuple(values) * channels
    if len(values) == channels:
        return tuple(values)
    if given:
        raise ValueError(f"expected {option} with 1 or {channels} numbers, got {len(values)}")
    return (round(sum(values) / len(values), 4),) * channels


def find_images(places: Iterable[str | Path], *, but: Path | None = None) -> dict[Path, Path]:
    """Return image files, each with its place relative to the folder it was found in.

    Args:
        places: files, whatever their names, and folders, which are searched with their subfolders
            in the order of names.
        but: a folder that is left out, since results are written there.

    Raises:
        ValueError: a path that does not exist, a folder without images, or a file that is no image.
    """
    found: dict[Path, Path] = {}
    for place in map(Path, places):
        if place.is_dir():
            inside = [path for path in _walk(place) if but is None or not _within(path, but)]
            if not inside:
                raise ValueError(f"expected images in {place}, got a folder without any")
            found.update({path: path.relative_to(place) for path in inside})
        elif place.is_file():
            found[place] = Path(place.name)
        else:
            raise ValueError(f"expected an image or a folder of images, got {place}: no such file")
    for path in found:
        read_image(path, whole=False)
    return found


def _walk(folder: Path) -> list[Path]:
    walked = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    return sorted(p for p in walked if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")


def _within(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents
