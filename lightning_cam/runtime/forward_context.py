"""`ForwardContext`: on which device, in which dtype and precision the network runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cam.runtime.fabric import precision_of


@dataclass(frozen=True)
class ForwardContext:
    """How images are brought to a network and in which precision it runs.

    Attributes:
        to_model: returns images on the model's device and in the dtype that it is fed.
        precision: makes the context that the network runs in, such as autocast.
    """

    to_model: Callable[[Tensor], Tensor]
    precision: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    @classmethod
    def of(cls, model: nn.Module) -> ForwardContext:
        """Return the context of a model without a trainer.

        Device and dtype are those of its first floating point parameter; autocast is the caller's.
        A model that `fabric.setup` returned runs in the fabric's precision.
        """
        weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
        fabric = precision_of(model)
        if fabric is not None:
            return cls(
                lambda images: fabric.convert_input(images.to(weight.device)),
                fabric.forward_context,
            )
        return cls(lambda images: images.to(weight.device, weight.dtype))
