"""The page in which masks of a run's probe images are drawn by hand."""

from lightning_cam.output.labelling.images import LabelImage, images_of
from lightning_cam.output.labelling.labeller import Labeller

__all__ = ["LabelImage", "Labeller", "images_of"]
