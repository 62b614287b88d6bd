"""`Recorder`: one small line a validation, appended to the probe's file."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam import __version__
from lightning_cam.loggers.base import safe_name
from lightning_cam.loggers.files import append_line
from lightning_cam.record.files import HEADER, LOOK, VERSION, ends_torn, lines_of, record_folder

if TYPE_CHECKING:
    from lightning_cam.monitor import Alert, Snapshot
    from lightning_cam.probe import Probe

_SIDE = 224  # longest side of a recorded image
_CELLS = 32  # most cells along a side of a recorded map
_LEVELS = 255
_PACKAGES = ("torch", "torchvision", "lightning", "pytorch-lightning")


class LookLike(Protocol):
    """What of a `Look` is recorded."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Value by name with the tag, NaN where undefined."""

    @property
    def snapshot(self) -> Snapshot:
        """Maps, predictions and time."""

    @property
    def evidence(self) -> Mapping[str, float]:
        """What interventions said."""

    @property
    def worst(self) -> Sequence[str]:
        """Ids of the images furthest off."""

    @property
    def per_image(self) -> Mapping[str, Tensor]:
        """Metrics of the first map, (N,) each."""


class Recorder:
    """Writes `<folder>/lightning_cam/<tag>.jsonl`, see `read_run`.

    Args:
        folder: the run's.
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
        """Write the header, unless the file's last one says the same: then the run goes on.

        Args:
            probe: what is watched.
            num_pictures: how many of its images, from the first, are kept to be drawn.
            settings: what the watch was made with, see `settings_of`.
            device: where the network runs.
        """
        self._count = min(num_pictures, len(probe))
        header = {
            "kind": HEADER,
            "version": VERSION,
            "tag": self._tag,
            "fingerprint": probe.fingerprint,
            "ids": list(probe.ids),
            "class_names": None if probe.class_names is None else list(probe.class_names),
            "targets": None if probe.targets is None else probe.targets.int().tolist(),
            "multi_label": probe.multi_label,
            "masks_estimated": bool(getattr(probe, "masks_estimated", False)),
            "mean": None if probe.mean is None else list(probe.mean),
            "std": None if probe.std is None else list(probe.std),
            "settings": plain(dict(settings or {})),
        }
        # Through JSON, as the file's own: tuples and lists are one there.
        if self._last_header(header.keys()) == json.loads(json.dumps(header)):
            return
        header |= {"images": _images(probe, self._count), "masks": _masks(probe, self._count)}
        self._append({**header, "environment": environment(device)})

    def _last_header(self, keys: Any) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        headers = [line for line in lines_of(self.path) if line.get("kind") == HEADER]
        return {key: headers[-1].get(key) for key in keys} if headers else None

    def add(self, look: LookLike, tag: str | None = None, alerts: Sequence[Alert] = ()) -> None:
        """Append a validation.

        Args:
            look: what it gave.
            tag: what the names of its metrics start with; the recorder's own by default.
            alerts: those that it raised.
        """
        start = f"{self._tag if tag is None else tag}/"
        seen = look.snapshot
        drawn = [n for n, row in enumerate(seen.rows.tolist()) if row < self._count]
        metrics = {name.removeprefix(start): _number(v) for name, v in look.metrics.items()}
        self._append(
            {
                "kind": LOOK,
                "validation": seen.validation,
                "epoch": seen.epoch,
                "step": seen.step,
                "time": round(time.time(), 3),
                "metrics": metrics,
                "per_image": {name: _numbers(values) for name, values in look.per_image.items()},
                "maps": [
                    {"method": method, "layer": layer, **_packed(maps[drawn])}
                    for (method, layer), maps in seen.maps.items()
                ],
                "drawn": drawn,
                "rows": seen.rows.tolist(),
                "classes": seen.classes.tolist(),
                "predictions": seen.predictions.tolist(),
                "confidences": _numbers(seen.confidences),
                "evidence": {name: _number(value) for name, value in look.evidence.items()},
                "alerts": [alert.as_dict() for alert in alerts],
                "worst": list(look.worst),
            }
        )

    def _append(self, content: Mapping[str, Any]) -> None:
        line = json.dumps(content, allow_nan=False, separators=(",", ":"))
        # After a torn line the next one starts on a line of its own.
        append_line(self.path, f"\n{line}" if ends_torn(self.path) else line)


def settings_of(options: Any, **more: Any) -> dict[str, Any]:
    """Return the fields of a dataclass such as `Options` as primitives, and `more` beside them."""
    own = {each.name: getattr(options, each.name) for each in fields(options)}
    found: dict[str, Any] = plain({**own, **more})
    return found


def plain(value: Any) -> Any:
    """Return a setting as JSON knows it: the same words in every process, so no addresses."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        named = {each.name: getattr(value, each.name) for each in fields(value)}
        words = [f"{name}={plain(v)!r}" for name, v in named.items() if v is not None]
        return f"{type(value).__name__}({', '.join(words)})"
    return getattr(value, "__qualname__", type(value).__name__)


