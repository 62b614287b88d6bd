"""FullGrad: the input's share of the score and the share of every bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.explain.capture import Site
from lightning_cam.explain.chunk import Caught, Chunk, unconnected
from lightning_cam.explain.layout import Layout, infer_layout
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
        biases: for each layer with a bias, b ⊙ dS/d(its output), a row a score.
        layouts: of these terms; None where they have no height and width.
    """

    image: Tensor
    image_gradient: Tensor
    biases: list[Tensor]
    layouts: list[Layout | None]

    def spatial(self) -> Iterator[Tensor]:
        """Yield the bias terms that have height and width as (N, C, h, w)."""
        for term, layout in zip(self.biases, self.layouts, strict=True):
            if layout is not None:
                yield layout.to_bchw(term)

    def total(self) -> Tensor:
        """Return the sum of all terms, (N,): the score itself in a piecewise linear network."""
        terms = [self.image * self.image_gradient, *self.biases]
        return torch.stack([term.float().flatten(1).sum(dim=1) for term in terms]).sum(dim=0)


@dataclass(frozen=True)
class _Biased:
    """A layer's output and the bias in it, shaped to multiply it."""

    output: Tensor
    bias: Tensor
    linear: bool

    def layout(self, images: Tensor) -> Layout | None:
        shape = tuple(self.output.shape)
        if len(self.output) != len(images):  # windows folded into the batch have no place
            return None
        if self.output.ndim != images.ndim:
            return infer_layout(shape, (images.shape[2], images.shape[3]))
        if self.linear:
            return Layout("nhwc", (shape[1], shape[2]), shape[3])
        return Layout("nchw", (shape[2], shape[3]), shape[1])


def decompose(chunk: Chunk) -> Parts:
    """Run the images with a graph from the pixels on and return all terms."""
    _ = chunk.pinned
    found: list[_Biased] = []
    handles = [
        module.register_forward_hook(_noting(found, bias))
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
    if not scores.values.requires_grad:
        raise ValueError(unconnected("input"))
    layers = [each for each in found if each.output.requires_grad]
    sites = {Site("input"): leaf}
    sites.update({Site("bias", k): each.output for k, each in enumerate(layers)})
    grads = Caught(None, scores, sites, len(leaf)).gradients()
    return Parts(
        chunk.image_of_scores(chunk.images),
        grads[Site("input")],
        [grads[Site("bias", k)] * each.bias for k, each in enumerate(layers)],
        [each.layout(chunk.images) for each in layers],
    )


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


def _noting(found: list[_Biased], bias: Tensor) -> Any:
    def hook(module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        # Channels come second after convolutions and norms, last after linear layers.
        linear = isinstance(module, nn.Linear)
        spread = bias if linear else bias.view(-1, *[1] * (output.ndim - 2))
        found.append(_Biased(output, spread, linear))
        return output.clone()  # an in-place ReLU behind it must not overwrite what is kept

    return hook
