"""From raw maps and images to uint8 images on the device; encoding on the host."""

from lightning_cam.render.captions import legible, with_caption
from lightning_cam.render.colormaps import COLORMAPS, check_alpha, check_colormap
from lightning_cam.render.contact_sheet import MAX_SHOWN, ContactSheet
from lightning_cam.render.display import show_picture
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
    "MAX_SHOWN",
    "ContactSheet",
    "check_alpha",
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
    "show_picture",
    "sized_masks",
    "tiles",
    "with_caption",
]
