"""`grabcut_masks`, `refined_mask`: masks estimated from the images themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_SIDE = 256  # GrabCut's time grows with the number of pixels, its quality hardly
_MARGIN = 0.1  # share of each side that is taken for background where there is no box
_ITERATIONS = 5
_MIN_SIDE = 5  # pixels per side that an object's rectangle needs


def grabcut_masks(
    displayed: Tensor, boxes: Sequence[Tensor] | None = None, seed: int = 0
) -> Tensor:
    """Return (B, H, W) boolean masks by GrabCut. Rother, Kolmogorov and Blake 2004.

    What is outside of an image's boxes, or near its edges where there are none, is background. An
    image in which no object is found has an empty mask, and so counts in no metric.

    Args:
        displayed: (B, 3, H, W) in 0 to 1.
        boxes: for each image (n, 4) `x1, y1, x2, y2` in pixels, or None.
        seed: of the initialisation of the colour models.
    """
    # OpenCV's random numbers are a thread's own: those of the training must not be advanced.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_grabcut_masks, displayed, boxes, seed).result()


def refined_mask(displayed: Tensor, region: Tensor, seed: int = 0) -> Tensor:
    """Return (H, W) bool: the object inside of a region by GrabCut; the rest is background.

    Args:
        displayed: (3, H, W) in 0 to 1.
        region: (H, W) bool, true where the object may be.
        seed: of the initialisation of the colour models.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:  # as above
        return thread.submit(_refined_mask, displayed, region, seed).result()


def _refined_mask(displayed: Tensor, region: Tensor, seed: int) -> Tensor:
    import cv2

    (pixels,) = _small_pixels(displayed[None])
    size = pixels.shape[:2]
    inside = F.interpolate(region[None, None].float(), size=size, mode="nearest")[0, 0] > 0
    start = np.where(inside.numpy(), cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    return _full_size([_cut(pixels, start, seed)], displayed.shape[1:])[0]


def _grabcut_masks(displayed: Tensor, boxes: Sequence[Tensor] | None, seed: int) -> Tensor:
    pixels_BHW3 = _small_pixels(displayed)
    size = pixels_BHW3.shape[1:3]
    scale = min(1.0, _MAX_SIDE / max(displayed.shape[2:]))
    masks = []
    for i, pixels in enumerate(pixels_BHW3):
        scaled = None if boxes is None or not len(boxes[i]) else boxes[i].float().cpu() * scale
        masks.append(_cut(pixels, _initial_labels(size, scaled), seed))
    return _full_size(masks, displayed.shape[2:])


def _small_pixels(displayed: Tensor) -> np.ndarray:
    """Return images as (B, h, w, 3) uint8, none of their sides longer than `_MAX_SIDE`."""
    height, width = displayed.shape[2:]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.interpolate(displayed.float().cpu(), size=size, mode="area")
    return small.permute(0, 2, 3, 1).mul(255).round().byte().numpy()


def _cut(pixels: np.ndarray, start: np.ndarray, seed: int) -> np.ndarray:
    """Return (h, w) bool: what GrabCut takes for the object of where it may be."""
    import cv2

    if (start == cv2.GC_PR_FGD).any() and (start == cv2.GC_BGD).any():
        cv2.setRNGSeed(seed)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        start = cv2.grabCut(bgr, start, None, *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)[0]
    found: np.ndarray = (start == cv2.GC_FGD) | (start == cv2.GC_PR_FGD)
    return found


def _full_size(masks: Sequence[np.ndarray], size: Sequence[int]) -> Tensor:
    found = torch.from_numpy(np.stack(masks))
    return F.interpolate(found[:, None].float(), size=tuple(size), mode="nearest")[:, 0] > 0


def _initial_labels(size: tuple[int, int], boxes: Tensor | None) -> np.ndarray:
    """Return where the object may be, (h, w) uint8 with OpenCV's labels."""
    import cv2

    start = np.full(size, cv2.GC_BGD, dtype=np.uint8)
    if boxes is None:
        y, x = (max(1, round(side * _MARGIN)) for side in size)
        rectangles = [(x, y, size[1] - x, size[0] - y)]
    else:
        rectangles = [tuple(round(v) for v in box) for box in boxes.tolist()]
    for x1, y1, x2, y2 in rectangles:
        if x2 - x1 >= _MIN_SIDE and y2 - y1 >= _MIN_SIDE:
            start[max(0, y1) : y2, max(0, x1) : x2] = cv2.GC_PR_FGD
    return start
