"""The one list of methods. A new one is a function and a `@register` line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_cam._messages import unknown

MapFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """A way to turn what one pass caught into maps.

    Attributes:
        name: the word users write.
        title: how the paper spells it.
        compute: `(activations (B, C, H, W), gradients (B, C, H, W)) -> maps (B, H, W)`, float32.
    """

    name: str
    title: str
    compute: MapFunction


METHODS: dict[str, Method] = {}


def register(name: str, title: str) -> Callable[[MapFunction], MapFunction]:
    """Return a decorator that enters a function into `METHODS`."""

    def enter(function: MapFunction) -> MapFunction:
        METHODS[name] = Method(name, title, function)
        return function

    return enter


def resolve_methods(method: str | Sequence[str]) -> list[Method]:
    """Return the methods named, in order, once each.

    Raises:
        ValueError: unknown name, with the near miss, or none given.
        TypeError: not a name or a sequence of names.
    """
    names = [method] if isinstance(method, str) else list(method)
    if not names:
        raise ValueError(f"expected at least one method, came none. Known: {', '.join(METHODS)}.")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"expected a method's name, came {name!r}")
        if name not in METHODS:
            raise ValueError(unknown("method", name, METHODS))
    return [METHODS[name] for name in dict.fromkeys(names)]
