"""CAM: maps from the weights of a linear layer after global average pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.explain.methods.gradient import summed
from lightning_cam.explain.methods.registry import register
from lightning_cam.explain.outputs import find_logits


@register("cam", "CAM")
def cam(batch: AttributionBatch, site: Site) -> Tensor:
    """Return ReLU(Σ_k w_ck A_k).

    Weighs the activation A_k of each channel k of the last convolution by its weight w_ck in the
    linear layer for class c, which is exact where only average pooling lies between them. Zhou et
    al. 2016 (CAM); the ReLU removes negative evidence as in later methods.

    Raises:
        ValueError: the network does not end in one linear layer from the site's channels.
    """
    acts = batch.acts_of(site)
    scores = batch.clean.scores
    weight_KC = _head(batch.model, acts.shape[1]).weight.detach().float().flatten(1)
    logits_BK = find_logits(batch.clean.output, len(batch.images))
    if logits_BK is None or (scores.classes < 0).any():
        raise ValueError("CAM explains class logits; this target names none. Use 'gradcam'.")
    if len(weight_KC) == 1:  # a single logit stands for class 1, its negative for class 0
        weight_KC, logits_BK = (
            torch.cat([-weight_KC, weight_KC]),
            torch.cat([-logits_BK, logits_BK], 1),
        )
    if not torch.equal(scores.values, logits_BK[scores.rows, scores.classes]):
        raise ValueError("CAM explains class logits; this target is another score. Use 'gradcam'.")
    contributions = weight_KC[scores.classes][:, :, None, None] * acts
    return summed(contributions, principal=batch.principal)


def _head(model: nn.Module, channels: int) -> nn.Linear | nn.Conv2d:
    """Return the last layer with weights, if it is linear in the channels."""
    layers = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    last = layers[-1] if layers else None
    if isinstance(last, nn.Linear) and last.in_features == channels:
        return last
    if isinstance(last, nn.Conv2d) and last.kernel_size == (1, 1) and last.in_channels == channels:
        return last
    raise ValueError(
        f"CAM needs a network that ends in a global average pooling and one linear layer of "
        f"{channels} inputs, got {last}. Use 'gradcam', which is equal there and works elsewhere."
    )
