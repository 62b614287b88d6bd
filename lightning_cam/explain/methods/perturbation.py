"""Maps from what happens to the score when parts of the image or of the layer are taken away.

One forward pass a channel and image: they cost what hundreds of gradient maps cost. Copies run in
batches up to the chunk size, so the memory does not grow with the channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.explain.capture import Site
from lightning_cam.explain.chunk import Chunk
from lightning_cam.explain.methods.gradient import summed
from lightning_cam.explain.methods.registry import register
from lightning_cam.explain.structure import map_tensors

SMOOTH_SAMPLES = 4
SMOOTH_LEVEL = 2.0
INTEGRAL_STEPS = 4


@register("scorecam", "Score-CAM")
def scorecam(chunk: Chunk, site: Site) -> Tensor:
    """Channels weighted by the score of the image seen through them. Wang et al. 2020."""
    return _weighted(chunk, site, chunk.scores_of(_masked(chunk, site)))


@register("sscam", "SS-CAM")
def sscam(
    chunk: Chunk, site: Site, samples: int = SMOOTH_SAMPLES, level: float = SMOOTH_LEVEL
) -> Tensor:
    """Score-CAM with scores averaged over noisy masks. Wang et al. 2020 (SS-CAM).

    `level` is the noise's standard deviation in units of the upsampled activations.
    """
    total = torch.zeros(())
    for sample in range(samples):
        scores = chunk.scores_of(_masked(chunk, site, noise=(sample, level)))
        total = total.to(scores) + scores / samples
    return _weighted(chunk, site, total)


@register("iscam", "IS-CAM")
def iscam(chunk: Chunk, site: Site, steps: int = INTEGRAL_STEPS) -> Tensor:
    """Score-CAM with scores averaged over a mask that is faded in. Naidu et al. 2020.

    Step i of n shows the image through i/n of the mask.
    """
    total = torch.zeros(())
    for step in range(1, steps + 1):
        scores = chunk.scores_of(v * (step / steps) for v in _masked(chunk, site))
        total = total.to(scores) + scores / steps
    return _weighted(chunk, site, total)


@register("ablationcam", "Ablation-CAM")
def ablationcam(chunk: Chunk, site: Site) -> Tensor:
    """Channels weighted by the share of the score lost without them. Ramaswamy 2020.

    The share is of the score's magnitude; of the score itself, as in the paper, a negative one
    would turn evidence for the class into evidence against it. A score of 0 has no share to lose.
    """
    channels = chunk.layout(site).channels
    clean = chunk.clean.scores.values.detach().float()
    copies = (chunk.images for _ in range(channels))
    scores_CN = chunk.scores_of(copies, around=_ablating(chunk, site))
    lost = torch.where(
        clean == 0, 0.0, (clean - scores_CN) / torch.where(clean == 0, 1.0, clean.abs())
    )
    return summed(lost.T[:, :, None, None] * chunk.acts_of(site), principal=chunk.principal)


def _weighted(chunk: Chunk, site: Site, scores_CN: Tensor) -> Tensor:
    """Return the map for channel scores; what the softmax runs over is the channels."""
    weights_NC = scores_CN.T.softmax(dim=1)
    contributions = weights_NC[:, :, None, None] * chunk.acts_of(site)
    return summed(contributions, principal=chunk.principal)


def _masked(chunk: Chunk, site: Site, noise: tuple[int, float] | None = None) -> Iterator[Tensor]:
    """Yield the images seen through each channel, scaled to 0..1 over its own range."""
    acts = chunk.layout(site).to_bchw(chunk.clean.acts[site].detach())
    for channel in range(acts.shape[1]):
        mask = F.interpolate(
            acts[:, channel : channel + 1].float(),
            size=chunk.images.shape[2:],
            mode="bilinear",
            align_corners=False,
        )
        if noise is not None:
            sample, level = noise
            mask = mask + level * chunk.noise(sample * acts.shape[1] + channel, mask)
        low, high = mask.amin(dim=(2, 3), keepdim=True), mask.amax(dim=(2, 3), keepdim=True)
        span = torch.where(high > low, high - low, 1.0)  # a flat channel shows nothing
        yield chunk.images * ((mask - low) / span).to(chunk.images.dtype)


def _ablating(
    chunk: Chunk, site: Site
) -> Callable[[int, int], contextlib.AbstractContextManager[Any]]:
    """Return contexts in which copy j of the images runs without channel first + j."""
    module, layout, batch = chunk.modules[site.module], chunk.layout(site), len(chunk.images)

    @contextlib.contextmanager
    def around(first: int, count: int) -> Iterator[None]:
        calls = 0

        def ablate(path: str, tensor: Tensor) -> Tensor:
            if path != site.path:
                return tensor
            ablated = tensor.clone()
            for j in range(count):
                layout.zero_channel(ablated, slice(j * batch, (j + 1) * batch), first + j)
            return ablated

        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            nonlocal calls
            mine = site.call is None or site.call == calls
            calls += 1
            return map_tensors(output, ablate) if mine else output

        handle = module.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    return around
