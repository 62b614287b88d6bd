"""Panel `activation_maximization`: images that classes and channels respond to most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam import render
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import Scene, on_host

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture

_SIDE = 128


@register_panel("activation_maximization", slow=True)
def activation_maximization(scene: Scene) -> list[Picture]:
    """Return the images found by gradient ascent, with their scores before and after."""
    found = scene.activations
    if found is None or not len(found.images):
        return []
    displayed, epoch = scene.displayed, scene.snapshot.epoch
    images = render.displayable(found.images, *displayed.scale)
    drawn = on_host(render.plain(images, displayed.thumbnail_size(_SIDE)))
    captions = []
    for target, before, after in zip(found.targets, found.before, found.after, strict=True):
        name = displayed.class_name(target) if isinstance(target, int) else target
        captions.append([name, f"score {before:.2g} to {after:.2g}"])
    heading = f"activation maximization, by gradient ascent · epoch {epoch}"
    pixels = render.tiles(drawn, captions, heading)
    return [displayed.picture("activation_maximization", pixels, heading, epoch)]
