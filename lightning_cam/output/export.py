"""`export_worst`: the samples to look at first, as a CSV file and as COCO annotations.

Reads a run's record only: no model, no data set.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from lightning_cam.output.record import reading
from lightning_cam.runtime.files import safe_name, write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_cam.output.record import EvaluationRecord, ProbeRecord

ORDERS = ("off-object", "wrong", "moved")
CSV_FILE, COCO_FILE, IMAGES = "worst.csv", "labels.json", "data"
_ATTENDED, _OBJECT = "attended", "object"
_CATEGORIES = {1: _ATTENDED, 2: _OBJECT}
_HALF = 0.5  # of a map's maximum, from which on a pixel is attended
# What a spreadsheet takes for the beginning of a formula, full-width forms included.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


@dataclass(frozen=True)
class Sample:
    """One map of an evaluation, and what is known of its image.

    Attributes:
        index: of the map among all maps of the evaluation.
        row: of its image in the probe.
        id: of the image, as the user gave it.
        label: name of the image's class, of several that which the map explains; empty if unknown.
        prediction: name of the predicted class; of several labels whether this one is predicted.
        confidence: probability of the prediction, of several labels of this one; NaN if unknown.
        correct: whether prediction and label agree; None where there is no label.
        metrics: of this map by name, such as `enrichment`, NaN where undefined.
    """

    index: int
    row: int
    id: str
    label: str
    prediction: str
    confidence: float
    correct: bool | None
    metrics: Mapping[str, float]


def default_order(evaluation: EvaluationRecord) -> str:
    """Return `off-object` where the probe had masks, else `moved`, as the panel `worst` does."""
    return ORDERS[0] if _known(evaluation.per_image.get("enrichment", ())) else ORDERS[2]


def worst_samples(
    record: ProbeRecord, evaluation: EvaluationRecord, order: str, count: int
) -> list[Sample]:
    """Return the samples to look at first.

    Args:
        record: of a probe.
        evaluation: one of its evaluations.
        order: `off-object`: lowest enrichment first; `wrong`: those that are predicted wrongly,
            lowest enrichment first, or without masks the most confident first; `moved`: largest
            Jensen-Shannon divergence from the map of the evaluation before first.
        count: how many at most.

    Raises:
        ValueError: another order, or one that this evaluation knows nothing of.
    """
    if order not in ORDERS:
        raise ValueError(f"expected an order of {', '.join(ORDERS)}, got {order!r}")
    samples = list(_samples(record, evaluation))
    enrichment = _metric("enrichment")
    if order == "off-object":
        return _ranked(samples, enrichment, order, "masks")[:count]
    if order == "moved":
        if evaluation.index == 0:
            raise ValueError(
                "expected an evaluation before the latest one for the order 'moved', got the first"
            )
        moved = _metric("jsd_previous")
        ranked = _ranked(samples, lambda each: -moved(each), order, "maps of the evaluation before")
        return [each for each in ranked if moved(each) > 0][:count]
    if all(each.correct is None for each in samples):
        raise ValueError("expected labels for the order 'wrong', got a record without any")
    wrong = [each for each in samples if each.correct is False]
    if _known(map(enrichment, wrong)):
        return _ranked(wrong, enrichment, order, "masks")[:count]
    return sorted(wrong, key=lambda each: -_or_zero(each.confidence))[:count]


def export_worst(
    record: ProbeRecord, folder: Path, order: str | None = None, count: int = 32
) -> list[Sample]:
    """Write the samples to look at first of the latest evaluation, and return them.

    `worst.csv` has a line for each. `labels.json` has COCO annotations of those whose image was
    recorded, and `data/` the images, as FiftyOne's `COCODetectionDataset` and `pycocotools` read
    them: `attended`, where the map is at least half of its maximum, with the share of the map's sum
    in there as `score`; and `object`, the mask.

    Args:
        record: of a probe.
        folder: for the files.
        order: see `worst_samples`; by default `default_order`.
        count: how many samples at most.

    Raises:
        ValueError: there is no evaluation, or see `worst_samples`.
    """
    if not record.evaluations:
        raise ValueError(f"expected a record with an evaluation, got one without: {record.path}")
    evaluation = record.evaluations[-1]
    order = order or default_order(evaluation)
    samples = worst_samples(record, evaluation, order, count)
    files = {n: f"{n:04d}-{safe_name(each.id)}.jpg" for n, each in enumerate(samples)}
    files = {n: name for n, name in files.items() if samples[n].row < len(record.images)}
    with reading(record.path):
        coco = _coco(record, evaluation, samples, files)
        for n, name in files.items():
            pixels = base64.b64decode(record.images[samples[n].row])
            write_atomic(folder / IMAGES / name, pixels)
    write_atomic(folder / COCO_FILE, json.dumps(coco, allow_nan=False).encode())
    write_atomic(folder / CSV_FILE, _csv(evaluation, samples, files).encode())
    return samples


# --- choosing -------------------------------------------------------------------------------------


def _samples(record: ProbeRecord, evaluation: EvaluationRecord) -> Iterator[Sample]:
    metrics = {
        name: values
        for name, values in evaluation.per_image.items()
        if len(values) == len(evaluation.rows)
    }
    for n, (row, explained) in enumerate(zip(evaluation.rows, evaluation.classes, strict=True)):
        said, confidence = evaluation.predictions[row], evaluation.confidences[row]
        target = None if record.targets is None else record.targets[row]
        if record.multi_label:
            known = explained >= 0
            label = record.name_of(explained) if known else ""
            predicted = bool(said[explained]) if known else False
            prediction = label if predicted else ""
            confidence = confidence[explained] if known else None
            truth = bool(target[explained]) if known and target is not None else None
            correct = None if truth is None else predicted == truth
        else:
            label = "" if target is None else record.name_of(target)
            prediction = record.name_of(said)
            correct = None if target is None else said == target
        yield Sample(
            index=n,
            row=row,
            id=record.ids[row],
            label=label,
            prediction=prediction,
            confidence=math.nan if confidence is None else float(confidence),
            correct=correct,
            metrics={name: values[n] for name, values in metrics.items()},
        )


def _metric(name: str) -> Callable[[Sample], float]:
    return lambda sample: sample.metrics.get(name, math.nan)


def _ranked(
    samples: list[Sample], key: Callable[[Sample], float], order: str, needs: str
) -> list[Sample]:
    known = [each for each in samples if math.isfinite(key(each))]
    if samples and not known:
        raise ValueError(f"expected {needs} for the order {order!r}, got a record without")
    return sorted(known, key=key)


def _known(values: Iterable[float]) -> bool:
    return any(math.isfinite(value) for value in values)


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


# --- the files ------------------------------------------------------------------------------------


def _csv(evaluation: EvaluationRecord, samples: list[Sample], files: Mapping[int, str]) -> str:
    names = list(dict.fromkeys(name for each in samples for name in each.metrics))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    about = ("rank", "id", "image", "epoch", "step", "label", "prediction", "confidence", "correct")
    writer.writerow([*about, *names])
    for n, each in enumerate(samples):
        image = f"{IMAGES}/{files[n]}" if n in files else ""
        correct = "" if each.correct is None else str(each.correct).lower()
        words = [harmless(each.id), image, evaluation.epoch, evaluation.step]
        answers = [harmless(each.label), harmless(each.prediction), _text(each.confidence), correct]
        values = [_text(each.metrics.get(name, math.nan)) for name in names]
        writer.writerow([n + 1, *words, *answers, *values])
    return text.getvalue()


def harmless(text: str) -> str:
    """Return a cell that no spreadsheet runs as a formula: those that begin as one get a `'`."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _text(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _coco(
    record: ProbeRecord,
    evaluation: EvaluationRecord,
    samples: list[Sample],
    files: Mapping[int, str],
) -> dict[str, Any]:
    places = {index: place for place, index in enumerate(evaluation.drawn)}
    maps = evaluation.maps[0].values() if evaluation.maps else None
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for n, name in files.items():
        sample = samples[n]
        height, width = _decoded(record.images[sample.row]).shape[:2]
        images.append({"id": n + 1, "file_name": name, "width": width, "height": height})
        place = places.get(sample.index)
        if maps is not None and place is not None:
            region, score = attended_region(maps[place], height, width)
            facts = {"score": score, **_facts(sample)}
            annotations += _annotation(len(annotations) + 1, n + 1, 1, region, facts)
        if record.masks is not None:
            mask = _decoded(record.masks[sample.row], cv2.IMREAD_GRAYSCALE)
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
            annotations += _annotation(len(annotations) + 1, n + 1, 2, mask > 0, {})
    categories = [{"id": k, "name": v, "supercategory": ""} for k, v in _CATEGORIES.items()]
    about = f"lightning_cam, {record.tag}, epoch {evaluation.epoch}"
    info = {"description": about, "version": "1.0"}
    return {
        "info": info,
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": annotations,
    }


