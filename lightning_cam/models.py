"""From the words of a command line to a model."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from torch import nn

from lightning_cam._messages import unknown


def build_model(name: str, *, num_classes: int | None = None) -> nn.Module:
    """Return the model that `name` stands for, without weights.

    Args:
        name: `package.module:attribute` (a module, or a function or class that makes one, found
            from the working directory too), `timm:NAME`, or a torchvision model's name.
        num_classes: passed to torchvision and timm.

    Raises:
        ValueError: there is no such model.
    """
    arguments = {} if num_classes is None else {"num_classes": num_classes}
    if name.startswith("timm:"):
        return _from_timm(name.removeprefix("timm:"), arguments)
    if ":" in name:
        return _imported(name)
    import torchvision

    known = torchvision.models.list_models()
    if name not in known:
        raise ValueError(
            unknown("model", name, known).split(" Known:")[0]
            + " Expected a torchvision name, timm:NAME or package.module:attribute."
        )
    model: nn.Module = torchvision.models.get_model(name, weights=None, **arguments)
    return model


def _from_timm(name: str, arguments: dict[str, int]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"timm:{name} needs timm: pip install timm") from error
    if name not in timm.list_models():
        raise ValueError(unknown("timm model", name, timm.list_models()).split(" Known:")[0])
    model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    return model


def _imported(name: str) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"cannot import {module_name!r}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(unknown(f"attribute of {module_name}", part, dir(found)))
        found = getattr(found, part)
    model = found if isinstance(found, nn.Module) else found() if callable(found) else found
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"expected {name} to be or to make a torch module, came a {type(model).__name__}"
        )
    return model
