"""Methods that combine a layer's activations with the gradients of the score.

Each function returns contributions (N, C, h, w); the map is the ReLU of their sum over channels.

Notation: S is the explained score, usually a class logit; A_k is the activation of channel k of the
layer, (h, w); g_k = dS/dA_k is the gradient of the score with respect to it, (h, w); i, j is a
position in the map, so that Σ_ij sums over all positions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.explain.methods.component import first_component
from lightning_cam.explain.methods.registry import register
from lightning_cam.explain.outputs import logits_of

Contributions = Callable[[Tensor, Tensor], Tensor]

FINER_WEIGHT = 1.0
FINER_RIVALS = 3
NOISE_SAMPLES = 8
NOISE_LEVEL = 0.15  # of each image's range of values


def summed(contributions: Tensor, *, principal: bool) -> Tensor:
    """Return the ReLU of the contributions' sum over channels, or of their first component."""
    total = first_component(contributions) if principal else contributions.sum(dim=1)
    return total.relu()


def _by_gradient(name: str, title: str) -> Callable[[Contributions], Contributions]:
    """Return a decorator that adds a function of activations and gradients to `METHODS`."""

    def enter(function: Contributions) -> Contributions:
        @register(name, title)
        def run(batch: AttributionBatch, site: Site) -> Tensor:
            contributions = function(batch.acts_of(site), batch.grads_of(site))
            return summed(contributions, principal=batch.principal)

        return function

    return enter


@_by_gradient("gradcam", "Grad-CAM")
def gradcam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Return mean_ij(g_k) · A_k.

    Weighs each channel by its gradient averaged over all positions: how much the score rises with
    the channel as a whole. Selvaraju et al. 2017 (Grad-CAM), eq. 1 and 2.
    """
    return grads_NChw.mean(dim=(2, 3), keepdim=True) * acts_NChw


@_by_gradient("gradcam++", "Grad-CAM++")
def gradcam_plus_plus(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Return Σ_ij(α_k ReLU(g_k)) · A_k.

    Weighs each channel by a weighted sum of its positive gradients, where α_k is larger for
    positions with a small share of the channel, so that several small instances of a class count
    as much as a large one. With y the logit and S = exp(y), the paper's α_k = g_k² / (2 g_k² +
    Σ_ij(A_k) g_k³) is 1 / (2 + Σ_ij(A_k) g_k) where g_k is not 0; where it is 0 the ReLU removes
    the term. Chattopadhyay et al. 2018 (Grad-CAM++), eq. 10, 13 and 19.
    """
    # In place: to allocate tensors of this size costs more than to fill them.
    below = (acts_NChw.sum(dim=(2, 3), keepdim=True) * grads_NChw).add_(2)
    shares = grads_NChw.relu().div_(below.masked_fill_(below == 0, torch.inf))
    return shares.sum(dim=(2, 3), keepdim=True) * acts_NChw


