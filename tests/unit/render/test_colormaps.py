"""Colour maps: the tables are OpenCV's, unknown names are reported."""

import cv2
import numpy as np
import pytest
import torch

from lightning_cam.render.colormaps import COLORMAPS, check_colormap, table


@pytest.mark.parametrize("name", COLORMAPS)
def test_tables_are_those_of_opencv(name):
    found = table(name, torch.device("cpu"))
    assert found.shape == (256, 3)
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    bgr = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))
    assert np.array_equal(found.mul(255).round().byte().numpy(), bgr[:, 0, ::-1])


def test_an_unknown_colour_map_is_reported_with_the_near_miss():
    with pytest.raises(ValueError, match=r"'virids'.*Did you mean 'viridis'"):
        check_colormap("virids")
    for name in COLORMAPS:
        check_colormap(name)
