"""Tensors in the containers that models return: tuples, dicts, dataclasses, named tuples."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def map_tensors(value: Any, fn: Callable[[str, Tensor], Tensor], path: str = "") -> Any:
    """Return `value` with each tensor inside replaced by `fn(path, tensor)`.

    Paths are written like indexing: `""` for a bare tensor, `"[0]"`, `"[feat]"`, `"[0][feat]"`.
    Containers are rebuilt as their own type (a Hugging Face output stays one); anything else is
    returned as it is.
    """
    if isinstance(value, Tensor):
        return fn(path, value)
    if isinstance(value, Mapping):
        rebuilt: Any = copy.copy(value)
        for key in list(value):
            rebuilt[key] = map_tensors(value[key], fn, f"{path}[{key}]")
        return rebuilt
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named: Any = value  # a named tuple is built from its fields one by one
        items = (map_tensors(v, fn, f"{path}[{k}]") for k, v in named._asdict().items())
        return type(value)(*items)
    if isinstance(value, (list, tuple)):
        return type(value)([map_tensors(v, fn, f"{path}[{i}]") for i, v in enumerate(value)])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {
            f.name: map_tensors(getattr(value, f.name), fn, f"{path}[{f.name}]")
            for f in dataclasses.fields(value)
            if f.init
        }
        return dataclasses.replace(value, **changes)
    return value


def normal(tensor: Tensor) -> Tensor:
    """Return a tensor that can be part of a graph: inference tensors are copied."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(mode=False):
        return tensor.clone()


def tensors_in(value: Any) -> list[tuple[str, Tensor]]:
    """Return the tensors inside `value` with their paths, in order."""
    found: list[tuple[str, Tensor]] = []

    def record(path: str, tensor: Tensor) -> Tensor:
        found.append((path, tensor))
        return tensor

    if isinstance(value, (Tensor, Mapping, Sequence)) or dataclasses.is_dataclass(value):
        map_tensors(value, record)
    return found
