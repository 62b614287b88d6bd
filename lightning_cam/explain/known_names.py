"""`known_class_names`: the names of a model's classes, as far as anything says them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lightning_cam.explain.transforms import is_weights
from lightning_cam.probe.class_names import class_names_of_model


def known_class_names(
    given: Sequence[str] | None, transform: Any, model: nn.Module
) -> tuple[str, ...] | None:
    """Return the names of the classes by index, None where nothing says them.

    Args:
        given: by the user; an empty sequence for none.
        transform: where it is torchvision weights, these know the names.
        model: the network, without wrappers.

    Raises:
        TypeError: text in place of a list of names.
    """
    if isinstance(given, str):
        raise TypeError(f"expected class_names as a list of names, got {given!r}")
    if given is not None:
        return tuple(map(str, given)) or None
    if transform is not None and is_weights(transform) and "categories" in transform.meta:
        return tuple(transform.meta["categories"])
    return class_names_of_model(model)


def fitting_names(
    names: tuple[str, ...] | None, classes: int, *, needed: bool
) -> tuple[str, ...] | None:
    """Return the names if there is one for each class, else None.

    Args:
        names: by index.
        classes: number of the model's class scores; 0 where that is not known.
        needed: whether a difference is an error: they were given, or a target was.

    Raises:
        ValueError: another number of names, where they are needed.
    """
    if names is None or not classes or len(names) == max(2, classes):
        return names
    if needed:
        raise ValueError(f"expected the names of {max(2, classes)} classes, got {len(names)}")
    return None
