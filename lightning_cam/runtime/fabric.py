"""What is needed of Lightning Fabric: the wrapper that `fabric.setup` puts around a module.

It is known by its class name, since `lightning` and `lightning_fabric` have different class objects
and neither needs to be installed.
"""

from __future__ import annotations

from typing import Any

from torch import nn

_WRAPPER = "_FabricModule"
INNER = "_forward_module"  # the attribute under which the wrapper keeps what it runs
DUPLICATE = "_original_module"  # and the same without a strategy's own wrapper


def module_in_fabric(model: nn.Module) -> nn.Module | None:
    """Return the module that `fabric.setup` wrapped, with a strategy's wrapper such as DDP.

    None where the model is no such wrapper.
    """
    if _WRAPPER not in (kind.__name__ for kind in type(model).__mro__):
        return None
    inner = model._modules.get(INNER)  # noqa: SLF001 - the wrapper passes attributes on
    return inner if isinstance(inner, nn.Module) else None


def precision_of(model: nn.Module) -> Any:
    """Return the precision plugin with which Fabric runs a module that it set up, else None.

    It has `convert_input` and `forward_context`.
    """
    model = getattr(model, "_orig_mod", model)  # of `torch.compile` around Fabric's wrapper
    if module_in_fabric(model) is None:
        return None
    return getattr(vars(model).get("_strategy"), "precision", None)
