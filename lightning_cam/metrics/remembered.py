"""`remember_per_tensor`: for functions of maps that several metrics and evaluations call."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

F = TypeVar("F", bound=Callable[..., Tensor])


def remember_per_tensor(function: F) -> F:
    """Return a function that remembers its results as long as the tensor that it was called with.

    Each metric is a function of maps and masks alone, so that it can be read and used by itself; a
    dozen of them after each other ask for the same intermediate results, and the maps of earlier
    evaluations are compared with again and again. A result is forgotten with its tensor, and
    computed again where that was written to. Results must not be written to.
    """
    known: dict[tuple[Any, ...], tuple[weakref.ref[Tensor], int, Tensor]] = {}

    @functools.wraps(function)
    def remembered(tensor: Tensor, *args: Any) -> Tensor:
        if tensor.is_inference():
            return function(tensor, *args)  # these do not tell whether they were written to
        key = (id(tensor), *args)
        found = known.get(key)
        version = tensor._version  # noqa: SLF001 - counts what writes to it
        if found is not None and found[0]() is tensor and found[1] == version:
            return found[2]
        result = function(tensor, *args)
        forget = weakref.ref(tensor, lambda gone: _forget(known, key, gone))
        known[key] = forget, version, result
        return result

    return remembered  # type: ignore[return-value]


def _forget(known: dict[Any, Any], key: Any, gone: Any) -> None:
    """Forget a result, unless another tensor has taken the place of the one that is gone."""
    found = known.get(key)
    if found is not None and found[0] is gone:
        known.pop(key, None)
