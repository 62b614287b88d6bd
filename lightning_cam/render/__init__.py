"""Raw maps and images to pictures of 8 bits, on the device; encoding on the host."""

from lightning_cam.render.captions import with_caption
from lightning_cam.render.colormaps import COLORMAPS, check_colormap
from lightning_cam.render.encode import decode, jpeg, png
from lightning_cam.render.overlay import displayable, overlay, picture_size
from lightning_cam.render.timeline import timeline

__all__ = [
    "COLORMAPS",
    "check_colormap",
    "decode",
    "displayable",
    "jpeg",
    "overlay",
    "picture_size",
    "png",
    "timeline",
    "with_caption",
]
