"""Panel `classes`: the mean map of each class, over positions in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_cam import render
from lightning_cam.metrics.shape import as_distribution
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import Scene, on_host

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_cam.output.picture import Picture

_SIDE = 112
_MAX_CLASSES = 23  # beside the mean over all


@register_panel("classes", default=True)
def classes(scene: Scene) -> list[Picture]:
    """Return the mean over all maps, and over the maps that explain each class.

    Maps are averaged as distributions; flat maps are left out. All tiles share a scale from zero to
    the mean of their peaks, so that one class with a single sharp map does not darken the others;
    `3 x even` is three times the value of an even map. With masks the mean share of attention on
    the object is written below. Nothing where all maps are flat.
    """
    shares = as_distribution(scene.maps[scene.first])
    shares = shares * shares[0].numel()  # 1 is an even spread
    explained = scene.snapshot.classes
    labels = sorted({label for label in explained.tolist() if label >= 0})
    groups = [torch.ones_like(explained, dtype=torch.bool)]
    groups += [explained == label for label in labels[:_MAX_CLASSES]]
    means = torch.stack([_mean(shares[group.to(shares.device)]) for group in groups])
    if not bool(means[0].isfinite().all()):
        return []
    names = ["all", *(scene.displayed.class_name(label) for label in labels[:_MAX_CLASSES])]
    flat = shares.isnan().flatten(1).any(dim=1).cpu()
    captions = [
        [name, *_caption(scene, group, flat)] for name, group in zip(names, groups, strict=True)
    ]
    size = scene.displayed.thumbnail_size(_SIDE)
    tops = means.amax(dim=(1, 2))
    top = float(tops.nanmean())
    drawn = render.heat_pictures(means, size, top=top, colormap=scene.displayed.config.colormap)
    heading = f"{scene.heading('mean attention by class')} · full heat {top:.1f} x even"
    pixels = render.tiles(on_host(drawn), captions, heading)
    caption = heading
    if len(labels) > _MAX_CLASSES:
        caption += f" · the first {_MAX_CLASSES} of {len(labels)} classes"
    return [scene.displayed.picture("classes", pixels, caption, scene.snapshot.epoch)]


def _mean(shares: Tensor) -> Tensor:
    known = shares[~shares.isnan().flatten(1).any(dim=1)]
    return known.mean(dim=0) if len(known) else torch.full_like(shares[0], torch.nan)


def _caption(scene: Scene, group: Tensor, flat: Tensor) -> list[str]:
    count, empty = int(group.sum()), int((group & flat).sum())
    lines = [
        f"{count - empty} of {count} maps" if empty else f"{count} map{'s' if count > 1 else ''}"
    ]
    on_object = scene.per_image.get("relevance_mass")
    if on_object is not None and len(on_object) == len(group) and count > empty:
        lines.append(f"{float(on_object[group].nanmean()):.0%} on object")
    return lines
