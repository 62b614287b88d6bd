"""`find_roles`: which column of the data is the image, which the label, the masks, the boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from lightning_cam.probe.columns import Column

_IMAGE_KEYS = (
    "image", "images", "img", "imgs", "x", "input", "inputs", "pixel_values", "data", "rgb",
    "photo", "picture", "pixels",
)  # fmt: skip
_LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class", "cls", "class_label")
_MASK_KEYS = ("mask", "masks", "segmentation", "segmentation_mask", "foreground", "seg")
# Say where an image ends and padding begins, not where objects are.
_VALID_KEYS = ("pixel_mask", "attention_mask", "padding_mask", "valid_mask", "bool_masked_pos")
_BOX_KEYS = ("boxes", "box", "bbox", "bboxes")
# Numbers that data sets hold beside the label.
_OTHER_KEYS = (
    "id", "ids", "idx", "index", "indices", "image_id", "sample_id", "patient", "patient_id",
    "area", "iscrowd", "height", "width", "size", "orig_size", "path", "weight", "weights", "age",
    "fold",
)  # fmt: skip
_MIN_UNIQUE = 4  # samples from which labels that all differ look like the samples' numbers
_IMAGE_NDIM = 3
_BOX_SIDES = 4


@dataclass(frozen=True)
class Roles:
    """The columns of a probe, each None where there is none.

    Attributes:
        image: images (C, H, W).
        label: a class index, a vector of 0 and 1, or a vector of probabilities per sample.
        mask: (H, W) or (n, H, W) per sample, boolean or class indices.
        boxes: (n, 4) per sample.
        box_labels: (n,) classes of the boxes.
        other_labels: paths of columns that might have been the label.
        misfit: path of masks that have another size than the images; empty where there are none.
    """

    image: Column | None = None
    label: Column | None = None
    mask: Column | None = None
    boxes: Column | None = None
    box_labels: Column | None = None
    other_labels: tuple[str, ...] = ()
    misfit: str = ""

    def or_else(self, other: Roles) -> Roles:
        """Return these roles, with those of `other` where one is missing."""
        missing = ("image", "label", "mask")
        changes = {name: getattr(other, name) for name in missing if getattr(self, name) is None}
        if self.boxes is None:  # boxes and their labels belong together
            changes |= {"boxes": other.boxes, "box_labels": other.box_labels}
        return replace(self, **changes)


def find_roles(
    columns: Mapping[str, Column],
    *,
    listed: Sequence[int] | None = None,
    indices: Sequence[int] | None = None,
) -> Roles:
    """Return the role of each column, by type, name, values and order.

    Args:
        columns: of a batch or of a data set's items.
        listed: the samples' labels that the data set holds apart from its items.
        indices: the samples' places in the data set: such a column is no label.
    """
    image = _image_column(columns)
    rest = {path: column for path, column in columns.items() if column is not image}
    boxes = next((column for column in rest.values() if _is_boxes(column)), None)
    box_labels = None if boxes is None else _box_label_column(rest, boxes)
    mask = next((column for column in rest.values() if _is_mask(column, image)), None)
    found = Roles(image, None, mask, boxes, box_labels)
    if mask is None and image is not None:
        misfits = [
            path
            for path, column in rest.items()
            if _is_called_mask(column)
            and all(t.ndim > 1 for t in column.tensors or [torch.empty(0)])
        ]
        found = replace(found, misfit=next(iter(misfits), ""))
    taken = [id(column) for column in (boxes, box_labels, mask) if column is not None]
    labels = [
        column
        for column in rest.values()
        if id(column) not in taken and is_label(column) and not _equals(column, indices)
    ]
    labels.sort(key=lambda column: _label_rank(column, listed))  # stable: else by order
    ranks = [_label_rank(column, listed) for column in labels]
    if not ranks or ranks[0] == _UNLIKELY:
        return found
    label = labels[0]  # batches of several loaders that come together have labels of their own
    beside = [c for c, rank in zip(labels, ranks, strict=True) if rank == ranks[0]][1:]
    others = tuple(c.path for c in beside if c.parent == label.parent)
    return replace(found, label=label, other_labels=others)


def _image_column(columns: Mapping[str, Column]) -> Column | None:
    def rank(column: Column) -> tuple[bool, ...]:
        images = column.images or ()
        others = any(not i.is_floating_point() and i.dtype != torch.uint8 for i in images)
        binary = all(bool(((image == 0) | (image == 1)).all()) for image in images)
        named = column.key in _IMAGE_KEYS or "Image" in column.kinds
        depth = column.key != "" and all(len(image) == 1 for image in images)
        return (others, not named, binary, depth, column.key != "")

    found = [
        column
        for column in columns.values()
        if column.images is not None
        and column.key not in _MASK_KEYS
        and not column.kinds & {"Mask", "BoundingBoxes"}
    ]
    return min(found, key=rank) if found else None


def _is_boxes(column: Column) -> bool:
    if "BoundingBoxes" not in column.kinds and column.key not in _BOX_KEYS:
        return False
    tensors = column.tensors
    return tensors is not None and all(
        t.ndim in (1, 2) and (not t.numel() or t.shape[-1] == _BOX_SIDES) for t in tensors
    )


def _box_label_column(columns: Mapping[str, Column], boxes: Column) -> Column | None:
    counts = [b.numel() // _BOX_SIDES for b in boxes.tensors or ()]
    found = [
        column
        for column in columns.values()
        if column.key in _LABEL_KEYS
        and column.parent == boxes.parent
        and column.tensors is not None
        and [t.numel() for t in column.tensors] == counts
        and not any(t.is_floating_point() and t.numel() for t in column.tensors)
    ]
    return found[0] if found else None


def _is_mask(column: Column, image: Column | None) -> bool:
    tensors = column.tensors
    if tensors is None or image is None or image.images is None:
        return False
    sizes = [each.shape[-2:] for each in image.images]
    pairs = zip(tensors, sizes, strict=True)
    if not all(t.ndim in (2, _IMAGE_NDIM) and t.shape[-2:] == size for t, size in pairs):
        return False
    if _is_called_mask(column):
        return True
    if column.key in _VALID_KEYS or all(bool((t == 1).all()) for t in tensors):
        return False
    flat = all(t.ndim == 2 or len(t) == 1 for t in tensors)  # noqa: PLR2004
    integers = not any(t.is_floating_point() for t in tensors)
    binary = all(bool(((t == 0) | (t == 1)).all()) for t in tensors)
    return flat and (integers or binary)


def _is_called_mask(column: Column) -> bool:
    return "Mask" in column.kinds or column.key in _MASK_KEYS


# --- labels --------------------------------------------------------------------------------------

_UNLIKELY = 6
_LABEL_PARTS = ("label", "class", "target", "diagnosis", "grade", "finding", "category")
_LESSER_PARTS = ("coarse", "noisy", "super", "aux")
UNKNOWN = (-1.0, -100.0)  # stand for a label that is not known; the latter is what losses ignore


def is_label(column: Column) -> bool:
    """Return whether the values may be class indices, labels of 0 and 1, or class probabilities."""
    if column.numbers is not None:
        return all(number in UNKNOWN or number == round(number) >= 0 for number in known(column))
    vectors = column.vectors
    if vectors is None:
        return False
    vectors = vectors.nan_to_num() if vectors.is_floating_point() else vectors
    whole = not vectors.is_floating_point() or bool((vectors == vectors.round()).all())
    return whole or is_distribution(vectors)


def known(column: Column) -> list[float]:
    """Return the numbers of a column that are none of NaN, where it has numbers."""
    return [number for number in column.numbers or () if not math.isnan(number)]


def is_called_label(column: Column) -> bool:
    """Return whether a column has a name for labels."""
    return column.key in _LABEL_KEYS


def is_distribution(vectors: torch.Tensor) -> bool:
    """Return whether each row holds probabilities: none negative, their sum 1."""
    sums = vectors.double().sum(dim=1)
    return bool((vectors >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())  # noqa: PLR2004


def _label_rank(column: Column, listed: Sequence[int] | None) -> int:
    """Return how likely a column is the label, 0 the most."""
    if _equals(column, listed):
        return 0
    if column.key in _LABEL_KEYS:
        return 1
    if column.key in _OTHER_KEYS:
        return _UNLIKELY
    if any(part in column.key for part in _LABEL_PARTS):
        return 3 if any(part in column.key for part in _LESSER_PARTS) else 2
    numbers = column.numbers or ()
    all_differ = len(numbers) >= _MIN_UNIQUE and len(set(numbers)) == len(numbers)
    return 5 if all_differ else 4


def _equals(column: Column, values: Sequence[int] | None) -> bool:
    if values is None or column.numbers is None or len(values) < 2:  # noqa: PLR2004
        return False
    return list(column.numbers) == [float(value) for value in values]
