"""Methods that mask the image or ablate the layer and measure the score.

They need one forward pass per channel and image, as much as hundreds of gradient methods. Copies
run in batches up to the chunk size, so that memory does not grow with the number of channels.

Notation: A_k is the activation of channel k, M_k the same enlarged to the image and scaled to 0..1,
x the image, S(x) the score.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.explain.methods.gradient import summed
from lightning_cam.explain.methods.registry import register
from lightning_cam.explain.modules import add_forward_hook
from lightning_cam.runtime.containers import map_tensors

SMOOTH_SAMPLES = 4
SMOOTH_LEVEL = 2.0
INTEGRAL_STEPS = 4


@register("scorecam", "Score-CAM")
def scorecam(batch: AttributionBatch, site: Site) -> Tensor:
    """Return ReLU(Σ_k softmax_k(S(x ⊙ M_k)) A_k).

    Weighs each channel by the score of the image masked with that channel. Wang et al. 2020
    (Score-CAM).
    """
    return _weighted(batch, site, batch.scores_of(_masked(batch, site)))


@register("sscam", "SS-CAM")
def sscam(
    batch: AttributionBatch, site: Site, samples: int = SMOOTH_SAMPLES, level: float = SMOOTH_LEVEL
) -> Tensor:
    """Return Score-CAM with scores averaged over noisy masks.

    `samples` masks, with normal noise of standard deviation `level` in units of the enlarged
    activations. Wang et al. 2020 (SS-CAM).
    """
    total = torch.zeros(())
    for sample in range(samples):
        scores = batch.scores_of(_masked(batch, site, noise=(sample, level)))
        total = total.to(scores) + scores / samples
    return _weighted(batch, site, total)


@register("iscam", "IS-CAM")
def iscam(batch: AttributionBatch, site: Site, steps: int = INTEGRAL_STEPS) -> Tensor:
    """Return Score-CAM with scores averaged over masks of growing strength.

    Step i of n masks the image with i/n · M_k. Naidu et al. 2020 (IS-CAM).
    """
    total = torch.zeros(())
    for step in range(1, steps + 1):
        scores = batch.scores_of(v * (step / steps) for v in _masked(batch, site))
        total = total.to(scores) + scores / steps
    return _weighted(batch, site, total)


@register("ablationcam", "Ablation-CAM")
def ablationcam(batch: AttributionBatch, site: Site) -> Tensor:
    """Return ReLU(Σ_k (S - S_k) / |S| · A_k), where S_k is the score with channel k set to 0.

    Weighs each channel by the share of the score that is lost without it. The paper divides by S
    instead of |S|, which would turn evidence for the class into evidence against it where the score
    is negative. A score of 0 has no share to lose. Desai and Ramaswamy 2020 (Ablation-CAM).
    """
    channels = batch.layout(site).channels
    clean = batch.clean.scores.values.detach().float()
    copies = (batch.images for _ in range(channels))
    scores_CN = batch.scores_of(copies, around=_ablating(batch, site))
    lost = torch.where(
        clean == 0, 0.0, (clean - scores_CN) / torch.where(clean == 0, 1.0, clean.abs())
    )
    return summed(lost.T[:, :, None, None] * batch.acts_of(site), principal=batch.principal)


def _weighted(batch: AttributionBatch, site: Site, scores_CN: Tensor) -> Tensor:
    """Return the map for the scores (C, N) of channels; the softmax is over channels."""
    weights_NC = scores_CN.T.softmax(dim=1)
    contributions = weights_NC[:, :, None, None] * batch.acts_of(site)
    return summed(contributions, principal=batch.principal)


def _masked(
    batch: AttributionBatch, site: Site, noise: tuple[int, float] | None = None
) -> Iterator[Tensor]:
    """Yield the images masked with each channel, which is scaled to 0..1 over its own range."""
    acts = batch.layout(site).to_bchw(batch.clean.acts[site].detach())
    for channel in range(acts.shape[1]):
        mask = F.interpolate(
            acts[:, channel : channel + 1].float(),
            size=batch.images.shape[2:],
            mode="bilinear",
            align_corners=False,
        )
        if noise is not None:
            sample, level = noise
            mask = mask + level * batch.noise(sample * acts.shape[1] + channel, mask)
        low, high = mask.amin(dim=(2, 3), keepdim=True), mask.amax(dim=(2, 3), keepdim=True)
        span = torch.where(high > low, high - low, 1.0)  # a constant channel masks everything
        yield batch.images * ((mask - low) / span).to(batch.images.dtype)


def _ablating(
    batch: AttributionBatch, site: Site
) -> Callable[[int, int], contextlib.AbstractContextManager[Any]]:
    """Return contexts in which copy j of the images runs without channel first + j."""
    module, layout, size = batch.modules[site.module], batch.layout(site), len(batch.images)

    @contextlib.contextmanager
    def around(first: int, count: int) -> Iterator[None]:
        calls = 0

        def ablate(path: str, tensor: Tensor) -> Tensor:
            if path != site.path:
                return tensor
            ablated = tensor.clone()
            for j in range(count):
                layout.zero_channel(ablated, slice(j * size, (j + 1) * size), first + j)
            return ablated

        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            nonlocal calls
            mine = site.call is None or site.call == calls
            calls += 1
            return map_tensors(output, ablate) if mine else output

        # Before hooks of the user's own, which may store the output for the head.
        own = site.module not in batch.replaced
        handle = add_forward_hook(module, hook, prepend=own)
        try:
            yield
        finally:
            handle.remove()

    return around
