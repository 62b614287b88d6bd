"""From records to the JSON that the page's script draws: columns over the evaluations."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from lightning_cam.metrics.registry import (
    GAP,
    GROUPS,
    METRICS,
    OF_CLASS,
    REFERENCES,
    Metric,
    find_metric,
    grouped,
    title_of,
)
from lightning_cam.output.record import reading
from lightning_cam.output.report.wording import VERDICTS

if TYPE_CHECKING:
    from lightning_cam.output.record import EvaluationRecord, ProbeRecord

_DIGITS = 4
UNCERTAINTY = ("se", "low")  # at the end of a metric's name: of its standard error, its lower bound
_OPACITY = 0.7
_FINER = 8  # so many points a mask's pixel, for outlines along the pixels' edges
_MOST_POINTS = 1024
_MOST_PIXELS = 2048  # along a side of a recorded image; recorders write 224


def payload(runs: Sequence[tuple[str, Sequence[ProbeRecord]]]) -> dict[str, Any]:
    """Return all that the page draws, in the colours that the first run was drawn in.

    Args:
        runs: name and records of each.
    """
    records = [record for _, some in runs for record in some]
    return {
        **frame(runs[0][1][0].settings, records),
        "runs": [
            {"key": str(i), "name": name, "probes": [_probe(record) for record in some]}
            for i, (name, some) in enumerate(runs)
        ],
        # Runs of one probe have the same images: each is there once.
        "pictures": {picture_key(each): each for record in records for each in record.images},
    }


def frame(settings: Mapping[str, Any], records: Iterable[ProbeRecord] = ()) -> dict[str, Any]:
    """Return what the page draws with: charts by group, colours, and the run's choice of them.

    Args:
        settings: of a run.
        records: whose gaps between two probes have charts too.
    """
    return {
        "groups": _groups(records),
        "references": dict(REFERENCES),
        "colormaps": colour_tables(),
        **choice_of_colours(settings),
    }


def choice_of_colours(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the colour map that a run's overlays are drawn in, and how opaque they are."""
    colormap, alpha = settings.get("colormap"), settings.get("alpha")
    names = list(colour_tables())
    return {
        "colormap": colormap if colormap in names else names[0],
        "opacity": alpha if _rounded(alpha) is not None else _OPACITY,
    }


@functools.lru_cache(maxsize=1)
def colour_tables() -> dict[str, str]:
    """Return each colour map as base64 of 256 RGB triples."""
    import torch

    from lightning_cam.render.colormaps import COLORMAPS, table

    cpu = torch.device("cpu")
    tables = {name: table(name, cpu).mul(255).round().to(torch.uint8) for name in COLORMAPS}
    return {name: base64.b64encode(t.numpy().tobytes()).decode() for name, t in tables.items()}


def _groups(records: Iterable[ProbeRecord]) -> list[dict[str, Any]]:
    """Return the catalog's groups with the charts of each, and the gaps that were recorded."""
    groups = {
        key: [_chart(each.name, each) for each in some if not is_uncertainty(each)]
        for key, some in grouped().items()
    }
    groups[GAP] = gap_charts(each for record in records for each in record.evaluations)
    order = [key for key in GROUPS if key in groups]
    return [{"key": key, "title": GROUPS[key], "metrics": groups[key]} for key in order]


def gap_charts(evaluations: Iterable[EvaluationRecord]) -> list[dict[str, Any]]:
    """Return the charts of the gaps between two probes that were recorded."""
    names = dict.fromkeys(
        name for each in evaluations for name in each.metrics if name.startswith(f"{GAP}/")
    )
    return [_chart(name, find_metric(name.partition("/")[2])[0]) for name in names]


def _chart(name: str, metric: Metric | None) -> dict[str, Any]:
    """Return how one metric, or the gap of one, is drawn."""
    if metric is None or name != metric.name:
        facts = {"title": title_of(name.partition("/")[2]), "even": 0.0, "moves": False}
        return {
            "name": name,
            "description": "",
            "low": None,
            "high": None,
            "percent": False,
            "uncertain": [],
            **facts,
        }
    low, high = metric.bounds
    return {
        "name": name,
        "title": metric.title,
        "description": metric.description,
        "low": low,
        "high": high,
        "even": metric.even,
        "percent": metric.percent,
        "moves": metric.moves,
        "uncertain": [key for key in UNCERTAINTY if f"{name}_{key}" in METRICS],
    }


def is_uncertainty(metric: Metric) -> bool:
    """Return whether a metric is the error or bound of another one, in whose chart it is drawn."""
    stem, _, last = metric.name.rpartition("_")
    return last in UNCERTAINTY and stem in METRICS


def _probe(record: ProbeRecord) -> dict[str, Any]:
    with reading(record.path):
        return probe_facts(record) | probe_columns(record, record.evaluations)


def probe_facts(record: ProbeRecord) -> dict[str, Any]:
    """Return what the page draws of a probe at every evaluation."""
    return {
        "tag": record.tag,
        "ids": list(record.ids),
        "fingerprint": record.fingerprint,
        "images": [picture_key(each) for each in record.images],
        "size": image_size(record.images[0]) if record.images else [1, 1],
        "outlines": [outline(mask) for mask in record.masks] if record.masks else None,
        "multi": record.multi_label,
    }


