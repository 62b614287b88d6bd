"""`Layout`: where a layer's output has its height, width and channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_MAX_PREFIX_TOKENS = 17  # a class token and sixteen registers; more are not known
_MAX_ENLARGED = 8  # detectors enlarge small images before their first layer
_CELL_SLACK = 1.35  # cells; strides round up or down, so proportions are compared with slack
_PADDING_SLACK = 0.045  # detectors pad to multiples of 32 pixels
_PATCH_SLACK = 0.13  # relative difference of a token's height and width with padding


@dataclass(frozen=True)
class Layout:
    """How a layer's output is read as (B, C, H, W).

    Attributes:
        kind: `nchw`, `nhwc` or `tokens` (B, N, C).
        grid: height and width in cells.
        channels: number of channels.
        prefix: number of class, distillation and register tokens before those of the grid.
    """

    kind: Literal["nchw", "nhwc", "tokens"]
    grid: tuple[int, int]
    channels: int
    prefix: int = 0

    def to_bchw(self, value: Tensor) -> Tensor:
        """Return an activation or gradient of this layout as (B, C, H, W), without a copy."""
        if self.kind == "nchw":
            return value
        if self.kind == "nhwc":
            return value.permute(0, 3, 1, 2)
        batch, _, channels = value.shape
        return value[:, self.prefix :].transpose(1, 2).reshape(batch, channels, *self.grid)

    def zero_channel(self, value: Tensor, rows: slice, channel: int) -> None:
        """Set a channel to zero on the grid of some images, in place."""
        if self.kind == "nchw":
            value[rows, channel] = 0
        elif self.kind == "nhwc":
            value[rows, :, :, channel] = 0
        else:
            value[rows, self.prefix :, channel] = 0

    def __str__(self) -> str:
        h, w = self.grid
        notes = {"nchw": "", "nhwc": ", channels last", "tokens": ", tokens"}[self.kind]
        prefix = f" after {self.prefix} prefix" if self.prefix else ""
        return f"{self.channels}×{h}×{w}{notes}{prefix}"


def infer_layout(
    shape: tuple[int, ...],
    image_hw: tuple[int, int],
    *,
    distorted: bool = False,
    channels_last: Callable[[], bool | None] = lambda: None,
) -> Layout | None:
    """Return the layout of an output of `shape`, or None where it is not spatial.

    An output is spatial where its grid has more than one cell and the image's proportions. Four
    dimensions are read as channels first unless only channels last fits, or both do, as for
    (B, 96, 96, 96), and `channels_last` says so; three as tokens (B, N, C) with the fewest prefix
    tokens that leave a grid of the image's proportions.

    Args:
        shape: of the output.
        image_hw: the image's height and width.
        distorted: read four dimensions as channels first where nothing fits, as after a resize
            that changes the proportions.
        channels_last: says where both readings of four dimensions fit; None where it cannot tell.
    """
    if len(shape) == 4:  # noqa: PLR2004
        _, a, b, c = shape
        for fits in (_fits_exactly, _fits):
            first, last = fits((b, c), image_hw), fits((a, b), image_hw)
            if last and (not first or channels_last()):
                return Layout("nhwc", (a, b), c)
            if first:
                return Layout("nchw", (b, c), a)
        if distorted and b * c > 1:
            return Layout("nchw", (b, c), a)
    if len(shape) == 3:  # noqa: PLR2004
        _, n, c = shape
        for slack in (
            1e-6,
            _PATCH_SLACK,
        ):  # an exact grid after registers is preferred to a rough one
            for prefix in range(min(_MAX_PREFIX_TOKENS + 1, n)):
                grid = _grid_of(n - prefix, image_hw, slack)
                if grid is not None:
                    return Layout("tokens", grid, c, prefix)
    return None


def _fits_exactly(grid: tuple[int, int], image_hw: tuple[int, int]) -> bool:
    """Return whether a grid divides the image into equal squares."""
    (h, w), (H, W) = grid, image_hw
    return h * w > 1 and h * W == w * H and H % h == 0


def _fits(grid: tuple[int, int], image_hw: tuple[int, int]) -> bool:
    """Return whether a grid has more than one cell and the image's proportions."""
    (h, w), (H, W) = grid, image_hw
    if h * w <= 1 or h > _MAX_ENLARGED * H or w > _MAX_ENLARGED * W:
        return False
    slack = max(_CELL_SLACK * max(1.0, H / W), _PADDING_SLACK * h)
    return abs(h - w * H / W) < slack


def _grid_of(cells: int, image_hw: tuple[int, int], slack: float) -> tuple[int, int] | None:
    """Return the grid (h, w) of `cells` cells that are square up to `slack`, or None."""
    H, W = image_hw
    ideal = math.sqrt(cells * H / W)
    for h in (round(ideal), math.floor(ideal), math.ceil(ideal)):
        if cells > 1 and 0 < h <= H and cells % h == 0 and cells // h <= W:
            patch_h, patch_w = H / h, W * h / cells
            if abs(patch_h - patch_w) <= slack * max(patch_h, patch_w):
                return h, cells // h
    return None
