"""From raw maps and images to uint8 images on the device; encoding on the host."""

from lightning_cam.render.captions import legible, with_caption
from lightning_cam.render.colormaps import COLORMAPS, check_colormap
from lightning_cam.render.encode import decode, jpeg, png
from lightning_cam.render.grid import film, grid, tiles
from lightning_cam.render.heat import feature_pictures, heat_pictures
from lightning_cam.render.overlay import (
    difference,
    displayable,
    overlay,
    picture_size,
    plain,
    resized,
    sized_masks,
)

__all__ = [
    "COLORMAPS",
    "check_colormap",
    "decode",
    "difference",
    "displayable",
    "feature_pictures",
    "film",
    "grid",
    "heat_pictures",
    "jpeg",
    "legible",
    "overlay",
    "picture_size",
    "plain",
    "png",
    "resized",
    "sized_masks",
    "tiles",
    "with_caption",
]
