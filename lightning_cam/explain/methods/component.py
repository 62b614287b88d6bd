"""Methods that need no gradient, and the first principal component of a layer.

Notation: A is the activations of a layer, (C, h, w); g = dS/dA the gradient of the score S.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.explain.methods.registry import register


def first_component(values_NChw: Tensor, *, signed: bool = True) -> Tensor:
    """Return each image's projection on its first right singular vector, (N, h, w).

    The values are a matrix of positions × channels; its first right singular vector is the
    direction in channel space with the largest energy. They are not centred, as in the paper. The
    vector is computed from the smaller of the two Gram matrices. Its sign is arbitrary, and could
    change from one epoch to the next, so it is fixed: for contributions to a score (`signed`) the
    projection agrees with their sum over channels, so that evidence against a class does not turn
    into evidence for it; for activations the projection's sum is not negative.

    Args:
        values_NChw: (N, C, h, w).
        signed: whether they are contributions to a score.

    Returns:
        NaN for images whose values are not finite.
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
    """Return the ReLU of the projection of A on its first principal component.

    Shows what dominates the layer, for any class. Muhammad and Yeasin 2020 (Eigen-CAM).
    """
    return first_component(batch.acts_of(site), signed=False).relu()


@register("eigengradcam", "EigenGrad-CAM")
def eigengradcam(batch: AttributionBatch, site: Site) -> Tensor:
    """Return the ReLU of the projection of g ⊙ A on its first principal component.

    Eigen-CAM that depends on the class. Introduced in the package pytorch-grad-cam.
    """
    return first_component(batch.acts_of(site) * batch.grads_of(site)).relu()


@register("channel_mean", "Channel mean", class_free=True)
def channel_mean(batch: AttributionBatch, site: Site) -> Tensor:
    """Return the ReLU of the mean of A over channels: how strongly each position is activated."""
    return batch.acts_of(site).mean(dim=1).relu()


@register("random", "Random map", class_free=True)
def random_map(batch: AttributionBatch, site: Site) -> Tensor:
    """Return uniform noise of the layer's shape: the baseline of a map that knows nothing."""
    acts = batch.acts_of(site)
    rows = batch.clean.scores.rows.tolist()
    maps = []
    for row in rows:
        generator = torch.Generator().manual_seed(batch.seed * 1_000_003 + batch.rows.start + row)
        maps.append(torch.rand(acts.shape[2:], generator=generator))
    return torch.stack(maps).to(acts.device)
