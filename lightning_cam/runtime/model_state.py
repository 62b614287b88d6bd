"""`preserve_model_state`: run a model and leave it, and the random streams, as they were."""

from __future__ import annotations

import contextlib
import itertools
import operator
import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.utils.checkpoint
from torch.nn.modules.lazy import LazyModuleMixin

from lightning_cam.runtime.generators import is_generator_type, preserve_generators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn


@contextlib.contextmanager
def preserve_model_state(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run the body with `model` in evaluation mode, and restore everything afterwards.

    Restored, also when the body raises: the train/eval flag of each submodule (a frozen BatchNorm
    in a training network keeps its own), every buffer bit for bit, attributes and children that
    were replaced, the length of lists that grew, the random streams of Python, NumPy and torch,
    random generators that submodules hold as attributes, grad mode and inference mode. Compiled
    modules run eagerly inside, so that their hooks fire and nothing is recompiled. Checkpointed
    parts run without checkpointing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(isolated_rng(device))
        held = [vars(module) for module in model.modules()]
        stack.enter_context(preserve_generators(*_values_of(held, is_generator_type)))
        # `trainer.validate()` runs in inference mode, which `enable_grad` does not end.
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_eager())
        stack.enter_context(_not_recomputed())
        stack.enter_context(_attributes_kept(model))
        stack.enter_context(_buffers_kept(model))
        stack.enter_context(_evaluating(model))
        yield


@contextlib.contextmanager
def isolated_rng(device: torch.device | None = None) -> Iterator[None]:
    """Restore the global random streams of Python, NumPy, torch and `device` on leaving."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - it is the legacy stream users seed
    torch_state = torch.get_rng_state()
    cuda = device if device is not None and device.type == "cuda" else None
    cuda_state = torch.cuda.get_rng_state(cuda) if cuda is not None else None
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if cuda is not None and cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, cuda)


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch each submodule to evaluation mode by its flag alone.

    `model.eval()` would call overridden `train()` methods, which may do more than set the flag.
    """
    flags = [(module, module.training) for module in model.modules()]
    _set_flags((module, False) for module, _ in flags)
    try:
        yield
    finally:
        _set_flags(flags)


def _set_flags(flags: Iterable[tuple[nn.Module, bool]]) -> None:
    """Set the flags that differ (during validation none), since `nn.Module.__setattr__` is slow."""
    for module, training in flags:
        if module.training is not training:
            module.training = training


@contextlib.contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Restore buffers that a forward pass changed, replaced, added or removed.

    They are compared by their bytes, since some kernels do not increase torch's version counter.
    """
    dicts = [(module._buffers, dict(module._buffers)) for module in model.modules()]  # noqa: SLF001
    buffers = {id(b): b for _, before in dicts for b in before.values() if b is not None}
    by_device: dict[torch.device, list[Tensor]] = {}
    for buffer in buffers.values():
        by_device.setdefault(buffer.device, []).append(buffer)
    kept = [_BufferCopies(some) for some in by_device.values()]
    try:
        yield
    finally:
        for each in kept:
            each.restore()
        for now, before in dicts:
            if not _same_entries(now, before):
                now.clear()
                now.update(before)


@contextlib.contextmanager
def _attributes_kept(model: nn.Module) -> Iterator[None]:
    """Restore attributes and children that a forward pass replaced, added or removed.

    Such as the `weight` that weight_norm and pruning compute in each pass: one with a graph could
    not be copied; or a head that the first pass creates. What a list was given is removed again;
    nothing else that is changed in place is restored. Weights that do not exist yet are made
    by the pass, and stay.
    """
    modules = [module for module in model.modules() if not isinstance(module, LazyModuleMixin)]
    dicts = [(vars(module), dict(vars(module))) for module in modules]
    dicts += [(module._modules, dict(module._modules)) for module in modules]  # noqa: SLF001
    lists = _values_of([before for _, before in dicts], _is_list)
    lengths = [len(each) for each in lists]
    try:
        yield
    finally:
        for each, length in zip(lists, lengths, strict=True):
            del each[length:]
        for now, before in dicts:
            if not _same_entries(now, before):
                for name in now.keys() - before.keys():
                    del now[name]
                now.update(before)  # not cleared before: a signal's handler may save the model


def _values_of(dicts: Sequence[Mapping[str, Any]], wanted: Callable[[type], bool]) -> list[Any]:
    """Return the values of wanted types: a network has thousands of few types, often of none."""
    kinds: set[type] = set()
    for each in dicts:
        kinds.update(map(type, each.values()))
    found = set(filter(wanted, kinds))
    return [v for each in dicts for v in each.values() if type(v) in found] if found else []


def _is_list(kind: type) -> bool:
    return kind is list


def _same_entries(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Return whether two dicts hold the same objects in the same order."""
    same_names = list(now.keys()) == list(before.keys())  # scripted modules have no iterator
    return same_names and all(map(operator.is_, now.values(), before.values()))


