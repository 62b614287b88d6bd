"""`site_layouts`: where the captured tensors have their height, width and channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from lightning_cam.explain.capture import Site
from lightning_cam.explain.layout import Layout, infer_layout
from lightning_cam.runtime.messages import describe


def site_layouts(
    acts: Mapping[Site, Tensor], images: Tensor, channels_last: Callable[[Site], bool | None]
) -> dict[Site, Layout]:
    """Return the layouts of the sites, leaving out tensors of a container that have none.

    Args:
        acts: activations by site, as the layers returned them.
        images: (B, C, H, W) that they are of.
        channels_last: whether a site's last axis holds the channels, asked where its shape does not
            tell; None where that is not known.

    Raises:
        ValueError: a module without any spatial output.
    """
    image_hw = (images.shape[2], images.shape[3])
    layouts: dict[Site, Layout] = {}
    for site, act in acts.items():
        if len(act) != len(images):
            continue
        layout = infer_layout(
            tuple(act.shape), image_hw, distorted=True, channels_last=partial(channels_last, site)
        )
        if layout is not None:
            layouts[site] = layout
    for site, act in acts.items():
        if not any(other.module == site.module for other in layouts):
            raise ValueError(
                f"layer {str(site)!r} has no spatial output: expected (B, C, H, W), (B, H, W, C) "
                f"or tokens (B, N, C) with a grid of the image's proportions, got "
                f"{describe(act)} for images of {image_hw[0]}×{image_hw[1]}. Name an earlier layer."
            )
    return layouts