def attended_region(
    values: NDArray[np.float32], height: int, width: int
) -> tuple[NDArray[np.bool_], float]:
    """Return where a map is at least half of its maximum, and the share of its sum in there.

    Args:
        values: the map, (h, w), at least 0.
        height: of the image that it is enlarged to.
        width: of the image.

    Returns:
        (height, width) bool, and 0 to 1; nowhere and 0 for a map that is zero.
    """
    large = cv2.resize(np.nan_to_num(values), (width, height), interpolation=cv2.INTER_LINEAR)
    peak, total = float(large.max()), float(large.sum())
    if peak <= 0 or not math.isfinite(total):
        return np.zeros((height, width), bool), 0.0
    region = large >= _HALF * peak
    return region, round(float(large[region].sum()) / total, 6)


def _facts(sample: Sample) -> dict[str, Any]:
    """Return what readers may show beside an annotation.

    FiftyOne makes fields of them beside its own `label` and `confidence`, hence other names.
    """
    facts: dict[str, Any] = {"sample_id": sample.id, "true_class": sample.label}
    facts["predicted_class"] = sample.prediction
    facts |= {} if sample.correct is None else {"correct": sample.correct}
    numbers = {"probability": sample.confidence, **sample.metrics}
    return facts | {k: round(v, 6) for k, v in numbers.items() if math.isfinite(v)}


def _annotation(
    number: int, image: int, category: int, region: NDArray[np.bool_], facts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return a region's annotation in a list, which is empty where the region is."""
    rows, columns = region.any(axis=1).nonzero()[0], region.any(axis=0).nonzero()[0]
    if not len(rows):
        return []
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    return [
        {
            **facts,
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "segmentation": _run_lengths(region),
            "area": int(region.sum()),
            "iscrowd": 0,
        }
    ]


def _run_lengths(region: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a region as COCO's uncompressed run lengths, column by column, zeros first."""
    flat = region.flatten(order="F").astype(np.int8)
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([[0], changes, [len(flat)]])
    counts = np.diff(ends).tolist()
    counts = [0, *counts] if flat[0] else counts
    return {"counts": counts, "size": list(region.shape)}


def _decoded(encoded: str, flag: int = cv2.IMREAD_COLOR) -> Any:
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), flag)
    if pixels is None:
        raise ValueError("expected encoded images in the record, got other bytes")
    return pixels
