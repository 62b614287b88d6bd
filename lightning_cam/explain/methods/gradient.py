"""Maps from a layer's activations and the gradients of the score with respect to them.

Each function returns contributions (N, C, h, w); the map is the ReLU of their sum over channels.
Notation: A_k activation of channel k, g_k = dS/dA_k its gradient, both (h, w).
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
NOISE_LEVEL = 0.15  # of each image's range


def summed(contributions: Tensor, *, principal: bool) -> Tensor:
    """Return the map of contributions: their sum over channels, or their first component."""
    total = first_component(contributions) if principal else contributions.sum(dim=1)
    return total.relu()


def _by_gradient(name: str, title: str) -> Callable[[Contributions], Contributions]:
    """Return a decorator that enters a function of activations and gradients into `METHODS`."""

    def enter(function: Contributions) -> Contributions:
        @register(name, title)
        def run(batch: AttributionBatch, site: Site) -> Tensor:
            contributions = function(batch.acts_of(site), batch.grads_of(site))
            return summed(contributions, principal=batch.principal)

        return function

    return enter


@_by_gradient("gradcam", "Grad-CAM")
def gradcam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """mean(g_k) · A_k. Selvaraju et al. 2017, eq. 1 and 2."""
    return grads_NChw.mean(dim=(2, 3), keepdim=True) * acts_NChw


@_by_gradient("gradcam++", "Grad-CAM++")
def gradcam_plus_plus(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Σ_ij α_k ReLU(g_k) · A_k. Chattopadhyay et al. 2018, eq. 10, 13 and 19.

    For S = exp(y) the paper's α = g² / (2g² + ΣA_k · g³) is 1 / (2 + ΣA_k · g) where g is not 0,
    and where it is 0 the ReLU takes nothing anyway.
    """
    # In place, since tensors of this size cost more to come by than to fill.
    below = (acts_NChw.sum(dim=(2, 3), keepdim=True) * grads_NChw).add_(2)
    shares = grads_NChw.relu().div_(below.masked_fill_(below == 0, torch.inf))
    return shares.sum(dim=(2, 3), keepdim=True) * acts_NChw


def plus_plus_weights(acts: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Return Grad-CAM++'s channel weights (N, C, 1, 1) from derivatives up to the third."""
    below = 2 * second + acts.sum(dim=(2, 3), keepdim=True) * third
    alpha = torch.where(below == 0, 0.0, second / torch.where(below == 0, 1.0, below))
    return (alpha * first.relu()).sum(dim=(2, 3), keepdim=True)


@_by_gradient("xgradcam", "XGrad-CAM")
def xgradcam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """Σ_ij (A_k / ΣA_k) g_k · A_k. Fu et al. 2020; a channel that sums to 0 weighs 0."""
    total = acts_NChw.sum(dim=(2, 3), keepdim=True)
    weight = (acts_NChw * grads_NChw).sum(dim=(2, 3), keepdim=True)
    return torch.where(total == 0, 0.0, weight / torch.where(total == 0, 1.0, total)) * acts_NChw


@_by_gradient("hirescam", "HiResCAM")
def hirescam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """g_k ⊙ A_k. Draelos and Carin 2020."""
    return grads_NChw * acts_NChw


@_by_gradient("elementwise_gradcam", "Element-wise Grad-CAM")
def elementwise_gradcam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """ReLU(g_k ⊙ A_k): HiResCAM that counts positive parts alone. Pillai and Pirsiavash 2021."""
    return (grads_NChw * acts_NChw).relu()


@_by_gradient("layercam", "LayerCAM")
def layercam(acts_NChw: Tensor, grads_NChw: Tensor) -> Tensor:
    """ReLU(g_k) ⊙ A_k. Jiang et al. 2021."""
    return grads_NChw.relu() * acts_NChw


@register("finercam", "Finer-CAM")
def finercam(batch: AttributionBatch, site: Site, weight: float = FINER_WEIGHT) -> Tensor:
    """Grad-CAM of y_c - γ y_d, d the classes closest to c. Zhang et al. 2025.

    The three closest logits are averaged by their probabilities, which count as constants.
    """
    result = batch.clean
    rows, classes = result.scores.rows, result.scores.classes
    with torch.enable_grad():
        logits_NK = logits_of(result.output, len(batch.images))[rows]
        own = result.scores.values
        if (classes < 0).any():
            raise ValueError("Finer-CAM compares classes; this target names none. Use 'gradcam'.")
        distance = (logits_NK.detach() - own.detach()[:, None]).abs()
        if logits_NK.shape[1] > 1:  # a class is not its own rival
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
    """Grad-CAM++ with derivatives averaged over noisy images. Omeiza et al. 2019."""
    powers: list[Tensor] = [torch.zeros(())] * 3
    for sample in range(samples):
        result = batch.forward_altered(noisy(batch, sample, level))
        grads = batch.grads_of(site, result.gradients())
        powers = [total.to(grads) + grads ** (k + 1) / samples for k, total in enumerate(powers)]
    acts = batch.acts_of(site)
    weights = plus_plus_weights(acts, powers[0], powers[1], powers[2])
    return summed(weights * acts, principal=batch.principal)


def noisy(batch: AttributionBatch, sample: int, level: float) -> Tensor:
    """Return the batch's images with noise, whose deviation is `level` of each image's range."""
    images = batch.images
    spread = images.amax(dim=(1, 2, 3), keepdim=True) - images.amin(dim=(1, 2, 3), keepdim=True)
    return images + level * spread * batch.noise(sample, images)
