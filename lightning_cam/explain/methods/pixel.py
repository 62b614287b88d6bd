"""Methods in the image's own resolution, from the gradient of the score with respect to pixels.

Guided backpropagation and the deconvnet give detailed maps that hardly depend on the weights
(Adebayo et al. 2018; Nie et al. 2018): they show edges, not evidence. Use them for comparison only.

Notation: S is the score, x_c channel c of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.explain.methods.gradient import gradcam, noisy, summed
from lightning_cam.explain.methods.registry import register

SMOOTHGRAD_SAMPLES = 8
SMOOTHGRAD_LEVEL = 0.15

# Each rectifier with the value that it saturates at; `hardtanh` is one where its minimum is 0.
_RELUS: dict[Any, float] = {
    torch.relu: math.inf,
    torch.relu_: math.inf,
    Tensor.relu: math.inf,
    Tensor.relu_: math.inf,
    F.relu: math.inf,
    F.relu_: math.inf,
    F.relu6: 6.0,
}
_HARDTANHS = (F.hardtanh, F.hardtanh_)


def _largest(gradient_NCHW: Tensor) -> Tensor:
    """Return the largest magnitude over channels, (N, H, W). Simonyan et al. 2014, section 3.1."""
    return gradient_NCHW.float().abs().amax(dim=1)


@register("gradient", "Input gradient", place="input")
def gradient(batch: AttributionBatch, site: Site) -> Tensor:
    """Return max_c |dS/dx_c|: how much the score changes with each pixel. Simonyan et al. 2014."""
    del site
    return _largest(batch.image_gradient())


@register("smoothgrad", "SmoothGrad", place="input")
def smoothgrad(
    batch: AttributionBatch,
    site: Site,
    samples: int = SMOOTHGRAD_SAMPLES,
    level: float = SMOOTHGRAD_LEVEL,
) -> Tensor:
    """Return the input gradient averaged over noisy copies of the image.

    `samples` copies with normal noise of standard deviation `level` of the image's range. Smilkov
    et al. 2017 (SmoothGrad).
    """
    del site
    total = torch.zeros(())
    for sample in range(samples):
        found = batch.image_gradient(noisy(batch, sample, level)).float()
        total = total.to(found) + found / samples
    return _largest(total)


@register("guided_backprop", "Guided backpropagation", place="input")
def guided_backprop(batch: AttributionBatch, site: Site) -> Tensor:
    """Return the input gradient that passes ReLUs only where input and gradient are positive.

    Nearly independent of the weights, see the module. Springenberg et al. 2015, section 3.4.
    """
    del site
    return _largest(_altered(batch, _GuidedReLU))


@register("deconvnet", "Deconvnet", place="input")
def deconvnet(batch: AttributionBatch, site: Site) -> Tensor:
    """Return the input gradient that passes ReLUs only where the gradient is positive.

    Nearly independent of the weights, see the module. Zeiler and Fergus 2014, section 2.1.
    """
    del site
    return _largest(_altered(batch, _DeconvReLU))


@register("guided_gradcam", "Guided Grad-CAM")
def guided_gradcam(batch: AttributionBatch, site: Site) -> Tensor:
    """Return guided backpropagation multiplied by the enlarged Grad-CAM map, (N, H, W).

    Selvaraju et al. 2017, section 3.2.
    """
    coarse = summed(gradcam(batch.acts_of(site), batch.grads_of(site)), principal=batch.principal)
    size = batch.images.shape[2:]
    fine = F.interpolate(coarse[:, None], size=size, mode="bilinear", align_corners=False)
    return _largest(_altered(batch, _GuidedReLU).float() * fine)


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, top: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.top = top
        return value.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        value: Tensor = ctx.saved_tensors[0]
        return grads[0].clamp(min=0) * ((value > 0) & (value < ctx.top)), None


class _DeconvReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, top: float) -> Tensor:
        del ctx
        return value.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        del ctx
        return grads[0].clamp(min=0), None


class _ReplacingReLU(TorchFunctionMode):
    """Runs another function in place of each ReLU: module, function or method, in place or not.

    Hooks on `nn.ReLU` would miss functional ones and fail on in-place ones.
    """

    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self._apply: Callable[[Tensor, float], Tensor] = function.apply
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        top = _RELUS.get(func)
        if func in _HARDTANHS:
            low, high, *_ = [*args[1:3], kwargs.get("min_val", -1.0), kwargs.get("max_val", 1.0)]
            top = float(high) if low == 0 else None
        if top is None:
            return func(*args, **kwargs)
        self.count += 1
        return self._apply(args[0] if args else kwargs["input"], top)


def _altered(batch: AttributionBatch, function: type[torch.autograd.Function]) -> Tensor:
    _ = batch.pinned  # the explained class is that of the unaltered network
    with _ReplacingReLU(function) as mode:
        found = batch.image_gradient()
    if mode.count == 0:
        raise ValueError(
            "guided methods alter the gradient of ReLUs, and this network has none. Use 'gradient' "
            "or 'smoothgrad'."
        )
    return found
