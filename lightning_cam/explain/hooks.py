"""`hook_around`: hooks that see a module's output before and after the hooks of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_cam.explain.modules import add_forward_hook
from lightning_cam.runtime.containers import tensors_in

ForwardHook: TypeAlias = Callable[[nn.Module, Any, Any], Any]


def hook_around(
    module: nn.Module, record: ForwardHook, replaced: ForwardHook
) -> list[RemovableHandle]:
    """Register forward hooks around those that a module has, and return their handles.

    What a user's hook stores may be what the network goes on with, so it must be what `record`
    returned; what a user's hook returns takes the place of the module's output.

    Args:
        module: the module.
        record: called with the module's output before all other hooks; what it returns goes on.
        replaced: called after all other hooks, where they returned or wrote something else.
    """
    if not module._forward_hooks:  # noqa: SLF001 - torch has no public list of them
        return [add_forward_hook(module, record)]
    passed_on: list[tuple[Tensor, int]] = []

    def first(module: nn.Module, args: Any, output: Any) -> Any:
        output = record(module, args, output)
        passed_on[:] = _versions(output)
        return output

    def last(module: nn.Module, args: Any, output: Any) -> Any:
        same = _same(passed_on, _versions(output))
        passed_on.clear()
        return output if same else replaced(module, args, output)

    return [
        add_forward_hook(module, first, prepend=True),
        add_forward_hook(module, last),
    ]


def _versions(output: Any) -> list[tuple[Tensor, int]]:
    """Return the tensors in an output, and how often each was written to."""
    return [(tensor, tensor._version) for _, tensor in tensors_in(output)]  # noqa: SLF001


def _same(before: list[tuple[Tensor, int]], now: list[tuple[Tensor, int]]) -> bool:
    return len(before) == len(now) and all(
        a is b and a_version == b_version
        for (a, a_version), (b, b_version) in zip(before, now, strict=True)
    )
