"""Modules by the names that users know, and without wrappers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from lightning_cam.runtime.fabric import DUPLICATE, INNER, module_in_fabric

ADAPTED = "adapted_module"  # the attribute under which a `ModelAdapter` keeps its model
_COMPILED = "_orig_mod"  # the attribute under which `torch.compile` keeps what it wraps
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside DataParallel, DDP, `torch.compile` and Fabric wrappers."""
    while True:
        inner = module_in_fabric(model)
        if inner is None:
            inner = getattr(model, _COMPILED, None)
        if inner is None and isinstance(model, _PARALLEL):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def adapted(model: nn.Module) -> nn.Module:
    """Return the model that a `ModelAdapter` runs; any other model as it is."""
    inner = getattr(model, ADAPTED, None)
    return inner if isinstance(inner, nn.Module) else model


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the submodules by name, without the `_orig_mod.` and the like of wrapped ones.

    Modules inside a scripted one are left out: they are called from TorchScript, where hooks do not
    run.

    Args:
        model: a network, or a `ModelAdapter`, whose layers have the names that its model has.
    """
    found: dict[str, nn.Module] = {}
    inside: tuple[str, ...] = ()
    for name, module in adapted(model).named_modules():
        plain = _without_wrappers(name)
        if not plain or name.startswith(inside):
            continue
        found[plain] = unwrap(module)
        if isinstance(module, torch.jit.ScriptModule):
            inside += (f"{name}.",)
    return found


def add_forward_hook(
    module: nn.Module, hook: Callable[..., Any], *, prepend: bool = False
) -> RemovableHandle:
    """Register a forward hook, also on a scripted module, whose own method refuses it.

    It runs where the module is called from Python.
    """
    return nn.Module.register_forward_hook(module, hook, prepend=prepend)


def every_name(model: nn.Module) -> dict[str, nn.Module]:
    """Return the submodules as `named_modules` does, shared ones under each of their names.

    The first name of a shared module is the one that `named_modules` has.
    """
    return {
        plain: unwrap(module)
        for name, module in adapted(model).named_modules(remove_duplicate=False)
        if (plain := _without_wrappers(name))
    }


def _without_wrappers(name: str) -> str:
    """Return a submodule's name as if nothing was wrapped; empty for what a wrapper holds."""
    parts = name.split(".")
    if parts[-1] in (_COMPILED, INNER) or DUPLICATE in parts:
        return ""
    return ".".join(part for part in parts if part not in (_COMPILED, INNER))


def module_of(name: str) -> str:
    """Return the module's part of a site's name: `fpn` of `fpn[0]`, `relu` of `relu#1`."""
    return name if "*" in name else name.split("#", maxsplit=1)[0].split("[", maxsplit=1)[0]


def channels_of(model: nn.Module) -> int:
    """Return the channels that the model's first convolution takes, 3 where it has none."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3
