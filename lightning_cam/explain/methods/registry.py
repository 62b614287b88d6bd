"""`METHODS`: all methods by name. A new one is a function and a decorator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.runtime.messages import unknown_name

Run = Callable[[AttributionBatch, Site], Tensor]


@dataclass(frozen=True)
class Method:
    """A way to compute maps.

    Attributes:
        name: the word users write.
        title: the name that its paper uses.
        run: takes an `AttributionBatch` and a `Site`, returns maps (N, h, w) float32, one row per
            score.
        place: `layer` where it computes a map for each target layer. Otherwise it needs no layer
            and computes one map, which is named after the place: `input` or `attention`.
        class_free: it does not use the model's output, so that any model will do.
    """

    name: str
    title: str
    run: Run
    place: str = "layer"
    class_free: bool = False


METHODS: dict[str, Method] = {}


def register(
    name: str, title: str, *, place: str = "layer", class_free: bool = False
) -> Callable[[Run], Run]:
    """Return a decorator that adds a function of a batch and a site to `METHODS`: see `Method`."""

    def enter(run: Run) -> Run:
        METHODS[name] = Method(name, title, run, place, class_free)
        return run

    return enter


def resolve_methods(method: str | Method | Sequence[str | Method]) -> list[Method]:
    """Return the methods of the given names in order, each once; a `Method` is taken as it is.

    Raises:
        ValueError: an unknown name (the message names near misses), or none.
        TypeError: anything but names and methods.
    """
    wanted = [method] if isinstance(method, (str, Method)) else list(method)
    if not wanted:
        raise ValueError(f"expected at least one method, got none. Known: {', '.join(METHODS)}.")
    found: dict[str, Method] = {}
    for each in wanted:
        if isinstance(each, Method):
            found[each.name] = each
        elif not isinstance(each, str):
            raise TypeError(f"expected a method's name, got {each!r}")
        elif each not in METHODS:
            raise ValueError(unknown_name("method", each, METHODS))
        else:
            found[each] = METHODS[each]
    return list(found.values())
