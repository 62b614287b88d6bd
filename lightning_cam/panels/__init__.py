"""The pictures of one validation: what is drawn, under which tag, with which words."""

from lightning_cam.panels.draw import Panels
from lightning_cam.panels.scene import suffix_of

__all__ = ["Panels", "suffix_of"]
