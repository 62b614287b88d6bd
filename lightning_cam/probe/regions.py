"""Objects of a probe: masks of the object, classes of pixels, boxes of any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_cam.probe.columns import Column, plain

IGNORED = 255  # stands for no class, as in PASCAL VOC and Cityscapes


@dataclass(frozen=True)
class Masks:
    """The masks of a probe and what they were taken for.

    Attributes:
        objects: (B, H, W) bool, true on the object.
        labels: (B,) the class that each mask is of, where masks hold classes; else None.
        note: what should be known about them, or empty.
    """

    objects: Tensor
    labels: Tensor | None = None
    note: str = ""


def masks_of(column: Column, labels: Tensor | None) -> Masks | str:
    """Return the masks in a column, or why there are none.

    Boolean masks, 0 and 1, and 0 and 255 are objects; several per image are united. Of 0, 1 and 255
    the value 255 is ignored. Any other integers are classes of pixels: the mask is that of the
    image's label where it has one, else of the class with the most pixels, 0 and 255 aside.

    Args:
        column: of masks, (H, W) or (n, H, W) per sample.
        labels: (B,) of the images, None where unknown.
    """
    tensors = [plain(t) for t in column.tensors or ()]
    if len({t.shape[-2:] for t in tensors}) > 1:
        return "masks of different sizes are not used"
    values = {int(v) for t in tensors for v in torch.unique(t).tolist()}
    instances = any(t.ndim == 3 and len(t) > 1 for t in tensors)  # noqa: PLR2004
    if any(t.is_floating_point() and bool((t != t.round()).any()) for t in tensors):
        note = "masks are not binary: above one half counts as the object"
        return Masks(torch.stack([_union(t > 0.5) for t in tensors]), note=note)  # noqa: PLR2004
    if values <= {0, 1, IGNORED} or instances:
        return _masks_of_objects(tensors, values, instances=instances)
    pixels = torch.stack([t[0] if t.ndim == 3 else t for t in tensors])  # noqa: PLR2004
    return _masks_of_classes(pixels, labels)


def _masks_of_objects(tensors: Sequence[Tensor], values: set[int], *, instances: bool) -> Masks:
    if values <= {0, IGNORED}:
        return Masks(torch.stack([_union(t == IGNORED) for t in tensors]))
    note = f"mask value {IGNORED} is ignored, never object" if IGNORED in values else ""
    if instances:
        return Masks(torch.stack([_union((t != 0) & (t != IGNORED)) for t in tensors]), note=note)
    return Masks(torch.stack([_union(t == 1) for t in tensors]), note=note)


def _masks_of_classes(pixels: Tensor, labels: Tensor | None) -> Masks | str:
    """Return for each image the pixels of one class.

    Args:
        pixels: (B, H, W) class of each pixel.
        labels: (B,) of the images, None where unknown.
    """
    if labels is not None and labels.ndim == 1:
        objects = pixels == labels[:, None, None]
        if bool(objects.flatten(1).any(dim=1).all()):
            return Masks(objects, note="masks hold classes of pixels: each image's own is taken")
        found = sorted(set(pixels.flatten().tolist()))
        return (
            f"masks hold the values {found[:8]}, not the images' labels, and are not used: give "
            "CAMCallback(probe=Probe(images, targets, masks=pixels == value))"
        )
    classes = torch.tensor([_largest_class(each) for each in pixels])
    note = "masks hold classes of pixels: each image's largest, 0 and 255 aside, is explained"
    return Masks(pixels == classes[:, None, None], classes, note)


def _largest_class(pixels: Tensor) -> int:
    values, counts = torch.unique(pixels, return_counts=True)
    object_class = (values != 0) & (values != IGNORED)
    if not bool(object_class.any()):
        return 0
    return int(values[object_class][counts[object_class].argmax()])


def _union(mask: Tensor) -> Tensor:
    return mask.any(dim=0) if mask.ndim == 3 else mask  # noqa: PLR2004


# --- boxes ---------------------------------------------------------------------------------------


def boxes_of(column: Column) -> tuple[tuple[Tensor, ...] | None, str]:
    """Return one (n, 4) tensor `x1, y1, x2, y2` per sample or None, and a note or nothing.

    `tv_tensors` say their format. Other boxes are corners, unless some of them would end before
    they begin: then they are taken for `x, y, width, height`.
    """
    tensors = column.tensors or ()
    if "BoundingBoxes" in column.kinds:
        return tuple(xyxy(each).float().reshape(-1, 4) for each in tensors), ""
    boxes = [each.float().reshape(-1, 4) for each in tensors]
    fractions = any(bool(((each > 0) & (each < 1)).any()) for each in boxes)
    if fractions and all(bool((each <= 1).all()) for each in boxes):
        return None, "boxes lie within 0 and 1, not in pixels, and are not used: give Probe(boxes=)"
    if not any(bool((each[:, 2:] < each[:, :2]).any()) for each in boxes):
        return tuple(boxes), ""
    corners = [torch.cat([each[:, :2], each[:, :2] + each[:, 2:]], dim=1) for each in boxes]
    return tuple(corners), "boxes are taken for x, y, width, height: as corners some were negative"


def xyxy(boxes: Tensor) -> Tensor:
    """Return boxes of any `tv_tensors` format as a plain (n, 4) tensor of `x1, y1, x2, y2`."""
    form = str(getattr(getattr(boxes, "format", None), "value", "XYXY"))
    corners = plain(boxes)
    if form == "XYXY":
        return corners
    from torchvision.ops import box_convert  # heavy, and seldom needed

    converted: Tensor = box_convert(corners.float().reshape(-1, 4), form.lower(), "xyxy")
    return converted


# --- one size ------------------------------------------------------------------------------------


def pad_to_one_size(images: Sequence[Tensor]) -> tuple[Tensor, str]:
    """Return (B, C, H, W) and a note: smaller images get zeros at the right and at the bottom.

    Args:
        images: (C, H, W) each, with the same number of channels.

    Raises:
        ValueError: images with different numbers of channels.
    """
    if len({each.shape[0] for each in images}) > 1:
        counts = sorted({each.shape[0] for each in images})
        raise ValueError(f"expected images with the same number of channels, got {counts}")
    height, width = (max(each.shape[axis] for each in images) for axis in (1, 2))
    if all(each.shape[1:] == (height, width) for each in images):
        return torch.stack(list(images)), ""
    padded = [pad(each, height, width) for each in images]
    note = f"images of different sizes are padded with zeros to {height}×{width}"
    return torch.stack(padded), note


def pad(image: Tensor, height: int, width: int) -> Tensor:
    """Return an image or mask (..., h, w) with zeros at its right and bottom, up to a size."""
    missing = (0, width - image.shape[-1], 0, height - image.shape[-2])
    return torch.nn.functional.pad(image, missing)
