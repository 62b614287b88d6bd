"""`Capture`: the activations of target layers, with a graph that starts at them.

The forward pass runs without a graph until the first target layer. Its hook switches grad mode on
and makes the layer's output a leaf, so that the graph, its memory and the backward pass cover only
what follows. Layers with frozen parameters work, since the leaf requires the gradient; an in-place
operation after the layer works, since the network continues with a copy of the leaf.

A layer may have hooks of the user's own. What they store must come from the leaf, since the network
may go on with it, so the layer's output is captured before them; what they return in its place is
captured after them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lightning_cam.explain.hooks import hook_around
from lightning_cam.runtime.containers import map_tensors

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle
    from typing_extensions import Self

    from lightning_cam.explain.hooks import ForwardHook

_Record = list[tuple[str, "Tensor"]]  # the tensors of one call, each with its path in the output


@dataclass(frozen=True)
class Site:
    """Where in the network a tensor was captured.

    Attributes:
        module: the module's name.
        call: which of its calls, None where it ran once.
        path: where in the module's output, such as `[0]` or `[feat]`; empty where the output is the
            tensor.
    """

    module: str
    call: int | None = None
    path: str = ""

    def __str__(self) -> str:
        return f"{self.module}{'' if self.call is None else f'#{self.call}'}{self.path}"


class GradientStart:
    """Context manager in which hooks can start a graph at any point of the forward pass.

    A model may run parts of itself under its own `no_grad` or `inference_mode`. Leaving this
    context restores both modes, whatever the hooks and the model did to them.

    Args:
        grad: record a graph from the beginning.
    """

    def __init__(self, *, grad: bool) -> None:
        self._grad = grad
        self._modes = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._modes.enter_context(torch.inference_mode(mode=False))
        self._modes.enter_context(torch.set_grad_enabled(self._grad))
        return self

    def __exit__(self, *error: object) -> None:
        self._modes.close()

    def lift(self, tensor: Tensor) -> Tensor:
        """Switch grad mode on for what follows, and return a tensor that can be in a graph."""
        if torch.is_inference_mode_enabled():
            self._modes.enter_context(torch.inference_mode(mode=False))
        torch.set_grad_enabled(True)
        return tensor.clone() if tensor.is_inference() else tensor


class Capture:
    """Context manager that holds the hooks on `modules` during one forward pass.

    Args:
        modules: the target modules by name.
        grad: record a graph from the start. Needed where the model runs a part under its own
            `no_grad`, which resets the grad mode that the hook had switched on.
    """

    def __init__(self, modules: Mapping[str, nn.Module], *, grad: bool = False) -> None:
        self._modules = modules
        self._start = GradientStart(grad=grad)
        self._calls: dict[str, list[_Record]] = {name: [] for name in modules}
        self._own: dict[str, dict[int, _Record]] = {}
        self._handles: list[RemovableHandle] = []
        self._first: str | None = None
        self.torn = False
        """Whether a later layer's output was not part of the first layer's graph."""

    def __enter__(self) -> Self:
        self._start.__enter__()
        for name, module in self._modules.items():
            self._handles += hook_around(module, self._hook(name), self._replacing_hook(name))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._start.__exit__(*error)

    @property
    def replaced(self) -> frozenset[str]:
        """The modules in whose place a hook of the user's own returned something else."""
        return frozenset(self._own)

    def activations(self, own: Container[str] = ()) -> dict[Site, Tensor]:
        """Return the captured tensors, in the order of the modules and of their calls.

        Args:
            own: of these modules what they returned themselves, where a hook replaced it.
        """
        return {
            Site(name, k if len(calls) > 1 else None, path): tensor
            for name, calls in self._calls.items()
            for k, last in enumerate(calls)
            for path, tensor in (self._own.get(name, {}).get(k, last) if name in own else last)
        }

    def _hook(self, name: str) -> ForwardHook:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            record: _Record = []
            replaced = map_tensors(output, lambda path, t: self._keep(name, record, path, t))
            self._calls[name].append(record)
            return replaced

        return hook

    def _replacing_hook(self, name: str) -> ForwardHook:
        """Return a hook whose record takes the place of the call's first one."""
        record = self._hook(name)

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            calls = self._calls[name]
            own = calls.pop()
            self._own.setdefault(name, {})[len(calls)] = own
            return record(module, args, output)

        return hook

    def _keep(self, name: str, record: _Record, path: str, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        tensor = self._start.lift(tensor)
        if self._first is None or not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_()
            self.torn |= self._first not in (None, name)
            self._first = self._first or name
        record.append((path, tensor))
        return tensor.clone()  # an in-place operation that follows must not change what is kept
