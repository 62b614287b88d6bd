"""`Column`: one field of a batch or of a data set's items, with a value per sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lightning_cam.runtime.containers import tensors_in

_CHANNELS_LAST = (1, 3, 4)  # channels of an image whose last axis they are
_IMAGE_NDIM = 3
_MIN_SIDE = 8  # of an image


class Items(list[Any]):
    """The items of a data set as they are, in place of a collated batch."""


@dataclass(frozen=True)
class Column:
    """One field, such as the labels, of several samples.

    Attributes:
        path: where it is, written like indexing: `""`, `"[0]"`, `"[targets][boxes]"`.
        values: one per sample; numbers, tensors, arrays, PIL images, text or anything else.
    """

    path: str
    values: tuple[Any, ...]

    @property
    def key(self) -> str:
        """The last name in the path, in lower case; empty where it has only positions."""
        steps = [step for step in self.path.strip("[]").split("][") if step]
        names = [step for step in steps if not step.lstrip("-").isdigit()]
        return names[-1].lower() if names else ""

    @cached_property
    def kinds(self) -> set[str]:
        """The class names of its values."""
        return {type(value).__name__ for value in self.values}

    @cached_property
    def tensors(self) -> tuple[Tensor, ...] | None:
        """Its values as tensors with their own type, None where one is not numeric."""
        found = [_as_tensor(value) for value in self.values]
        return None if any(each is None for each in found) else tuple(found)  # type: ignore[arg-type]

    @cached_property
    def images(self) -> tuple[Tensor, ...] | None:
        """Its values as images (C, H, W) of any size, None where they are none.

        PIL images and uint8 arrays with the channels last are converted.
        """
        found = [_as_image(value) for value in self.values]
        return None if any(each is None for each in found) else tuple(found)  # type: ignore[arg-type]

    @cached_property
    def numbers(self) -> tuple[float, ...] | None:
        """Its values as numbers, where each is one: a scalar, or a tensor of one element."""
        tensors = self.tensors
        if tensors is None or any(t.numel() != 1 or t.ndim > 1 for t in tensors):
            return None
        return tuple(float(t) for t in tensors)

    @cached_property
    def vectors(self) -> Tensor | None:
        """Its values as (B, K) where each is a vector of the same length K ≥ 2."""
        tensors = self.tensors
        if tensors is None or any(t.ndim != 1 or len(t) < 2 for t in tensors):  # noqa: PLR2004
            return None
        return torch.stack([plain(t) for t in tensors]) if _same_shape(tensors) else None

    @property
    def parent(self) -> str:
        """The path of the container that holds it."""
        return self.path.rpartition("[")[0]

    def take(self, rows: Sequence[int]) -> Column:
        """Return the column of some of its samples."""
        return Column(self.path, tuple(self.values[row] for row in rows))

    def portable(self) -> Column | None:
        """Return the column with values that every process can read, None where there are none.

        Images become tensors; numbers, tensors and text stay as they are.
        """
        if self.images is not None and not any(isinstance(v, Tensor) for v in self.values):
            return Column(self.path, self.images)
        simple = self.tensors is not None or self.kinds <= {"str", "int", "float", "bool"}
        return Column(self.path, self.values) if simple else None


def columns_of_items(items: Sequence[Any]) -> dict[str, Column]:
    """Return the columns that all items of a data set have, by path."""
    rows = [dict(_leaves(item, "")) for item in items]
    paths = [path for path in rows[0] if all(path in row for row in rows)] if rows else []
    return {path: Column(path, tuple(row[path] for row in rows)) for path in paths}


def columns_of_batch(batch: Any, count: int) -> dict[str, Column]:
    """Return the columns of a collated batch of `count` samples, by path."""
    if _is_list_of_items(batch, count):
        return columns_of_items(batch)
    found: dict[str, Column] = {}
    for path, values in _fields(batch, "", count):
        if isinstance(values, Tensor):
            found[path] = Column(path, tuple(values.unbind(0)))
        else:
            nested = columns_of_items(values)
            found |= {f"{path}{p}": Column(f"{path}{p}", c.values) for p, c in nested.items()}
    return found


def join(parts: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """Return the columns that all parts have, with the samples of one part after another's."""
    paths = [path for path in parts[0] if all(path in part for part in parts)] if parts else []
    joined = {path: [value for part in parts for value in part[path].values] for path in paths}
    return {path: Column(path, tuple(values)) for path, values in joined.items()}


