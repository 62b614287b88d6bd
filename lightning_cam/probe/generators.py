"""`preserve_generators`: restore the random generators that a data set or its transforms hold."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

_MAX_OBJECTS = 10_000  # that are searched
_MAX_ITEMS = 1_000  # a longer list holds samples, not transforms
_LEAVES = (str, bytes, int, float, complex, torch.Tensor, np.ndarray, ModuleType)
_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


@contextlib.contextmanager
def preserve_generators(*holders: Any) -> Iterator[None]:
    """Restore generators that belong to objects: Python's, NumPy's and torch's.

    Some augmentation libraries and datasets draw from their own generators instead of the global
    streams. SampleData samples for a probe must not advance them.

    Args:
        *holders: searched through their attributes, `__slots__` included, lists and dicts, and the
            closures, defaults, `partial` arguments and global variables of their functions.
    """
    restores = [_restore_of(generator) for generator in _generators(holders)]
    try:
        yield
    finally:
        for restore in restores:
            restore()


def _generators(root: Any) -> Iterator[Any]:
    waiting: list[Any] = [root]
    seen: dict[
        int, Any
    ] = {}  # the objects too, so that no other one takes the id of one that ended
    while waiting and len(seen) < _MAX_OBJECTS:
        each = waiting.pop()
        if id(each) in seen or each is None or isinstance(each, _LEAVES):
            continue
        seen[id(each)] = each
        if isinstance(each, _GENERATORS):
            yield each
        else:
            waiting.extend(_parts(each))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values()) if len(value) <= _MAX_ITEMS else []
    if isinstance(value, (list, tuple, set)):
        return list(value) if len(value) <= _MAX_ITEMS else []
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, FunctionType):
        return _parts_of_function(value)
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords, vars(value)]
    return _parts_of_object(value)


def _parts_of_object(value: Any) -> list[Any]:
    if isinstance(value, type):
        return [v for v in vars(value).values() if isinstance(v, (*_GENERATORS, FunctionType))]
    parts = [*_slots(value), *_own_methods(value)]
    held = getattr(value, "__dict__", None)
    return parts + (list(held.values()) if isinstance(held, dict) else [])


def _parts_of_function(function: FunctionType) -> list[Any]:
    """Return what a function can reach: closure, defaults, and the global names that it uses."""
    cells = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a cell that is empty still
            cells.append(cell.cell_contents)
    names = function.__code__.co_names
    used = [function.__globals__[name] for name in names if name in function.__globals__]
    # Of a module only the generators: its other contents lead through all of the library.
    inside = [
        item
        for module in used
        if isinstance(module, ModuleType)
        for name in names
        if isinstance(item := vars(module).get(name), _GENERATORS)
    ]
    return [*cells, *(function.__defaults__ or ()), function.__kwdefaults__, *used, *inside]


def _own_methods(value: Any) -> list[Any]:
    """Return the functions of an object's own class, which may use global generators."""
    if type(value).__module__.split(".")[0] in ("torch", "builtins", "numpy", "PIL"):
        return []
    return [f for kind in type(value).__mro__ for f in vars(kind).values() if _is_users(f)]


def _is_users(function: Any) -> bool:
    package = getattr(function, "__module__", None) or ""
    return isinstance(function, FunctionType) and package.split(".")[0] not in ("torch", "numpy")


def _slots(value: Any) -> list[Any]:
    found = []
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            with contextlib.suppress(Exception):  # a slot that is empty still
                found.append(getattr(value, name))
    return found


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