@functools.lru_cache(maxsize=4096)
def picture_key(encoded: str) -> str:
    """Return the name of an encoded image, which depends on its content alone."""
    return hashlib.sha256(encoded.encode()).hexdigest()[:20]


def probe_columns(
    record: ProbeRecord, evaluations: Sequence[EvaluationRecord], *, whole: bool = True
) -> dict[str, Any]:
    """Return what the page draws of some evaluations of a probe, as columns over them.

    Args:
        record: the probe.
        evaluations: in order.
        whole: False to leave out the cells of the maps, which are most of it, and to keep values of
            images as they were recorded, which is faster than rounding them.
    """
    answers = [_answers(record, each) for each in evaluations]
    used = {index for each in answers for kind in ("label", "cls", "pred") for index in each[kind]}
    return {
        "names": {index: record.name_of(index) for index in sorted(used) if index >= 0},
        "epochs": [each.epoch for each in evaluations],
        "steps": [each.step for each in evaluations],
        "maps": _maps(evaluations, whole=whole),
        "answers": answers,
        "metrics": _metrics(evaluations),
        "perImage": _per_image(evaluations, _rounded if whole else _known),
        "alerts": [
            {
                "evaluation": i,
                "metric": alert["metric"],
                "title": title_of(alert["metric"]),
                "level": VERDICTS[alert["verdict"]][0],
                "worst": list(alert["worst"]),
            }
            for i, each in enumerate(evaluations)
            for alert in each.alerts
        ],
    }


def _answers(record: ProbeRecord, each: EvaluationRecord) -> dict[str, list[Any]]:
    """Return for each map its image, classes, and what the model said, -1 where unknown."""
    found: dict[str, list[Any]] = {"drawn": list(each.drawn), "row": list(each.rows)}
    found |= {"cls": list(each.classes), "label": [], "pred": [], "conf": []}
    for row, explained in zip(each.rows, each.classes, strict=True):
        if record.multi_label:  # what is said of the explained label alone
            label, several = explained, explained >= 0
            said = bool(each.predictions[row][explained]) if several else False
            predicted = explained if said else -1
            confidence = each.confidences[row][explained] if several else None
        else:
            label = -1 if record.targets is None else record.targets[row]
            predicted, confidence = each.predictions[row], each.confidences[row]
        found["label"].append(label)
        found["pred"].append(predicted)
        found["conf"].append(_rounded(confidence))
    return found


def _maps(evaluations: Sequence[EvaluationRecord], *, whole: bool) -> list[dict[str, Any]]:
    """Return each method and layer with its maps at every evaluation, null where it has none."""
    keys = list(dict.fromkeys((m.method, m.layer) for each in evaluations for m in each.maps))
    found = []
    for n, (method, layer) in enumerate(keys):
        at = [next((m for m in k.maps if (m.method, m.layer) == (method, layer)), None)
              for k in evaluations]  # fmt: skip
        found.append(
            {
                "method": method,
                "layer": layer,
                "suffix": f"/{method}@{layer}" if n else "",
                "shape": [list(m.shape) if m else None for m in at],
                "peak": [[_rounded(v) for v in m.peak] if m else None for m in at],
                "cells": [m.cells if m and whole else None for m in at],
            }
        )
    return found


def _metrics(evaluations: Sequence[EvaluationRecord]) -> dict[str, list[float | None]]:
    """Return each metric over the evaluations; those of single classes are read off the images."""
    names = dict.fromkeys(name for each in evaluations for name in each.metrics)
    wanted = [name for name in names if not name.startswith(f"{OF_CLASS}/")]
    return {name: [_rounded(each.metrics.get(name)) for each in evaluations] for name in wanted}


def _per_image(
    evaluations: Sequence[EvaluationRecord], written: Callable[[float], float | None]
) -> dict[str, list[list[float | None]]]:
    """Return each metric of the first map: per evaluation a list of one value per map."""
    names = dict.fromkeys(name for each in evaluations for name in each.per_image)
    found = {}
    for name in names:
        rows = [each.per_image.get(name, ()) for each in evaluations]
        if all(len(row) in (0, len(k.rows)) for row, k in zip(rows, evaluations, strict=True)):
            found[name] = [[written(value) for value in row] for row in rows]
    return found


def _known(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN


def _rounded(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def image_size(encoded: str) -> list[int]:
    """Return width and height of an encoded image.

    Raises:
        ValueError: it is none, or larger than any that is recorded.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:  # reads its header only
            width, height = image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError("expected encoded images in the record, got other bytes") from error
    if max(width, height) > _MOST_PIXELS:
        raise ValueError(
            f"expected images of at most {_MOST_PIXELS} pixels per side in the record, "
            f"got {width}×{height}"
        )
    return [width, height]


@functools.lru_cache(maxsize=4096)
def outline(mask: str) -> str:
    """Return a mask's outline as an SVG path in its pixels, empty where it has none."""
    image_size(mask)  # before it is decoded: few bytes may stand for many pixels
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(mask), np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError("expected encoded masks in the record, got other bytes")
    finer = max(1, min(_FINER, _MOST_POINTS // max(pixels.shape)))
    large = np.kron(pixels, np.ones((finer, finer), np.uint8))
    contours, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, 0.4 * finer, closed=True)[:, 0]
        corners = " ".join(f"{(x + 0.5) / finer:.4g} {(y + 0.5) / finer:.4g}" for x, y in points)
        parts.append(f"M{corners}Z")
    return "".join(parts)
