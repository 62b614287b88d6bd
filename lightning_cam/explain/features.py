"""Feature maps: what single channels of a layer say about images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_cam.explain.chunk import Chunk
from lightning_cam.explain.engine import callers_autocast, check_images
from lightning_cam.explain.layers import LayersLike, resolve_layers
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.modules import module_of, unwrap
from lightning_cam.explain.structure import normal
from lightning_cam.explain.targets import ClassTarget, NoTarget


@dataclass(frozen=True)
class FeatureMaps:
    """Some channels of one layer.

    Attributes:
        maps: (B, k, h, w) float32 on the images' device, the activations as they are.
        channels: the k channels' indices.
        total: how many channels the layer has.
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

    Early layers show edges and colours where they are (Zeiler and Fergus 2014, Yosinski et al.
    2015); in later ones a channel seldom has one meaning, and none of this says what the network
    makes of it.

    Args:
        model: any module, on the images' device; it runs in evaluation mode, images all at once.
        images: (B, C, H, W) floating point, as the model expects them.
        layers: as in `compute_cams`.
        channels: their indices, or how many: then those with the largest mean square over the
            images and places, the largest first. Which these are may change from call to call as
            the network learns; name them to follow the same ones.

    Returns:
        The maps by layer, as (B, k, h, w) whatever the layer's own layout.

    Raises:
        ValueError: unknown layer, one that does not run or has no height and width, or a channel
            that it does not have.
        TypeError: arguments of the wrong kind.
    """
    check_images(images)
    check_channels(channels)
    model = unwrap(model)
    modules = resolve_layers(model, images, ClassTarget(), layers)
    autocast = callers_autocast(images.device.type)
    with undisturbed(model, images.device):
        chunk = Chunk(
            model=model,
            images=normal(images),
            rows=slice(0, len(images)),
            target=NoTarget(),
            modules={module_of(name): module for name, module in modules.items()},
            wanted=frozenset(modules),
            autocast=autocast,
        )
        with torch.autocast(images.device.type, enabled=False):
            return {str(site): _chosen(chunk.acts_of(site), channels) for site in chunk.sites}


def check_channels(channels: object) -> None:
    """Raise ValueError unless `channels` is a positive number or a list of indices."""
    several = isinstance(channels, Sequence) and not isinstance(channels, str)
    values = list(channels) if several else [channels]  # type: ignore[call-overload]
    whole = all(isinstance(each, int) and not isinstance(each, bool) for each in values)
    if not values or not whole or min(values) < (0 if several else 1):
        raise ValueError(
            "expected channels as a number of 1 or more or as indices of 0 and more, came "
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
            raise ValueError(f"expected channels below {total}, came {max(picked)}")
    return FeatureMaps(acts[:, picked].contiguous(), tuple(picked), total)