def plus_plus_weights(acts: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Return Grad-CAM++'s channel weights (N, C, 1, 1) from derivatives up to the third order."""
    below = 2 * second + acts.sum(dim=(2, 3), keepdim=True) * third
    alpha = torch.where(below == 0, 0.0, second / torch.where(below == 0, 1.0, below))
    return (alpha * first.relu()).sum(dim=(2, 3), keepdim=True)


@_by_gradient("xgradcam", "XGrad-CAM")
def xgradcam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Return Σ_ij(A_k / Σ_ij(A_k) · g_k) · A_k.

    Weighs each channel by its gradient averaged over positions in proportion to the activation, so
    that the weights explain the score as completely as possible. A channel whose activations sum to
    0 weighs 0. Fu et al. 2020 (XGrad-CAM).
    """
    total = acts_NChw.sum(dim=(2, 3), keepdim=True)
    weight = (acts_NChw * grads_NChw).sum(dim=(2, 3), keepdim=True)
    return torch.where(total == 0, 0.0, weight / torch.where(total == 0, 1.0, total)) * acts_NChw


@_by_gradient("hirescam", "HiResCAM")
def hirescam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Return g_k ⊙ A_k, the product at each position.

    Does not average the gradient, so that a position counts only where the score depends on it.
    Equals Grad-CAM at the last layer before average pooling and one linear layer. Draelos and Carin
    2020 (HiResCAM).
    """
    return grads_NChw * acts_NChw


@_by_gradient("elementwise_gradcam", "Element-wise Grad-CAM")
def elementwise_gradcam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Return ReLU(g_k ⊙ A_k): HiResCAM that counts only positive products.

    Pillai and Pirsiavash 2021 (element-wise Grad-CAM).
    """
    return (grads_NChw * acts_NChw).relu()


@_by_gradient("layercam", "LayerCAM")
def layercam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Return ReLU(g_k) ⊙ A_k.

    Weighs each position of a channel by its own positive gradient, which keeps the detail of
    earlier layers. At the last layer before average pooling it hardly depends on the class. Jiang
    et al. 2021 (LayerCAM).
    """
    return grads_NChw.relu() * acts_NChw


@register("finercam", "Finer-CAM")
def finercam(batch: AttributionBatch, site: Site, weight: float = FINER_WEIGHT) -> Tensor:
    """Return Grad-CAM of y_c - γ y_d, where d are the classes whose logits are closest to y_c.

    Shows what distinguishes class c from similar classes. y_d averages the three closest logits in
    proportion to their probabilities, which count as constants; γ is `weight`. Zhang et al. 2025
    (Finer-CAM).
    """
    result = batch.clean
    rows, classes = result.scores.rows, result.scores.classes
    with torch.enable_grad():
        logits_NK = logits_of(result.output, len(batch.images))[rows]
        own = result.scores.values
        if (classes < 0).any():
            raise ValueError("Finer-CAM compares classes; this target names none. Use 'gradcam'.")
        distance = (logits_NK.detach() - own.detach()[:, None]).abs()
        if logits_NK.shape[1] > 1:  # a class is not compared with itself
            distance.scatter_(1, classes[:, None], torch.inf)
        rivals = distance.argsort(dim=1)[:, : min(FINER_RIVALS, logits_NK.shape[1] - 1)]
        shares = logits_NK.detach().softmax(dim=1).gather(1, rivals)
        shares = shares / shares.sum(dim=1, keepdim=True)
        values = own - weight * (shares * logits_NK.gather(1, rivals)).sum(dim=1)
    grads = batch.grads_of(site, result.gradients(values))
    return summed(gradcam(batch.acts_of(site), grads), principal=batch.principal)


@register("smooth_gradcam++", "Smooth Grad-CAM++")
def smooth_gradcam_plus_plus(
    batch: AttributionBatch, site: Site, samples: int = NOISE_SAMPLES, level: float = NOISE_LEVEL
) -> Tensor:
    """Return Grad-CAM++ with derivatives averaged over noisy copies of the image.

    `samples` copies with normal noise of standard deviation `level` of the image's range. Omeiza et
    al. 2019 (Smooth Grad-CAM++).
    """
    powers: list[Tensor] = [torch.zeros(())] * 3
    for sample in range(samples):
        result = batch.forward_altered(noisy(batch, sample, level))
        grads = batch.grads_of(site, result.gradients())
        powers = [total.to(grads) + grads ** (k + 1) / samples for k, total in enumerate(powers)]
    acts = batch.acts_of(site)
    weights = plus_plus_weights(acts, powers[0], powers[1], powers[2])
    return summed(weights * acts, principal=batch.principal)


def noisy(batch: AttributionBatch, sample: int, level: float) -> Tensor:
    """Return the images with noise of standard deviation `level` of each image's range."""
    images = batch.images
    spread = images.amax(dim=(1, 2, 3), keepdim=True) - images.amin(dim=(1, 2, 3), keepdim=True)
    return images + level * spread * batch.noise(sample, images)
