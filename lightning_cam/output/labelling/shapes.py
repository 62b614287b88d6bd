"""`Shape`: a box or an outline that was drawn on an image, and the mask that shapes make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_cam.probe.annotations.rasterize import fill_polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS = ("box", "outline")
_MOST_SHAPES, _MOST_POINTS = 64, 4096
_CORNERS = 3
_FAR = 1e6  # no share of an image's side; false for NaN too

Refine = Callable[["Shape", "NDArray[np.bool_]"], "NDArray[np.bool_]"]


@dataclass(frozen=True)
class Shape:
    """What was drawn in one go.

    Attributes:
        kind: `box` or `outline`.
        points: `x, y` as shares of the image's width and height; two corners of a box.
        refine: whether GrabCut looks for the object inside; else all inside is object.
        erase: whether the area is taken away instead; never refined.
    """

    kind: str
    points: tuple[tuple[float, float], ...]
    refine: bool = True
    erase: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "points": [list(point) for point in self.points]}

    def area(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return what is inside, (height, width) bool."""
        points = np.array(self.points)
        if self.kind == "box":
            (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
            points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        return fill_polygon(points * (width, height), height, width)


def parse_shapes(content: Any) -> tuple[Shape, ...]:
    """Return the shapes in what a page sent or a file holds.

    Raises:
        ValueError: something else, or too many of them.
    """
    if not isinstance(content, list) or len(content) > _MOST_SHAPES:
        raise ValueError(f"expected a list of at most {_MOST_SHAPES} shapes")
    return tuple(_parse(each) for each in content)


def _parse(content: Any) -> Shape:
    if not isinstance(content, dict) or content.get("kind") not in _KINDS:
        raise ValueError("expected a shape of kind 'box' or 'outline'")
    kind, points = content["kind"], content.get("points")
    least, most = (2, 2) if kind == "box" else (_CORNERS, _MOST_POINTS)
    if not isinstance(points, list) or not least <= len(points) <= most:
        raise ValueError(f"expected {least} to {most} points of a {kind}")
    flags = content.get("refine", True), content.get("erase", False)
    if not all(isinstance(flag, bool) for flag in flags):
        raise ValueError("expected refine and erase as true or false")
    return Shape(kind, tuple(map(_point, points)), *flags)


def _point(content: Any) -> tuple[float, float]:
    pair: list[Any] = content if isinstance(content, list) else []
    if len(pair) != 2 or not all(type(n) in (int, float) and abs(n) < _FAR for n in pair):  # noqa: PLR2004
        raise ValueError("expected points as pairs of numbers")
    x, y = (min(1.0, max(0.0, float(number))) for number in pair)
    return x, y


def mask_of(
    shapes: Sequence[Shape], height: int, width: int, refine: Refine
) -> tuple[NDArray[np.bool_], str]:
    """Return the mask that shapes make one after another, and what should be said about the last.

    Args:
        shapes: in the order in which they were drawn.
        height: of the mask in pixels.
        width: of the mask in pixels.
        refine: returns the object inside of a shape, given it and its area.

    Returns:
        (height, width) bool, and a sentence or an empty string.
    """
    mask = np.zeros((height, width), dtype=bool)
    note = ""
    for shape in shapes:
        area = shape.area(height, width)
        note = "" if area.any() else "too small: there is no pixel inside"
        if shape.erase:
            mask &= ~area
            continue
        if shape.refine and area.any():
            found = refine(shape, area)
            note = "" if found.any() else "no object was found inside: all of it is taken"
            area = found if found.any() else area
        mask |= area
    return mask, note
