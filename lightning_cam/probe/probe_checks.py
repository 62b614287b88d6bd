"""Checks of the arguments of `Probe`: each returns a copy, or raises with what it expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lightning_cam.probe.columns import plain
from lightning_cam.probe.regions import xyxy
from lightning_cam.runtime.checks import as_class_indices, as_multi_label
from lightning_cam.runtime.messages import describe


def own(tensor: Tensor) -> Tensor:
    """Return a detached copy that nothing else writes to."""
    with torch.inference_mode(mode=False):
        return plain(tensor).detach().clone(memory_format=torch.contiguous_format)


def checked_targets(
    targets: Tensor | Sequence[int] | None, count: int, names: tuple[str, ...] | None
) -> Tensor | None:
    """Return labels as (B,) int64 or (B, K) bool."""
    if targets is None:
        return None
    values = torch.as_tensor(targets)
    if values.ndim == 2:  # noqa: PLR2004
        return own(as_multi_label(values, count))
    values = as_class_indices(values, count)
    if names is not None and int(values.max()) >= len(names):
        raise ValueError(
            f"expected targets below {len(names)}, the number of class names, got "
            f"{int(values.max())}"
        )
    return own(values)


def checked_masks(masks: Tensor | None, images: Tensor) -> Tensor | None:
    """Return masks as (B, H, W) bool."""
    if masks is None:
        return None
    if not isinstance(masks, Tensor):
        raise TypeError(f"expected masks as a tensor (B, H, W), got {describe(masks)}")
    count, _, height, width = images.shape
    if masks.ndim == 4 and masks.shape[1] == 1:  # noqa: PLR2004
        masks = masks[:, 0]
    if masks.shape != (count, height, width):
        raise ValueError(
            f"expected masks of the images' size, shape {(count, height, width)}, got "
            f"{describe(masks)}"
        )
    if masks.dtype == torch.uint8 and int(masks.max()) <= 1:
        masks = masks.bool()
    if masks.dtype != torch.bool:
        raise ValueError(f"expected boolean masks, true on the object, got {describe(masks)}")
    return own(masks)


def checked_boxes(
    boxes: Tensor | Sequence[Tensor] | None, images: Tensor
) -> tuple[Tensor, ...] | None:
    """Return one (n, 4) tensor `x1, y1, x2, y2` per image."""
    if boxes is None:
        return None
    if isinstance(boxes, Tensor) and boxes.ndim == 2:  # noqa: PLR2004
        boxes = boxes[:, None]
    count = len(images)
    if len(boxes) != count:
        raise ValueError(f"expected boxes for each of {count} images, got {len(boxes)}")
    corners = [xyxy(each) if isinstance(each, Tensor) else each for each in boxes]
    for i, each in enumerate(corners):
        if not isinstance(each, Tensor) or each.ndim != 2 or each.shape[1] != 4:  # noqa: PLR2004
            raise ValueError(f"expected boxes of shape (n, 4), got {describe(each)} for image {i}")
        if bool((each[:, 2:] < each[:, :2]).any()):
            raise ValueError(
                "expected boxes as x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got "
                f"{each.tolist()} for image {i}"
            )
        if not bool(each.isfinite().all()):
            raise ValueError(f"expected finite boxes, got {each.tolist()} for image {i}")
    return tuple(own(each) for each in corners)


def checked_box_labels(
    labels: Sequence[Tensor] | None, boxes: tuple[Tensor, ...] | None
) -> tuple[Tensor, ...] | None:
    """Return the classes of the boxes, one (n,) tensor per image."""
    if labels is None:
        return None
    counts = [len(each) for each in boxes or ()]
    if [len(each) for each in labels] != counts:
        raise ValueError(
            f"expected a label for each box, {counts} per image, got "
            f"{[len(each) for each in labels]}"
        )
    return tuple(own(torch.as_tensor(each, dtype=torch.long)) for each in labels)


def numbered(count: int) -> tuple[str, ...]:
    """Return the names of images that have none: numbers of two digits or more."""
    digits = max(2, len(str(count - 1)))
    return tuple(f"{i:0{digits}d}" for i in range(count))


def checked_ids(ids: Iterable[str] | None, count: int) -> tuple[str, ...]:
    """Return a different name for each image, numbers by default."""
    if ids is None:
        return numbered(count)
    names = tuple(str(i) for i in ids)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(
            f"expected {count} different ids, got {len(set(names))} different of {len(names)}"
        )
    return names
