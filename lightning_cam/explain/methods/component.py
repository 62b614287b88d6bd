"""Maps from the principal components of a layer's activations."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.explain.methods.registry import register


def first_component(values_NChw: Tensor, *, signed: bool = True) -> Tensor:
    """Return each image's projection on its first right singular vector, (N, h, w).

    The vector's sign is free, and left free a map could turn into its negative from one epoch to
    the next. For contributions to a score (`signed`) it is chosen so that the projection agrees
    with their sum over channels, lest evidence against a class becomes evidence for it; for
    activations so that the projection's sum is not negative. Not centred, as in the paper. Found
    from the smaller of the two Gram matrices: cells × cells or channels × channels. NaN where an
    image's values are not finite.
    """
    count, channels, h, w = values_NChw.shape
    undefined = ~values_NChw.flatten(1).isfinite().all(dim=1)
    values_NChw = values_NChw.masked_fill(undefined.view(-1, 1, 1, 1), 0.0)
    values_NMC = values_NChw.flatten(2).transpose(1, 2)
    if h * w <= channels:
        eigenvalues, vectors = torch.linalg.eigh(values_NMC @ values_NMC.transpose(1, 2))
        projected: Tensor = vectors[:, :, -1] * eigenvalues[:, -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(values_NMC.transpose(1, 2) @ values_NMC)
        projected = (values_NMC @ vectors[:, :, -1:])[:, :, 0]
    reference = values_NMC.sum(dim=2) if signed else torch.ones_like(projected)
    agreement = (projected * reference).sum(dim=1, keepdim=True)
    projected = torch.where(agreement < 0, -projected, projected)
    return projected.masked_fill(undefined[:, None], torch.nan).reshape(count, h, w)


@register("eigencam", "Eigen-CAM", class_free=True)
def eigencam(batch: AttributionBatch, site: Site) -> Tensor:
    """First principal component of A. Muhammad and Yeasin 2020. Knows no class."""
    return first_component(batch.acts_of(site), signed=False).relu()


@register("eigengradcam", "EigenGrad-CAM")
def eigengradcam(batch: AttributionBatch, site: Site) -> Tensor:
    """First principal component of g ⊙ A: Eigen-CAM that knows the class."""
    return first_component(batch.acts_of(site) * batch.grads_of(site)).relu()


@register("channel_mean", "Channel mean", class_free=True)
def channel_mean(batch: AttributionBatch, site: Site) -> Tensor:
    """Mean over channels of A, ReLU'd: how strongly a place excites the layer, for any class."""
    return batch.acts_of(site).mean(dim=1).relu()


@register("random", "Random map", class_free=True)
def random_map(batch: AttributionBatch, site: Site) -> Tensor:
    """Uniform noise in the layer's shape: what a metric says of a map that knows nothing."""
    acts = batch.acts_of(site)
    rows = batch.clean.scores.rows.tolist()
    maps = []
    for row in rows:
        generator = torch.Generator().manual_seed(batch.seed * 1_000_003 + batch.rows.start + row)
        maps.append(torch.rand(acts.shape[2:], generator=generator))
    return torch.stack(maps).to(acts.device)
