"""Colour maps by name, as tables of 256 colours."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
from torch import Tensor

from lightning_cam.runtime.messages import unknown_name

# `turbo` is perceptually even; `cividis`, `viridis` and `inferno` also for colour-blind readers.
COLORMAPS = (
    "turbo",
    "cividis",
    "viridis",
    "inferno",
    "magma",
    "plasma",
    "hot",
    "jet",
    "bone",
)


def check_colormap(name: str) -> None:
    """Raise ValueError for an unknown colour map; the message names near misses."""
    if name not in COLORMAPS:
        raise ValueError(unknown_name("colour map", name, COLORMAPS))


def check_alpha(alpha: float) -> None:
    """Raise ValueError unless `alpha` is a number from 0 to 1."""
    if not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise ValueError(f"expected alpha between 0 and 1, got {alpha!r}")


@functools.lru_cache(maxsize=8)
def table(name: str, device: torch.device) -> Tensor:
    """Return a colour map as (256, 3) float32 RGB in 0 to 1 on `device`."""
    check_colormap(name)
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    bgr = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))[:, 0]
    return torch.from_numpy(bgr[:, ::-1].copy()).to(device).float() / 255