class _BufferCopies:
    """The buffers of one device copied into one tensor of bytes, for a single comparison."""

    def __init__(self, buffers: list[Tensor]) -> None:
        self._buffers = sorted(buffers, key=lambda buffer: str(buffer.dtype))
        self._kinds = [(buffer.shape, buffer.dtype) for buffer in self._buffers]
        self._bytes = _bytes(self._buffers)

    def restore(self) -> None:
        """Restore the buffers that differ."""
        kinds = [(buffer.shape, buffer.dtype) for buffer in self._buffers]
        if kinds == self._kinds and torch.equal(_bytes(self._buffers), self._bytes):
            return
        sizes = [shape.numel() * dtype.itemsize for shape, dtype in self._kinds]
        before = torch.split(self._bytes, sizes)
        for buffer, kind, now, was in zip(self._buffers, self._kinds, kinds, before, strict=True):
            if now != kind or not torch.equal(_bytes([buffer]), was):
                shape, dtype = kind
                value = was.clone().view(dtype).view(shape)  # a view may not be aligned
                with torch.inference_mode(buffer.is_inference()):
                    # Through .data: a graph that awaits its backward pass stays valid.
                    if now == kind:
                        buffer.data.copy_(value)
                    else:  # resized in place
                        buffer.data = value


def _bytes(buffers: Sequence[Tensor]) -> Tensor:
    """Return the bytes of buffers that are sorted by dtype: each operation on one takes time."""
    parts = []
    for dtype, some in itertools.groupby(buffers, key=lambda buffer: buffer.dtype):
        flat = [each.detach() if each.ndim == 1 else each.detach().reshape(-1) for each in some]
        if dtype.itemsize == 1:  # not all of these can be concatenated
            flat = [each.view(torch.uint8) for each in flat]
        parts.append(torch.cat(flat).view(torch.uint8))
    return torch.cat(parts)


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Make compiled modules run eagerly, since hooks do not fire in compiled graphs."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and importing it takes a second
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


class _Direct:
    """Replaces the autograd function of reentrant checkpoints by a plain call."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: object, *args: Any) -> Any:
        del preserve_rng_state
        return function(*args)


def _no_frame(*_args: Any, **_kwargs: Any) -> Iterator[None]:
    """Replace what surrounds a part under a non-reentrant checkpoint."""
    yield


@contextlib.contextmanager
def _not_recomputed() -> Iterator[None]:
    """Run the parts under `torch.utils.checkpoint` without checkpointing.

    `torch.autograd.grad` does not work with reentrant checkpoints, and recomputation happens after
    the hooks are removed. The functions are replaced in torch's module, where they are looked up at
    each call, so that it also works for models that imported `checkpoint` by name.
    """
    home = torch.utils.checkpoint
    direct = {
        "CheckpointFunction": _Direct,
        "_checkpoint_without_reentrant_generator": _no_frame,
        "_checkpoint_without_reentrant_generator_impl": _no_frame,  # its name in later torch
    }
    kept = {name: vars(home)[name] for name in direct if name in vars(home)}
    try:
        for name in kept:
            setattr(home, name, direct[name])
        yield
    finally:
        for name, value in kept.items():
            setattr(home, name, value)
