"""FullGrad: the contributions of the input and of every bias to the score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lightning_cam.explain.attribution import AttributionBatch, ForwardResult, unconnected
from lightning_cam.explain.capture import Site
from lightning_cam.explain.layout import Layout, infer_layout
from lightning_cam.explain.methods.registry import register


@register("fullgrad", "FullGrad", place="input")
def fullgrad(batch: AttributionBatch, site: Site) -> Tensor:
    """Return |x ⊙ dS/dx| + Σ_b |b · dS/db| at the position of each bias b.

    In a network of linear layers and ReLUs the score S is exactly the sum of x · dS/dx over the
    image x and of b · dS/db over all biases. The paper rescales each term to 0..1 for its figures;
    here the terms stay in units of the score. Biases after the pooling have no position and are
    left out, as in the paper. Srinivas and Fleuret 2019 (FullGrad).
    """
    del site
    parts = decompose(batch)
    saliency = (parts.image * parts.image_gradient).float().abs().sum(dim=1)
    for spread_NChw in parts.spatial():
        heat = spread_NChw.float().abs().sum(dim=1, keepdim=True)
        size = saliency.shape[1:]
        saliency += F.interpolate(heat, size=size, mode="bilinear", align_corners=False)[:, 0]
    return saliency


@dataclass
class Parts:
    """The terms of the decomposition S = Σ x · dS/dx + Σ b · dS/db of a piecewise linear network.

    Attributes:
        image: (N, C, H, W).
        image_gradient: (N, C, H, W).
        biases: for each layer with a bias, b ⊙ dS/d(its output), one row per score.
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
        """Return the sum of all terms, (N,): the score of a piecewise linear network."""
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
        if len(self.output) != len(images):  # windows folded into the batch have no position
            return None
        if self.output.ndim != images.ndim:
            return infer_layout(shape, (images.shape[2], images.shape[3]))
        if self.linear:
            return Layout("nhwc", (shape[1], shape[2]), shape[3])
        return Layout("nchw", (shape[2], shape[3]), shape[1])


def decompose(batch: AttributionBatch) -> Parts:
    """Run the images with a graph from the pixels on and return all terms."""
    _ = batch.pinned
    with torch.enable_grad(), _BiasRecorder() as mode:
        leaf = batch.images.detach().clone().requires_grad_()
        scores = batch.pinned.scores(batch.run_model(leaf), batch.rows)
    if not scores.values.requires_grad:
        raise ValueError(unconnected("input"))
    layers = [each for each in mode.found if each.output.requires_grad]
    sites = {Site("input"): leaf}
    sites.update({Site("bias", k): each.output for k, each in enumerate(layers)})
    grads = ForwardResult(None, scores, sites, len(leaf)).gradients()
    return Parts(
        batch.per_score(batch.images),
        grads[Site("input")],
        [grads[Site("bias", k)] * each.bias for k, each in enumerate(layers)],
        [each.layout(batch.images) for each in layers],
    )


class _BiasRecorder(TorchFunctionMode):
    """Records the outputs of convolutions, norms and linear layers, with the biases in them.

    Functions are recorded, not modules: a module may do more after adding its bias (timm's norms
    contain the activation), and the gradient is needed before that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Biased] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        bias = None
        if func in (F.conv2d, F.linear):
            bias = args[2] if len(args) > 2 else kwargs.get("bias")  # noqa: PLR2004
        elif func is F.batch_norm:
            bias = _added_by_norm(*args, **kwargs)
        if bias is None:
            return output
        linear = func is F.linear
        spread = bias.detach() if linear else bias.detach().view(-1, *[1] * (output.ndim - 2))
        self.found.append(_Biased(output, spread, linear))
        return output.clone()  # an in-place ReLU after it must not overwrite what is kept


def _added_by_norm(
    _input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """Return the additive part of a BatchNorm: its bias minus the scaled running mean."""
    del training, momentum
    if running_mean is None or running_var is None:
        return None
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else weight * scale
    return (0.0 if bias is None else bias) - running_mean * scale
