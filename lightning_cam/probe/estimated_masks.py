"""Masks that nobody drew: GrabCut on each image. They are marked as estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 256  # GrabCut's time grows with the pixels, its quality hardly
_MARGIN = 0.1  # of each side that is taken for background where no box is known
_ROUNDS = 5
_SMALLEST = 5  # pixels that an object's rectangle needs a side


def grabcut_masks(shown: Tensor, boxes: Sequence[Tensor] | None = None, seed: int = 0) -> Tensor:
    """Return (B, H, W) boolean masks by GrabCut. Rother, Kolmogorov and Blake 2004.

    What lies outside of an image's boxes, or near its edges where there are none, is background to
    start with. An image in which nothing is found keeps an empty mask and so counts nowhere.

    Args:
        shown: (B, 3, H, W) in 0 to 1.
        boxes: for each image (n, 4) `x1, y1, x2, y2` in pixels, or None.
        seed: of the colour models' start.
    """
    import cv2

    height, width = shown.shape[2:]
    scale = min(1.0, _LONGEST / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.interpolate(shown.float().cpu(), size=size, mode="area")
    pixels_BHW3 = small.permute(0, 2, 3, 1).mul(255).round().byte().numpy()
    masks = []
    for i, pixels in enumerate(pixels_BHW3):
        corners = None if boxes is None or not len(boxes[i]) else boxes[i].float().cpu() * scale
        start = _started(size, corners)
        if (start == cv2.GC_PR_FGD).any() and (start == cv2.GC_BGD).any():
            cv2.setRNGSeed(seed)
            models = np.zeros((1, 65)), np.zeros((1, 65))
            bgr = np.ascontiguousarray(pixels[:, :, ::-1])
            start = cv2.grabCut(bgr, start, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)[0]
        masks.append((start == cv2.GC_FGD) | (start == cv2.GC_PR_FGD))
    found = torch.from_numpy(np.stack(masks))
    return F.interpolate(found[:, None].float(), size=(height, width), mode="nearest")[:, 0] > 0


def _started(size: tuple[int, int], corners: Tensor | None) -> np.ndarray:
    """Return where the object may be, (h, w) uint8 in OpenCV's terms."""
    import cv2

    start = np.full(size, cv2.GC_BGD, dtype=np.uint8)
    if corners is None:
        y, x = (max(1, round(side * _MARGIN)) for side in size)
        rectangles = [(x, y, size[1] - x, size[0] - y)]
    else:
        rectangles = [tuple(round(v) for v in box) for box in corners.tolist()]
    for x1, y1, x2, y2 in rectangles:
        if x2 - x1 >= _SMALLEST and y2 - y1 >= _SMALLEST:
            start[max(0, y1) : y2, max(0, x1) : x2] = cv2.GC_PR_FGD
    return start
