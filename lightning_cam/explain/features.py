"""`feature_maps`: the activations of single channels of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.engine import autocast_of_caller
from lightning_cam.explain.layers import LayersLike, resolve_layers
from lightning_cam.explain.model_call import adapt
from lightning_cam.explain.modules import module_of, unwrap
from lightning_cam.explain.targets import ClassTarget, NoTarget
from lightning_cam.runtime.checks import check_images
from lightning_cam.runtime.containers import normal
from lightning_cam.runtime.model_state import preserve_model_state


@dataclass(frozen=True)
class FeatureMaps:
    """Some channels of one layer.

    Attributes:
        maps: (B, k, h, w) float32 on the images' device, the activations as they are.
        channels: indices of the k channels.
        total: number of channels of the layer.
    """

    maps: Tensor
    channels: tuple[int, ...]
    total: int


def feature_maps(
    model: nn.Module,
    images: Tensor,
    layers: LayersLike = "auto",
    channels: int | Sequence[int] = 8,
) -> dict[str, FeatureMaps]:
    """Return activations of chosen layers and channels, and leave the model as it was found.

    Early layers show where edges and colours are (Zeiler and Fergus 2014, Yosinski et al. 2015). In
    later layers a channel seldom has a single meaning, and an activation does not say how the
    network uses it.

    Args:
        model: any module, on the images' device; it runs in evaluation mode on all images at once.
        images: (B, C, H, W) floating point, as the model expects them.
        layers: as in `compute_cams`.
        channels: their indices, or their number: then those with the largest mean square over
            images and positions, the largest first. Which channels these are may change from call
            to call as the network learns; give indices to follow the same ones.

    Returns:
        The feature maps by layer, (B, k, h, w) whatever the layer's own layout.

    Raises:
        ValueError: unknown layer, one that does not run or has no height and width, or a channel
            that it does not have.
        TypeError: arguments of the wrong kind.
    """
    check_images(images)
    check_channels(channels)
    model = adapt(unwrap(model))
    modules = resolve_layers(model, images, ClassTarget(), layers)
    autocast = autocast_of_caller(images.device.type)
    with preserve_model_state(model, images.device):
        batch = AttributionBatch(
            model=model,
            images=normal(images),
            rows=slice(0, len(images)),
            target=NoTarget(),
            modules={module_of(name): module for name, module in modules.items()},
            wanted=frozenset(modules),
            autocast=autocast,
        )
        with torch.autocast(images.device.type, enabled=False):
            return {str(site): _chosen(batch.acts_of(site), channels) for site in batch.sites}


def check_channels(channels: object) -> None:
    """Raise ValueError unless `channels` is a positive number or a list of indices."""
    several = isinstance(channels, Sequence) and not isinstance(channels, str)
    values = list(channels) if several else [channels]  # type: ignore[call-overload]
    whole = all(isinstance(each, int) and not isinstance(each, bool) for each in values)
    if not values or not whole or min(values) < (0 if several else 1):
        raise ValueError(
            "expected channels as a number of 1 or more, or as indices of 0 or more, got "
            f"{channels!r}"
        )


def _chosen(acts: Tensor, channels: int | Sequence[int]) -> FeatureMaps:
    total = acts.shape[1]
    if isinstance(channels, int):
        energy = acts.square().mean(dim=(0, 2, 3)).nan_to_num(0)
        picked = energy.argsort(descending=True, stable=True)[:channels].tolist()
    else:
        picked = list(channels)
        if max(picked) >= total:
            raise ValueError(f"expected channels below {total}, got {max(picked)}")
    return FeatureMaps(acts[:, picked].contiguous(), tuple(picked), total)
