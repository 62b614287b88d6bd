"""`read_sample`: which entry of a dataset's item is the image, the label, the mask, the boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_IMAGE_KEYS = ("image", "images", "img", "x", "input", "inputs", "pixel_values", "data")
_LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class", "cls")
_MASK_KEYS = ("mask", "masks", "segmentation", "foreground", "seg")
_BOX_KEYS = ("boxes", "box", "bbox", "bboxes")


@dataclass
class Sample:
    """What was found in one item.

    Attributes:
        image: (C, H, W) floating point, or None.
        label: class index, or a (K,) vector of 0 and 1 for several labels, or None.
        mask: (H, W) boolean, or None.
        boxes: (n, 4) `x1, y1, x2, y2`, or None.
    """

    image: Tensor | None = None
    label: int | Tensor | None = None
    mask: Tensor | None = None
    boxes: Tensor | None = None


def read_sample(item: Any) -> Sample:
    """Return what a dataset's item holds, found by type, key and shape; the first match counts."""
    sample = Sample()
    for key, value in _entries(item, ""):
        _assign(sample, key, value)
    return sample


def _entries(item: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(item, Mapping):
        for name, value in item.items():
            yield from _entries(value, str(name).lower())
    elif isinstance(item, Sequence) and not isinstance(item, str):
        numbers = bool(item) and all(isinstance(v, (int, float)) for v in item)
        if numbers:
            yield key, torch.as_tensor(item)
        else:
            for value in item:
                yield from _entries(value, key)
    else:
        yield key, item


def _assign(sample: Sample, key: str, value: Any) -> None:
    """Assign `value` to the field that it fits, unless that has a value already."""
    value = _converted(value)
    if isinstance(value, int) and (not key or key in _LABEL_KEYS):
        sample.label = value if sample.label is None else sample.label
    if not isinstance(value, Tensor):
        return
    kind = type(value).__name__
    if value.ndim == 1 and key in ("", *_LABEL_KEYS) and _zeros_and_ones(value):
        sample.label = plain(value) if sample.label is None else sample.label
    elif kind == "BoundingBoxes" or key in _BOX_KEYS:
        sample.boxes = xyxy(value).float().reshape(-1, 4) if sample.boxes is None else sample.boxes
    elif kind == "Mask" or key in _MASK_KEYS or (not key and _looks_like_mask(value)):
        sample.mask = _one_mask(value) if sample.mask is None else sample.mask
    elif value.is_floating_point() and value.ndim == 3 and (not key or key in _IMAGE_KEYS):  # noqa: PLR2004
        sample.image = plain(value) if sample.image is None else sample.image


def _converted(value: Any) -> Any:
    """Return arrays as tensors, and single integers of any kind as int."""
    if hasattr(value, "__array_interface__") and not hasattr(value, "convert"):  # not a PIL image
        value = torch.as_tensor(value)
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_floating_point():
        return int(value)
    return value


def _looks_like_mask(value: Tensor) -> bool:
    """Return whether an unnamed tensor is an (H, W) mask: bool, or integers 0 and 1."""
    if not (value.ndim == 2 or (value.ndim == 3 and value.shape[0] == 1)):  # noqa: PLR2004
        return False
    return not value.is_floating_point() and _zeros_and_ones(value)


def _zeros_and_ones(value: Tensor) -> bool:
    return bool(((value == 0) | (value == 1)).all())


def _one_mask(value: Tensor) -> Tensor:
    """Return one (H, W) bool mask: the union of several instances; any non-zero value is object."""
    mask: Tensor = plain(value) != 0
    return mask.any(dim=0) if mask.ndim == 3 else mask  # noqa: PLR2004


def xyxy(boxes: Tensor) -> Tensor:
    """Return boxes of any `tv_tensors` format as a plain (n, 4) tensor of `x1, y1, x2, y2`."""
    form = str(getattr(getattr(boxes, "format", None), "value", "XYXY"))
    corners = plain(boxes)
    if form == "XYXY":
        return corners
    from torchvision.ops import box_convert  # heavy, and seldom needed

    converted: Tensor = box_convert(corners.float().reshape(-1, 4), form.lower(), "xyxy")
    return converted


def plain(tensor: Tensor) -> Tensor:
    """Return a `tv_tensor` as a plain tensor."""
    return tensor.as_subclass(Tensor)
