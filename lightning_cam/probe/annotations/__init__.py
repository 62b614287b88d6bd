"""Masks and boxes that annotation tools export, one file per format."""

from lightning_cam.probe.annotations.matching import regions_by_image
from lightning_cam.probe.annotations.regions import Box, ImageAnnotation, Region
from lightning_cam.probe.annotations.registry import FORMATS, read_annotations

__all__ = [
    "FORMATS",
    "Box",
    "ImageAnnotation",
    "Region",
    "read_annotations",
    "regions_by_image",
]
