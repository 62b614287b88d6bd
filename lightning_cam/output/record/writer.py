"""`Recorder`: appends one line per evaluation to the probe's file."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import platform
import time
import warnings
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam import __version__
from lightning_cam.output.record.format import (
    EVALUATION,
    HEADER,
    VERSION,
    read_lines,
    record_folder,
)
from lightning_cam.output.record.reader import read_record
from lightning_cam.runtime.files import append_line, safe_name

if TYPE_CHECKING:
    from lightning_cam.output.protocols import Evaluation
    from lightning_cam.probe import Probe

_MAX_SIDE = 224  # of a recorded image
_MAX_CELLS = 32  # along a side of a recorded map
_LEVELS = 255
_PACKAGES = ("torch", "torchvision", "lightning", "pytorch-lightning")


class Recorder:
    """Writes `<folder>/lightning_cam/<tag>.jsonl`, which `read_run` reads.

    Args:
        folder: of the run.
        tag: of the probe, e.g. `cam` or `cam/val`.
    """

    def __init__(self, folder: Path, tag: str) -> None:
        self._tag = tag
        self._count = 0
        self.path = record_folder(Path(folder)) / f"{safe_name(tag)}.jsonl"

    def begin(
        self,
        probe: Probe,
        num_pictures: int,
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        """Write the header, unless the file's last one is equal: then the run continues.

        After a record that is damaged, or of another version, a new one begins in the same file,
        with a warning.

        Args:
            probe: the images, labels and masks.
            num_pictures: how many of its images, from the first, are recorded.
            settings: the monitor's configuration as primitives.
            device: where the network runs.
        """
        self._count = min(num_pictures, len(probe))
        header = {
            "kind": HEADER,
            "version": VERSION,
            "tag": self._tag,
            "fingerprint": probe.fingerprint,
            "ids": list(probe.ids),
            "class_names": _list_or_none(probe.class_names),
            "targets": None if probe.targets is None else probe.targets.int().tolist(),
            "multi_label": probe.multi_label,
            "masks_estimated": probe.masks_estimated,
            "mean": _list_or_none(probe.mean),
            "std": _list_or_none(probe.std),
            "settings": dict(settings or {}),
        }
        # Compared through JSON, which does not tell tuples from lists.
        if self._continues(json.loads(json.dumps(header))):
            return
        header |= {
            "image_fingerprints": list(probe.image_fingerprints),
            "images": _images(probe, self._count),
            "masks": _masks(probe, self._count),
        }
        self._append({**header, "environment": environment(device)})

    def _continues(self, header: Mapping[str, Any]) -> bool:
        """Return whether the file's record is sound and has this header; warn if it is damaged."""
        lines = read_lines(self.path) if self.path.exists() else []
        if not lines:
            return False
        try:
            read_record(self.path)
        except ValueError as error:
            message = f"lightning_cam begins a new record in {self.path}: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return False
        last = [line for line in lines if line.get("kind") == HEADER][-1]
        return {key: last.get(key) for key in header} == header

    def add(self, evaluation: Evaluation) -> None:
        """Append an evaluation."""
        seen = evaluation.snapshot
        drawn = [n for n, row in enumerate(seen.rows.tolist()) if row < self._count]
        self._append(
            {
                "kind": EVALUATION,
                "index": seen.index,
                "epoch": seen.epoch,
                "step": seen.step,
                "time": round(time.time(), 3),
                "metrics": {name: _number(value) for name, value in evaluation.metrics.items()},
                "per_image": {name: _numbers(v) for name, v in evaluation.per_image.items()},
                "maps": [
                    {"method": method, "layer": layer, **_packed(maps[drawn])}
                    for (method, layer), maps in seen.maps.items()
                ],
                "drawn": drawn,
                "rows": seen.rows.tolist(),
                "classes": seen.classes.tolist(),
                "predictions": seen.predictions.tolist(),
                "confidences": _numbers(seen.confidences),
                "evidence": {name: _number(value) for name, value in evaluation.evidence.items()},
                "alerts": [alert.as_dict() for alert in evaluation.alerts],
                "worst": list(evaluation.worst),
            }
        )

    def _append(self, content: Mapping[str, Any]) -> None:
        line = json.dumps(content, allow_nan=False, separators=(",", ":"))
        append_line(self.path, line)


def environment(device: torch.device | str | None = None) -> dict[str, str]:
    """Return the versions and the machine that a run depends on."""
    found = {"lightning_cam": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # one of the two Lightnings
            found[package.replace("-", "_")] = metadata.version(package)
    found |= {"python": platform.python_version(), "system": platform.system()}
    if device is not None:
        device = torch.device(device)
        # Asking for the name initialises the driver, so only where the run uses it anyway.
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        found["device"] = f"{device} ({name})" if name else str(device)
    return found


def _images(probe: Probe, count: int) -> list[str]:
    """Return the first images as base64 of JPEG files."""
    from lightning_cam.render import displayable, jpeg  # OpenCV only where something is drawn
    from lightning_cam.render.overlay import resized

    if count == 0:
        return []
    images = displayable(probe.images[:count].cpu(), probe.mean, probe.std)
    images = resized(images, _recorded_size(images.shape[2], images.shape[3]))
    pixels = images.mul(_LEVELS).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [_base64(jpeg(each)) for each in pixels]


def _masks(probe: Probe, count: int) -> list[str] | None:
    """Return the first masks as base64 of PNG files with one bit per pixel."""
    import cv2

    if probe.foreground is None:
        return None
    masks = probe.foreground[:count].cpu()
    size = _recorded_size(masks.shape[1], masks.shape[2])
    smaller = F.interpolate(masks[:, None].float(), size=size, mode="area")[:, 0] >= 0.5  # noqa: PLR2004
    grey = smaller.to(torch.uint8).mul(_LEVELS).numpy()
    flags = [cv2.IMWRITE_PNG_BILEVEL, 1]
    return [_base64(cv2.imencode(".png", mask, flags)[1].tobytes()) for mask in grey]


def _recorded_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of a recorded image; small images are not enlarged."""
    scale = min(1.0, _MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _packed(maps: Tensor) -> dict[str, Any]:
    """Return maps (n, h, w) as 8 bits: a cell is `peak * cells / 255`; maps not finite are 0."""
    height, width = maps.shape[1:]
    maps = maps.float()
    if max(height, width) > _MAX_CELLS:
        size = (min(height, _MAX_CELLS), min(width, _MAX_CELLS))
        maps = F.adaptive_avg_pool2d(maps[:, None], size)[:, 0]
    peak = maps.amax(dim=(1, 2)) if len(maps) else maps.new_zeros(0)
    known = peak.isfinite() & (peak > 0)
    relative = maps / torch.where(known, peak, 1)[:, None, None]
    relative = torch.where(known[:, None, None], relative, 0).nan_to_num(0).clamp(0, 1)
    cells = relative.mul(_LEVELS).round().to(torch.uint8).numpy()
    return {"shape": list(cells.shape), "peak": _numbers(peak), "cells": _base64(cells.tobytes())}


def _list_or_none(values: Iterable[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN and no infinity: None."""
    value = float(value)
    return value if math.isfinite(value) else None


def _numbers(values: Tensor) -> Any:
    """Return a tensor as nested lists with six significant digits, None where not finite."""
    if values.ndim != 1:
        return [_numbers(each) for each in values]
    found = values.detach().cpu().double().numpy()
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in found]