def count_of(batch: Any) -> int:
    """Return the number of samples in a batch.

    The number of its images (B, C, H, W), or of images or items in a list; else the length of the
    first tensor that has one.
    """
    tensors = [tensor for _, tensor in tensors_in(batch)]
    whole = next((len(tensor) for tensor in tensors if tensor.ndim == _IMAGE_NDIM + 1), 0)
    return whole or _count_listed(batch) or next((len(t) for t in tensors if t.ndim), 0)


def _count_listed(batch: Any) -> int:
    """Return the length of a list of images (C, H, W), or of items with one; 0 without any."""
    if isinstance(batch, Mapping):
        batch = tuple(batch.values())
    if not isinstance(batch, (list, tuple)) or not batch:
        return 0
    images = all(isinstance(each, Tensor) and _has_image(each) for each in batch)
    items = isinstance(batch, list) and not any(isinstance(each, Tensor) for each in batch)
    if images or (items and all(map(_has_image, batch))):
        return len(batch)
    return next((count for count in map(_count_listed, batch) if count), 0)


def _has_image(value: Any) -> bool:
    return any(tensor.ndim == _IMAGE_NDIM for _, tensor in tensors_in(value))


def plain(tensor: Tensor) -> Tensor:
    """Return a `tv_tensor` as a plain tensor."""
    return tensor.as_subclass(Tensor)


def _leaves(item: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield what is inside one item with its path; a list of numbers is one leaf."""
    for key, value in _entries(item):
        yield from _leaves(value, f"{path}[{key}]")
    if not _entries(item):
        yield path, item


def _fields(batch: Any, path: str, count: int) -> Iterator[tuple[str, Any]]:
    """Yield tensors of `count` rows, and lists of `count` values, inside a batch."""
    if isinstance(batch, Tensor):
        if batch.ndim and len(batch) == count:
            yield path, batch
        return
    a_list = isinstance(batch, (list, tuple)) and len(batch) == count and path
    if a_list and not any(isinstance(v, Tensor) and v.ndim and len(v) == count for v in batch):
        yield path, batch
        return
    for key, value in _entries(batch):
        yield from _fields(value, f"{path}[{key}]", count)


def _is_list_of_items(batch: Any, count: int) -> bool:
    """Return whether a loader's collate function returned the list of items as it is."""
    if isinstance(batch, Items):
        return True
    if not isinstance(batch, (list, tuple)) or len(batch) != count or hasattr(batch, "_fields"):
        return False
    paths = [[path for path, _ in _leaves(item, "")] for item in batch]
    return len(paths[0]) > 1 and all(each == paths[0] for each in paths)


def _entries(value: Any) -> list[tuple[Any, Any]]:
    """Return what a container holds by key or position, empty for anything else."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (list, tuple)):
        numbers = value and all(isinstance(v, (int, float)) for v in value)
        return [] if numbers else list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    return []


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, str) or hasattr(value, "convert"):  # a PIL image is no field of numbers
        return None
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _as_image(value: Any) -> Tensor | None:
    if hasattr(value, "convert") and hasattr(value, "getbands"):  # PIL
        import numpy as np

        # A copy: torch warns of arrays that cannot be written to, as PIL's.
        value = np.array(value if value.mode in ("L", "RGB", "F") else value.convert("RGB"))
        value = value[..., None] if value.ndim == 2 else value  # noqa: PLR2004
        return torch.as_tensor(value).permute(2, 0, 1)
    tensor = _as_tensor(value)
    if tensor is None or tensor.ndim != _IMAGE_NDIM or type(value).__name__ == "Mask":
        return None
    if not tensor.is_floating_point() and not is_integer(tensor):
        return None
    if is_integer(tensor) and tensor.dtype != torch.uint8:
        # Other integers may be images, of few channels.
        channels = min(tensor.shape[0], tensor.shape[2])
        return plain(tensor) if channels in _CHANNELS_LAST else None
    last = tensor.shape[2] in _CHANNELS_LAST and tensor.shape[0] not in _CHANNELS_LAST
    if isinstance(value, Tensor):  # which are seldom so, and may be small maps of many features
        last = is_channels_last(tensor)
    return plain(tensor.permute(2, 0, 1) if last else tensor)


def is_integer(tensor: Tensor) -> bool:
    """Return whether a tensor holds integers, truth values aside."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def is_channels_last(value: Any) -> bool:
    """Return whether a value is a tensor (H, W, C) of an image."""
    if not isinstance(value, Tensor) or value.ndim != _IMAGE_NDIM:
        return False
    return value.shape[2] in _CHANNELS_LAST and min(value.shape[:2]) >= _MIN_SIDE


def _same_shape(tensors: Sequence[Tensor]) -> bool:
    return len({tensor.shape for tensor in tensors}) == 1
