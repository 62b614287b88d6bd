"""`ImageAnnotation`: what was drawn on an image, in whatever tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lightning_cam.probe.annotations.rasterize import expand_runs, fill_polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray

RELATIVE = (1.0, 1.0)  # extent of coordinates that are shares of the image's sides
_LARGEST = 1e6  # coordinate
_CORNERS = 3  # that a polygon has at least
_OBJECT, _IGNORED = 0, 255  # least value of an object is above the first; PASCAL VOC's border


class Shape(Protocol):
    """An area of an image."""

    def mask(self, height: int, width: int, extent: tuple[float, float]) -> NDArray[np.bool_]:
        """Return the area's pixels, (height, width) bool.

        Args:
            height: of the image in pixels.
            width: of the image in pixels.
            extent: the image's height and width in the units of the shape's coordinates.
        """
        ...


@dataclass(frozen=True)
class Polygon:
    """A closed outline.

    Attributes:
        points: (n, 2) corners `x, y`.
    """

    points: NDArray[np.float64]

    def mask(self, height: int, width: int, extent: tuple[float, float]) -> NDArray[np.bool_]:
        """See `Shape`."""
        return fill_polygon(self.points * (width / extent[1], height / extent[0]), height, width)


@dataclass(frozen=True)
class Box:
    """A rectangle along the image's sides.

    Attributes:
        corners: `x1, y1, x2, y2`.
    """

    corners: tuple[float, float, float, float]

    def mask(self, height: int, width: int, extent: tuple[float, float]) -> NDArray[np.bool_]:
        """See `Shape`."""
        x1, y1, x2, y2 = self.corners
        points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        return Polygon(points).mask(height, width, extent)


@dataclass(frozen=True)
class Runs:
    """Pixels by run lengths.

    Attributes:
        counts: background first, then object, and so on.
        size: height and width of the mask that they fill.
        by_rows: row by row; by default column by column.
        offset: row and column of the mask's first pixel, where it is a part of the image.
    """

    counts: NDArray[np.int64]
    size: tuple[int, int]
    by_rows: bool = False
    offset: tuple[int, int] | None = None

    def mask(self, height: int, width: int, extent: tuple[float, float]) -> NDArray[np.bool_]:
        """See `Shape`."""
        pixels = expand_runs(self.counts, *self.size, by_rows=self.by_rows)
        if self.offset is not None:
            whole = np.zeros((round(extent[0]), round(extent[1])), dtype=bool)
            top, left = self.offset
            whole[top : top + self.size[0], left : left + self.size[1]] = pixels
            pixels = whole
        return sized(pixels, height, width)


@dataclass(frozen=True)
class MaskFile:
    """Pixels of an image file.

    Attributes:
        path: the file.
        value: of the object's pixels; None for all that are neither 0, transparent, nor in an
            image of palette indices 255.
    """

    path: Path
    value: int | None = None

    def mask(self, height: int, width: int, extent: tuple[float, float]) -> NDArray[np.bool_]:  # noqa: ARG002
        """See `Shape`.

        Raises:
            ValueError: the file is no image that can be read.
        """
        from PIL import Image, ImageOps

        try:
            with Image.open(self.path) as opened:
                picture = ImageOps.exif_transpose(opened)
                pixels = np.asarray(picture)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"cannot read the mask {self.path}: {error}") from error
        if self.value is not None:
            return sized((np.atleast_3d(pixels) == self.value).all(axis=2), height, width)
        found = object_pixels(pixels)
        if picture.mode == "P":
            found = found & (pixels != _IGNORED)
        return sized(found, height, width)


@dataclass(frozen=True)
class Region:
    """An area of an image and what it is.

    Attributes:
        shape: the area.
        label: name of its class; None where the format knows none.
    """

    shape: Shape
    label: str | None = None


@dataclass(frozen=True)
class ImageAnnotation:
    """What was drawn on an image.

    Attributes:
        name: the image's path or file name, with or without suffix, as the tool knows it.
        regions: in the tool's order.
        extent: the image's height and width in the units of the regions' coordinates.
    """

    name: str
    regions: tuple[Region, ...]
    extent: tuple[float, float] = RELATIVE


def object_pixels(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a mask's image is neither black nor transparent, (H, W) bool.

    Args:
        pixels: (H, W), or (H, W, C) of which the last of two or four is opacity.
    """
    channels = np.atleast_3d(pixels)
    if channels.shape[2] in (2, 4):
        channels = channels[:, :, :-1] * (channels[:, :, -1:] > 0)
    found: NDArray[np.bool_] = np.any(channels, axis=2)
    return found


def sized(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Return a mask in another size, each pixel the nearest one's value."""
    if mask.shape == (height, width):
        return mask
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for new, old in ((height, mask.shape[0]), (width, mask.shape[1]))
    )
    resized: NDArray[np.bool_] = mask[rows[:, None], columns[None, :]]
    return resized


# --- from what files hold -------------------------------------------------------------------------


def polygon(numbers: Sequence[Any]) -> Polygon:
    """Return the polygon of `x1, y1, x2, y2, ...`.

    Raises:
        ValueError: no three corners, or coordinates that are not finite.
    """
    values = coordinates(numbers)
    if len(values) % 2 or len(values) < 2 * _CORNERS:
        raise ValueError(f"expected a polygon of three or more x, y, got {len(values)} numbers")
    return Polygon(np.array(values).reshape(-1, 2))


def box(x1: Any, y1: Any, x2: Any, y2: Any) -> Box:
    """Return the box between two corners.

    Raises:
        ValueError: coordinates that are not finite, or corners in the wrong order.
    """
    left, top, right, bottom = coordinates((x1, y1, x2, y2))
    if right < left or bottom < top:
        raise ValueError(f"expected a box x1 <= x2, y1 <= y2, got {left}, {top}, {right}, {bottom}")
    return Box((left, top, right, bottom))


def turned(points: NDArray[np.float64], center: Sequence[float], degrees: float) -> Polygon:
    """Return points in pixels, clockwise turned around a centre."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return Polygon((points - center) @ turn + center)


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> Polygon:
    """Return an ellipse as a polygon of 64 corners."""
    angles = np.arange(64) * (2 * np.pi / 64)
    points = np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)
    return turned(points, (x, y), degrees)


def rectangle(x1: float, y1: float, x2: float, y2: float) -> NDArray[np.float64]:
    """Return the corners of a box, (4, 2)."""
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def coordinates(numbers: Sequence[Any]) -> list[float]:
    """Return numbers as floats.

    Raises:
        ValueError: no numbers, or numbers that no image's coordinates are.
    """
    values = [float(number) for number in numbers]
    if not all(abs(value) < _LARGEST for value in values):  # false for NaN too
        raise ValueError(f"expected coordinates in an image, got {values!r:.60}")
    return values
