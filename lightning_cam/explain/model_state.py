"""Leave the model, the random streams and torch's switches exactly as they were found."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


@contextlib.contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run the body with `model` in evaluation mode, and put everything back afterwards.

    Restored, also when the body raises: the train/eval flag of each submodule (a frozen BatchNorm
    inside a training network stays as it was), every buffer bit for bit, the random streams of
    Python, NumPy and torch, grad mode and inference mode. Compiled modules run eagerly inside, so
    that their hooks fire and nothing is recompiled.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(isolated_rng(device))
        # Inside `trainer.validate()` inference mode is on; `enable_grad` alone would not lift it.
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_eager())
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
    """Switch each submodule to evaluation, by its flag alone.

    `model.eval()` would call overridden `train()` methods, which may do more than set the flag.
    """
    flags = [(module, module.training) for module in model.modules()]
    for module, _ in flags:
        module.training = False
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextlib.contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Put back buffers that a forward pass in evaluation mode rewrote or replaced."""
    kept: list[tuple[dict[str, Tensor | None], str, Tensor, Tensor, int]] = [
        (module._buffers, name, buffer, buffer.clone(), _version(buffer))  # noqa: SLF001
        for module in model.modules()
        for name, buffer in module._buffers.items()  # noqa: SLF001
        if buffer is not None
    ]
    try:
        yield
    finally:
        for owner, name, buffer, value, version in kept:
            if _version(buffer) != version or version < 0:
                buffer.copy_(value)
            if owner.get(name) is not buffer:
                owner[name] = buffer


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written to, or -1 where torch does not count."""
    return -1 if tensor.is_inference() else tensor._version  # noqa: SLF001


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Make compiled modules run eagerly: hooks do not fire in compiled graphs."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled; importing it takes a second
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
