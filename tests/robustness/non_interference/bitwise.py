"""Copies of nested state, and the places at which two of them differ by a single bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def snapshot(value: Any) -> Any:
    """Return a copy that later writes do not reach; arrays become tensors, tuples lists."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value.copy())
    if isinstance(value, dict):
        return {key: snapshot(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [snapshot(each) for each in value]
    return value


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Return the paths at which two snapshots differ by a bit, a type or an order."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return [] if _same_bits(first, second) else [path]
    if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
        pairs = [(first[key], second[key], f"{path}.{key}") for key in first]
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        zipped = enumerate(zip(first, second, strict=True))
        pairs = [(a, b, f"{path}[{n}]") for n, (a, b) in zipped]
    else:
        return [] if _same(first, second) else [path]
    return [found for pair in pairs for found in differences(*pair)]


def count_values(value: Any) -> int:
    """Return how many single values a snapshot holds."""
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, dict):
        return sum(count_values(each) for each in value.values())
    if isinstance(value, list):
        return sum(count_values(each) for each in value)
    return 1


def _same(first: Any, second: Any) -> bool:
    if type(first) is not type(second) or isinstance(first, (dict, list)):
        return False
    if isinstance(first, float) and first != first:  # noqa: PLR0124 - NaN
        return bool(second != second)  # noqa: PLR0124
    return bool(first == second)


def _same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    if (first.shape, first.dtype, first.device) != (second.shape, second.dtype, second.device):
        return False
    return torch.equal(_bits(first), _bits(second))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