def environment(device: torch.device | str | None = None) -> dict[str, str]:
    """Return the versions and the machine that a run depends on."""
    found = {"lightning_cam": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # of two Lightnings one may miss
            found[package.replace("-", "_")] = metadata.version(package)
    found |= {"python": platform.python_version(), "system": platform.system()}
    if device is not None:
        device = torch.device(device)
        # Asking for the name wakes the driver up, so only where the run is there anyway.
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        found["device"] = f"{device} ({name})" if name else str(device)
    return found


def _images(probe: Probe, count: int) -> list[str]:
    from lightning_cam.render import displayable, jpeg  # OpenCV only where something is drawn
    from lightning_cam.render.overlay import resized

    if count == 0:
        return []
    images = displayable(probe.images[:count].cpu(), probe.mean, probe.std)
    images = resized(images, _small(images.shape[2], images.shape[3]))
    pixels = images.mul(_LEVELS).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [_text(jpeg(each)) for each in pixels]


def _masks(probe: Probe, count: int) -> list[str] | None:
    import cv2

    if probe.foreground is None:
        return None
    masks = probe.foreground[:count].cpu()
    size = _small(masks.shape[1], masks.shape[2])
    smaller = F.interpolate(masks[:, None].float(), size=size, mode="area")[:, 0] >= 0.5  # noqa: PLR2004
    grey = smaller.to(torch.uint8).mul(_LEVELS).numpy()
    return [_text(cv2.imencode(".png", m, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()) for m in grey]


def _small(height: int, width: int) -> tuple[int, int]:
    """Return the size within the recorded images' longest side; small ones stay as they are."""
    scale = min(1.0, _SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _packed(maps: Tensor) -> dict[str, Any]:
    """Return maps (n, h, w) as 8 bits: a cell is `peak * cells / 255`, not finite maps are 0."""
    height, width = maps.shape[1:]
    maps = maps.float()
    if max(height, width) > _CELLS:
        maps = F.adaptive_avg_pool2d(maps[:, None], (min(height, _CELLS), min(width, _CELLS)))[:, 0]
    peak = maps.amax(dim=(1, 2)) if len(maps) else maps.new_zeros(0)
    known = peak.isfinite() & (peak > 0)
    relative = maps / torch.where(known, peak, 1)[:, None, None]
    relative = torch.where(known[:, None, None], relative, 0).nan_to_num(0).clamp(0, 1)
    cells = relative.mul(_LEVELS).round().to(torch.uint8).numpy()
    return {"shape": list(cells.shape), "peak": _numbers(peak), "cells": _text(cells.tobytes())}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _number(value: float) -> float | None:
    """Return a number as JSON knows it: what is not finite becomes null."""
    value = float(value)
    return value if math.isfinite(value) else None


def _numbers(values: Tensor) -> Any:
    """Return a tensor as nested lists of six significant digits, null where not finite."""
    if values.ndim != 1:
        return [_numbers(each) for each in values]
    found = values.detach().cpu().double().numpy()
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in found]
