"""`build_model`: a model by its name, and the images that it expects."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lightning_cam.probe.class_names import IMAGENET_CLASSES, imagenet_names
from lightning_cam.runtime.messages import unknown_name

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TIMM = "timm:"


@dataclass(frozen=True)
class Expected:
    """The images that a model expects, as far as they are known by its name.

    Attributes:
        size: height and width in pixels.
        mean: per channel, of pixels in 0 to 1.
        std: per channel.
        class_names: by index, of its published weights; None where unknown.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    class_names: tuple[str, ...] | None = None


def build_model(
    name: str,
    *,
    num_classes: int | None = None,
    pretrained: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Return the model called `name`.

    Args:
        name: `package.module:attribute` (a module, or a function or class that makes one, also
            importable from the working directory), or the name of a torchvision or timm model
            (`timm:NAME` where torchvision has a model of the same name).
        num_classes: passed to torchvision and timm.
        pretrained: load the published weights of a torchvision or timm model, from the network.
        arguments: for the class of a LightningModule, as its checkpoint holds them; those that it
            does not take are left out.

    Raises:
        ValueError: an unknown model, one that needs arguments, or weights that cannot be loaded.
    """
    few = {} if num_classes is None else {"num_classes": num_classes}
    if is_import_path(name):
        if few or pretrained:
            raise ValueError(
                f"--num-classes and --pretrained are not for a model of one's own: {name}"
            )
        return _imported_model(name, arguments or {})
    if name.startswith(_TIMM):
        return _from_timm(name.removeprefix(_TIMM), few, pretrained=pretrained)
    if name in _torchvision_names():
        return _from_torchvision(name, few, pretrained=pretrained)
    if name in _timm_names():
        return _from_timm(name, few, pretrained=pretrained)
    raise ValueError(
        unknown_name("model", name, [*_torchvision_names(), *_timm_names()], list_all=False)
        + " Expected the name of a torchvision or timm model, or package.module:attribute."
    )


def expected_input(name: str, model: nn.Module) -> Expected:
    """Return what is known about the images that the model called `name` expects."""
    if is_import_path(name):
        return Expected()
    if not name.startswith(_TIMM) and name in _torchvision_names():
        return _expected_by_torchvision(name)
    published: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    _, height, width = published.get("input_size", (3, 224, 224))
    count = published.get("num_classes")
    return Expected(
        size=(height, width),
        mean=tuple(published.get("mean", IMAGENET_MEAN)),
        std=tuple(published.get("std", IMAGENET_STD)),
        class_names=imagenet_names() if count == IMAGENET_CLASSES else None,
    )


def is_import_path(name: str) -> bool:
    """Return whether `name` has the form `package.module:attribute`."""
    return ":" in name and not name.startswith(_TIMM)


def import_attribute(name: str) -> Any:
    """Return the object `package.module:attribute`; the working directory is importable too.

    Raises:
        ValueError: no such module or attribute; the message names near misses.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"expected package.module:attribute, got {name!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"cannot import {module_name!r}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [each for each in dir(found) if not each.startswith("_")]
            message = unknown_name(f"attribute of {module_name}", part, public, list_all=False)
            raise ValueError(message)
        found = getattr(found, part)
    return found


def made(name: str, maker: Callable[..., Any], arguments: Mapping[str, Any] | None = None) -> Any:
    """Return what a function or class returns when called with the arguments that are known.

    Args:
        name: as the user wrote it.
        maker: the function or class.
        arguments: values for its parameters of these names.

    Raises:
        ValueError: it needs other arguments.
    """
    known = dict(arguments or {})
    parameters = list(inspect.signature(maker).parameters.values())
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    names = {parameter.name for parameter in parameters}
    given = {key: value for key, value in known.items() if anything or key in names}
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    lacking = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in variable
        and parameter.name not in given
    ]
    if lacking:
        raise ValueError(
            f"{name} needs arguments ({', '.join(lacking)}): write a function without arguments "
            "that makes it, and name that"
        )
    return maker(**given)


def _imported_model(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    found = import_attribute(name)
    if callable(found) and not isinstance(found, nn.Module):
        # Only checkpoints of Lightning hold arguments, and only for such a class.
        remembers = isinstance(found, type) and hasattr(found, "load_from_checkpoint")
        found = made(name, found, arguments if remembers else {})
    if not isinstance(found, nn.Module):
        raise ValueError(
            f"expected {name} to be or to make a torch module, got a {type(found).__name__}"
        )
    return found


def _from_torchvision(name: str, arguments: dict[str, int], *, pretrained: bool) -> nn.Module:
    import torchvision

    weights = "DEFAULT" if pretrained else None
    # A detector's backbone would be downloaded even without weights.
    make = torchvision.models.get_model_builder(name)
    if "weights_backbone" in inspect.signature(make).parameters:
        arguments = {**arguments, "weights_backbone": None}  # type: ignore[dict-item]
    with_weights = (OSError, KeyError, ValueError) if pretrained else ()
    try:
        with warnings.catch_warnings():
            # Of two models: which random weights they start from will change.
            warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)
            model: nn.Module = torchvision.models.get_model(name, weights=weights, **arguments)
    except with_weights as error:
        raise ValueError(f"cannot load the published weights of {name}: {error}") from error
    return model


def _from_timm(name: str, arguments: dict[str, int], *, pretrained: bool) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"timm:{name} needs timm: pip install timm") from error
    if not timm.is_model(name):
        raise ValueError(unknown_name("timm model", name, timm.list_models(), list_all=False))
    with_weights: tuple[type[Exception], ...] = (Exception,) if pretrained else ()
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    except with_weights as error:  # of the hub, its HTTP client or the file
        raise ValueError(f"cannot load the published weights of timm:{name}: {error}") from error
    return model


def _torchvision_names() -> list[str]:
    import torchvision

    return list(torchvision.models.list_models())


def _timm_names() -> list[str]:
    try:
        import timm
    except ImportError:
        return []
    return list(timm.list_models())


def _expected_by_torchvision(name: str) -> Expected:
    import torchvision

    published = getattr(torchvision.models.get_model_weights(name), "DEFAULT", None)
    if published is None:
        return Expected()
    transforms = published.transforms()
    side = (getattr(transforms, "crop_size", None) or getattr(transforms, "resize_size", None)) or [
        224
    ]
    inside = not hasattr(transforms, "mean")  # detectors normalise by themselves
    return Expected(
        size=(side[0], side[-1]),
        mean=(0.0, 0.0, 0.0) if inside else tuple(transforms.mean),
        std=(1.0, 1.0, 1.0) if inside else tuple(transforms.std),
        class_names=tuple(published.meta["categories"]) if "categories" in published.meta else None,
    )
