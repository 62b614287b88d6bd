"""The same network with fresh weights, without touching the one that trains."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cam.runtime.model_state import isolated_rng
from lightning_cam.runtime.signals import defer_signals

_ATTRIBUTE = "network"


class Untrained(nn.Module):
    """Runs `model` with fresh weights in place of its own.

    The weights are swapped for the duration of a forward pass only, by
    `torch.func.functional_call`; the model's parameters are neither written to nor replaced. A
    layer `name` of the model is `network.name` here.

    Args:
        model: whose architecture is run.
        seed: of the weights, from a private stream.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        super().__init__()
        self.network = model
        self._fresh = fresh_weights(model, seed)

    def forward(self, images: Tensor) -> Any:
        """Return the network's output under the fresh weights."""
        with defer_signals():
            return torch.func.functional_call(self.network, self._fresh, (images,))


def layer_in_untrained(layer: str) -> str:
    """Return the name that a layer of the model has in `Untrained`."""
    return f"{_ATTRIBUTE}.{layer}"


def fresh_weights(model: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return parameters and buffers by name, as a newly made network would have them.

    Modules draw them by their own `reset_parameters`. Parameters that no module knows how to draw,
    such as class tokens and position embeddings, are drawn from a normal distribution with their
    present mean and standard deviation, so that constants stay constant.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    fresh: dict[str, Tensor] = {}
    with isolated_rng(device), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        for prefix, module in model.named_modules():
            drawn = _fresh_tensors(module)
            fresh.update({f"{prefix}.{name}" if prefix else name: t for name, t in drawn.items()})
    return fresh


def _fresh_tensors(module: nn.Module) -> dict[str, Tensor]:
    twin = copy.copy(module)
    twin._parameters = {  # noqa: SLF001
        name: None if p is None else nn.Parameter(p.detach().clone(), requires_grad=False)
        for name, p in module._parameters.items()  # noqa: SLF001
    }
    twin._buffers = {  # noqa: SLF001
        name: None if b is None else b.detach().clone()
        for name, b in module._buffers.items()  # noqa: SLF001
    }
    reset = getattr(twin, "reset_parameters", None)
    if callable(reset) and not module._modules:  # noqa: SLF001
        reset()
    else:
        for parameter in twin._parameters.values():  # noqa: SLF001
            if parameter is not None and parameter.is_floating_point():
                spread = parameter.std(correction=0)
                parameter.copy_(torch.randn_like(parameter) * spread + parameter.mean())
    held = {**twin._parameters, **twin._buffers}  # noqa: SLF001
    return {name: t.detach() for name, t in held.items() if t is not None}
