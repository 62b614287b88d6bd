"""`preserve_generators`: restore the random generators that a dataset or its transforms hold."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

_MAX_OBJECTS = 10_000  # that are searched
_MAX_ITEMS = 1_000  # a longer list holds samples, not transforms
_LEAVES = (
    str,
    bytes,
    int,
    float,
    complex,
    torch.Tensor,
    np.ndarray,
    type,
    ModuleType,
    FunctionType,
)


@contextlib.contextmanager
def preserve_generators(dataset: Any) -> Iterator[None]:
    """Restore generators that belong to a dataset: Python's, NumPy's and torch's.

    Some augmentation libraries and datasets draw from their own generators instead of the global
    streams. Reading samples for a probe must not advance them.

    Args:
        dataset: searched through its attributes, lists and dicts, transforms included.
    """
    restores = [_restore_of(generator) for generator in _generators(dataset)]
    try:
        yield
    finally:
        for restore in restores:
            restore()


def _generators(root: Any) -> Iterator[Any]:
    waiting: list[Any] = [root]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_OBJECTS:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _LEAVES):
            continue
        seen.add(id(each))
        if isinstance(
            each, (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
        ):
            yield each
        else:
            waiting.extend(_parts(each))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values()) if len(value) <= _MAX_ITEMS else []
    if isinstance(value, (list, tuple, set)):
        return list(value) if len(value) <= _MAX_ITEMS else []
    held = getattr(value, "__dict__", None)
    return list(held.values()) if isinstance(held, dict) else []


def _restore_of(generator: Any) -> Callable[[], object]:
    """Return a function that restores a generator's present state."""
    if isinstance(generator, random.Random):
        python = generator.getstate()
        return lambda: generator.setstate(python)
    if isinstance(generator, np.random.Generator):
        bits, state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", state)
    state = generator.get_state()
    return lambda: generator.set_state(state)
