"""FullGrad: the input's share of the score and the share of every bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.explain.capture import Site
from lightning_cam.explain.chunk import Caught, Chunk
from lightning_cam.explain.methods.registry import register

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@register("fullgrad", "FullGrad", place="input")
def fullgrad(chunk: Chunk, site: Site) -> Tensor:
    """|x ⊙ dS/dx| + Σ over biases of |b dS/db| at its place. Srinivas and Fleuret 2019, eq. 6.

    The paper rescales each term to 0..1 for its pictures; here the terms stay in units of the
    score. Linear biases behind the pooling have no place and are left out, as in the paper.
    """
    del site
    parts = decompose(chunk)
    saliency = (parts.image * parts.image_gradient).float().abs().sum(dim=1)
    for spread_NChw in parts.spatial():
        heat = spread_NChw.float().abs().sum(dim=1, keepdim=True)
        size = saliency.shape[1:]
        saliency += F.interpolate(heat, size=size, mode="bilinear", align_corners=False)[:, 0]
    return saliency


@dataclass
class Parts:
    """The terms of the decomposition S = Σ x·dS/dx + Σ b·dS/db of a piecewise linear network.

    Attributes:
        image: (N, C, H, W).
        image_gradient: (N, C, H, W).
        biases: for each layer with a bias, b ⊙ dS/d(its output), in the output's shape.
    """

    image: Tensor
    image_gradient: Tensor
    biases: list[Tensor] = field(default_factory=list)

    def spatial(self) -> Iterator[Tensor]:
        """Yield the bias terms that have height and width."""
        yield from (term for term in self.biases if term.ndim == self.image.ndim)

    def total(self) -> Tensor:
        """Return the sum of all terms, (N,): the score itself in a piecewise linear network."""
        terms = [self.image * self.image_gradient, *self.biases]
        return torch.stack([term.float().flatten(1).sum(dim=1) for term in terms]).sum(dim=0)


def decompose(chunk: Chunk) -> Parts:
    """Run the images with a graph from the pixels on and return all terms."""
    _ = chunk.pinned
    outputs: list[tuple[Tensor, Tensor]] = []
    handles = [
        module.register_forward_hook(_noting(outputs, bias))
        for module in chunk.model.modules()
        if (bias := bias_of(module)) is not None
    ]
    with torch.enable_grad():
        leaf = chunk.images.detach().clone().requires_grad_()
        try:
            scores = chunk.pinned.scores(chunk.run(leaf), chunk.rows)
        finally:
            for handle in handles:
                handle.remove()
    sites = {Site("input"): leaf}
    sites.update({Site("bias", k): output for k, (output, _) in enumerate(outputs)})
    grads = Caught(None, scores, sites, len(leaf)).gradients()
    biases = [grads[Site("bias", k)] * bias for k, (_, bias) in enumerate(outputs)]
    return Parts(chunk.image_of_scores(chunk.images), grads[Site("input")], biases)


def bias_of(module: nn.Module) -> Tensor | None:
    """Return what a layer adds, (C,), or None: the bias, of a BatchNorm also its mean's part."""
    bias: Tensor | None = getattr(module, "bias", None)
    if isinstance(module, _NORMS):
        if module.running_mean is None or module.running_var is None:
            return None
        scale: Tensor = (module.running_var + module.eps).rsqrt()
        scale = scale if module.weight is None else module.weight * scale
        return ((0.0 if bias is None else bias) - module.running_mean * scale).detach()
    if bias is None or not isinstance(module, (nn.Conv2d, nn.Linear)):
        return None
    return bias.detach()


def _noting(outputs: list[tuple[Tensor, Tensor]], bias: Tensor) -> Any:
    def hook(module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        # Channels come second after convolutions and norms, last after linear layers.
        spread = bias if isinstance(module, nn.Linear) else bias.view(-1, *[1] * (output.ndim - 2))
        outputs.append((output, spread))
        return output.clone()  # an in-place ReLU behind it must not overwrite what is kept

    return hook
