"""`preserve_generators`: restore random generators that data sets, transforms and models hold."""

from __future__ import annotations

import contextlib
import functools
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

_MAX_OBJECTS = 10_000  # that are searched
_MAX_ITEMS = 1_000  # a longer list holds samples, not transforms
# The system's source of randomness is a generator by its type, but has no state.
_LEAVES = (
    str, bytes, int, float, complex, torch.Tensor, np.ndarray, ModuleType, random.SystemRandom
)  # fmt: skip
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


@functools.lru_cache(maxsize=1024)
def is_generator_type(kind: Any) -> bool:
    """Return whether a type is that of a random generator of Python, NumPy or torch."""
    return issubclass(kind, GENERATORS) and not issubclass(kind, random.SystemRandom)


@contextlib.contextmanager
def preserve_generators(*holders: Any) -> Iterator[None]:
    """Restore generators that belong to objects: Python's, NumPy's and torch's.

    Some augmentation libraries and datasets draw from their own generators instead of the global
    streams. Reading samples for a probe, or running a model, must not advance them.

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
    waiting: deque[Any] = deque([root])  # what is near comes first
    # The objects too, so that no other one takes the id of one that ended.
    seen: dict[int, Any] = {}
    while waiting and len(seen) < _MAX_OBJECTS:
        each = waiting.popleft()
        if id(each) in seen or each is None or isinstance(each, _LEAVES):
            continue
        seen[id(each)] = each
        if isinstance(each, GENERATORS):
            yield each
        else:
            with contextlib.suppress(Exception):  # a mapping may refuse to be iterated over
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
        return [v for v in vars(value).values() if isinstance(v, (*GENERATORS, FunctionType))]
    parts = [*_slots(value), *_of_class(value)]
    held = getattr(value, "__dict__", None)
    if not isinstance(held, dict):
        return parts
    if isinstance(value, torch.nn.Module):  # no parameters, and not all of the trainer
        held = {k: v for k, v in held.items() if not k.startswith("_") or k == "_modules"}
        held |= {k: v for k, v in vars(value).items() if isinstance(v, GENERATORS)}
    return parts + list(held.values())


def _parts_of_function(function: FunctionType) -> list[Any]:
    """Return what a function can reach: closure, defaults, and the global names that it uses."""
    cells = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a cell that is empty still
            cells.append(cell.cell_contents)
    names = _names_in(function.__code__)
    used = [function.__globals__[name] for name in names if name in function.__globals__]
    # Of a module only the generators: its other contents lead through all of the library.
    inside = [
        item
        for module in used
        if isinstance(module, ModuleType)
        for name in names
        if isinstance(item := vars(module).get(name), GENERATORS)
    ]
    return [*cells, *(function.__defaults__ or ()), function.__kwdefaults__, *used, *inside]


def _names_in(code: CodeType) -> set[str]:
    """Return the global names and attributes in a function, its inner functions included."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return {*code.co_names, *(name for each in inner for name in _names_in(each))}


def _of_class(value: Any) -> list[Any]:
    """Return generators of an object's own class, and its functions, which may use global ones."""
    kinds = [kind for kind in type(value).__mro__ if not _is_library(kind)]
    held = [each for kind in kinds for each in vars(kind).values()]
    functions = [getattr(each, "__func__", each) for each in held]  # of static and class methods
    users = [f for f in functions if isinstance(f, FunctionType) and not _is_library(f)]
    return [*users, *(each for each in held if _may_hold(each))]


def _may_hold(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value
    if isinstance(inside, (list, tuple, type({}.values()))) and len(inside) <= _MAX_ITEMS:
        return any(isinstance(each, GENERATORS) for each in inside)
    return isinstance(value, GENERATORS)


def _is_library(value: Any) -> bool:
    package = (getattr(value, "__module__", None) or "").split(".")[0]
    return package in ("torch", "builtins", "numpy", "PIL", "lightning", "pytorch_lightning")


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
