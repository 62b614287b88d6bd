"""`resolve_layers`: from a name, a module or `"auto"` to the model's modules."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from lightning_cam.explain.candidate_layers import (
    cached_candidate_layers,
    choose_layer,
    format_candidates,
)
from lightning_cam.explain.modules import every_name, module_of, unwrap
from lightning_cam.explain.targets import Target
from lightning_cam.runtime.messages import unknown_name

LayersLike: TypeAlias = "str | int | nn.Module | Sequence[str | int | nn.Module]"


def resolve_layers(
    model: nn.Module, images: Tensor, target: Target, layers: LayersLike
) -> dict[str, nn.Module]:
    """Return the modules that `layers` means, by name, in the order given.

    Args:
        model: the network, without wrappers.
        images: a batch whose first image may be run to find the layers.
        target: the score that the layer must influence.
        layers: `"auto"`, a name (the end of a name where that is unambiguous), a site's name
            (`fpn[0]`, `relu#1`), a glob (`"layer*"`), a negative position among the candidates (-1
            is the last), a module, or several of these.

    Raises:
        ValueError: no such layer (the message names near misses), or `"auto"` finds none.
        TypeError: anything but names, positions and modules.
    """
    several = isinstance(layers, Sequence) and not isinstance(layers, str)
    wanted: Sequence[Any] = layers if several else [layers]  # type: ignore[assignment]
    if not wanted:
        raise ValueError("expected at least one layer, got an empty sequence")
    modules = every_name(model)
    chosen: dict[str, nn.Module] = {}
    for item in wanted:
        for name in _names_of(item, model, modules, images, target):
            chosen[name] = modules[module_of(name)]
    return chosen


def _names_of(
    item: object, model: nn.Module, modules: dict[str, nn.Module], images: Tensor, target: Target
) -> list[str]:
    if isinstance(item, nn.Module):
        names = [name for name, module in modules.items() if module is unwrap(item)]
        if not names:
            raise ValueError(
                f"expected a layer of the model, got a {type(item).__name__} that is not in it"
            )
        return names[:1]
    if isinstance(item, int) and not isinstance(item, bool):
        candidates = [c for c in cached_candidate_layers(model, images, target) if not c.drawback]
        if not -len(candidates) <= item < 0:
            raise ValueError(
                f"expected a layer position from -{len(candidates)} to -1, got {item}. "
                + format_candidates(candidates)
            )
        return [candidates[item].name]
    if not isinstance(item, str):
        raise TypeError(f"expected a layer's name, negative position or module, got {item!r}")
    if item == "auto":
        return [choose_layer(cached_candidate_layers(model, images, target)).name]
    found = _matching(item, modules)
    if found:
        return found
    message = unknown_layer(item, modules)
    try:
        message += " " + format_candidates(cached_candidate_layers(model, images, target))
    except Exception:  # noqa: BLE001 - the list is optional; the unknown name is the error
        message += " The model's layers are the names in model.named_modules()."
    raise ValueError(message)


def _matching(item: str, modules: dict[str, nn.Module]) -> list[str]:
    """Return the modules or sites that a name means: itself, the end of one name, or a glob.

    Of a module with several names a glob and the end of a name mean the first one that fits.
    """
    name = module_of(item)
    if name in modules:
        return [item]
    inner = _one_name_each([o for o in modules if o.endswith(f".{name}")], modules)
    if len(inner) == 1:  # `layer4` of a LightningModule that keeps its network in `self.net`
        return [inner[0] + item[len(name) :]]
    if not any(sign in item for sign in "*?["):
        return []
    return _one_name_each(fnmatch.filter(modules, item), modules)


def _one_name_each(names: Sequence[str], modules: dict[str, nn.Module]) -> list[str]:
    """Return the names without further ones of the same module."""
    first: dict[int, str] = {}
    for name in names:
        first.setdefault(id(modules[name]), name)
    return list(first.values())


def unknown_layer(name: str, modules: dict[str, nn.Module]) -> str:
    """Return the message for a name that no module has, without listing hundreds of them."""
    return unknown_name("layer", name, modules, list_all=False)
