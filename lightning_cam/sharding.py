"""How processes may share the passes of a model whose parameters are spread over them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Sharing = Literal["apart", "in step", "alike"]


def sharing(model: nn.Module, processes: int) -> Sharing:
    """Return how `processes` may share passes of `model`.

    - `apart`: each has the whole model, and may run it when and as often as it likes;
    - `in step`: its shards are gathered at each pass, so that all must make equally many passes,
      each on images of its own (FSDP2);
    - `alike`: all must run the same images too, because some compute parts of one image's
      activations (tensor parallelism), or because it is not known that they do not.

    Args:
        model: the network.
        processes: how many train together.

    Raises:
        ValueError: a model that cannot be called beside the trainer's own steps.
    """
    if processes == 1 or "torch.distributed.fsdp" not in sys.modules:
        return "alike" if processes > 1 and _spread(model) else "apart"
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        raise ValueError(refusal("FullyShardedDataParallel"))
    found = _spread(model)
    if not found:
        return "apart"
    covered = isinstance(model, FSDPModule) or any(
        isinstance(module, FSDPModule) for module in model.modules()
    )
    flat = all(mesh.ndim == 1 and mesh.size() == processes for mesh in found)
    return "in step" if covered and flat else "alike"


def refusal(what: str) -> str:
    """Return the message for parameters that only the trainer's own steps can use."""
    return (
        "expected a model that can be called in a validation hook, came the flat shards of "
        f"{what}, which only its own wrapper puts together. Use ModelParallelStrategy with "
        "fully_shard in configure_model, or DDP, or leave CAMCallback out."
    )


def _spread(model: nn.Module) -> list[Any]:
    """Return the meshes that parameters are spread over, none where each process has them whole."""
    if "torch.distributed.tensor" not in sys.modules:
        return []
    from torch.distributed.tensor import DTensor

    return [p.device_mesh for p in model.parameters() if isinstance(p, DTensor)]
