"""Random streams that a dataset or its transforms hold themselves, put back after sampling."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

_MOST = 10_000  # objects looked at
_LONGEST = 1_000  # a longer list holds samples, not transforms
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
    """Restore generators that hang on a dataset: Python's, NumPy's and torch's.

    Some augmentation libraries and datasets draw from generators of their own rather than from the
    global streams. Samples that are read for a probe must not move them.

    Args:
        dataset: looked through by its attributes, lists and dicts, transforms included.
    """
    restores = [_restore_of(stream) for stream in _streams(dataset)]
    try:
        yield
    finally:
        for restore in restores:
            restore()


def _streams(root: Any) -> Iterator[Any]:
    waiting: list[Any] = [root]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
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
        return list(value.values()) if len(value) <= _LONGEST else []
    if isinstance(value, (list, tuple, set)):
        return list(value) if len(value) <= _LONGEST else []
    held = getattr(value, "__dict__", None)
    return list(held.values()) if isinstance(held, dict) else []


def _restore_of(stream: Any) -> Callable[[], object]:
    """Return what puts a stream back to where it is now."""
    if isinstance(stream, random.Random):
        python = stream.getstate()
        return lambda: stream.setstate(python)
    if isinstance(stream, np.random.Generator):
        bits, state = stream.bit_generator, stream.bit_generator.state
        return lambda: setattr(bits, "state", state)
    state = stream.get_state()
    return lambda: stream.set_state(state)
