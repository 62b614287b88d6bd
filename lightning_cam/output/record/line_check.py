"""`check_header`, `check_evaluation`: refuse lines of a record that no recorder wrote."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

_Check: TypeAlias = Callable[[Any], bool]
_LATEST = 1e11  # seconds since 1970
_LARGEST = 1 << 53  # of an integer
_VERDICTS = ("confirmed", "contradicted", "saliency only")
_NDIM = 3


def check_header(line: Mapping[str, Any]) -> None:
    """Check the line that says what a record is of.

    Raises:
        ValueError: a part is missing, or is something else than the recorder writes.
    """
    _check(line, _HEADER)
    _check({"image_fingerprints": []} | dict(line), _NEWER_HEADER)
    count = len(line["ids"])
    _agrees("image_fingerprints", len(line.get("image_fingerprints") or line["ids"]) == count)
    targets, masks = line["targets"], line["masks"]
    if targets is not None:
        kind = _list_of(_whole) if line["multi_label"] else _whole
        _agrees("targets", len(targets) == count and all(map(kind, targets)))
    _agrees("images", len(line["images"]) <= count)
    _agrees("masks", masks is None or len(masks) == len(line["images"]))


def check_evaluation(line: Mapping[str, Any], images: int, *, multi_label: bool) -> None:
    """Check the line of an evaluation.

    Args:
        line: as it was read.
        images: number of images of the probe.
        multi_label: whether these have several labels.

    Raises:
        ValueError: as `check_header`.
    """
    _check(line, _EVALUATION)
    rows, answers = line["rows"], (line["predictions"], line["confidences"])
    _agrees("rows", all(row < images for row in rows))
    _agrees("classes", len(line["classes"]) == len(rows))
    _agrees("drawn", all(index < len(rows) for index in line["drawn"]))
    _agrees("predictions and confidences", all(len(each) == images for each in answers))
    if multi_label:
        labels = max(line["classes"], default=-1)
        for each in (*line["predictions"], *line["confidences"]) if labels >= 0 else ():
            _agrees("predictions", isinstance(each, list) and len(each) > labels)
            _agrees("predictions", isinstance(each[labels], bool) or _number(each[labels]))
    else:
        _agrees("predictions", all(map(_label, line["predictions"])))
        _agrees("confidences", all(map(_number, line["confidences"])))
    for each in line["maps"]:
        _check(each, _MAPS)
        shape = each["shape"]
        _agrees("maps", len(shape) == _NDIM and shape[0] == len(each["peak"]) == len(line["drawn"]))
        _agrees("cells", len(base64.b64decode(each["cells"])) == math.prod(shape))
    for each in line["alerts"]:
        _check(each, _ALERT)
        _check({"attribute": "", "cue": ""} | each, _NEWER_ALERT)


def _check(line: object, parts: Mapping[str, _Check]) -> None:
    if not isinstance(line, Mapping):
        raise ValueError(f"expected a JSON object, got a {type(line).__name__}")
    for name, sound in parts.items():
        if name not in line:
            raise ValueError(f"expected {name!r}, got none")
        if not sound(line[name]):
            raise ValueError(f"expected another {name!r}, got {line[name]!r:.60}")


def _agrees(name: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"expected {name!r} that agree with the rest, got others")


# --- values ---------------------------------------------------------------------------------------


def _text(value: object) -> bool:
    return isinstance(value, str)


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _label(value: object) -> bool:
    return _whole(value) or value == -1


def _number(value: object) -> bool:
    """Return whether it is a number, or None for one that is not known."""
    if value is None or isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _time(value: object) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and 0 <= value < _LATEST  # type: ignore[operator]


def _bytes(value: object) -> bool:
    """Return whether it is text that encodes bytes."""
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


def _list_of(kind: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def _dict_of(kind: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(map(kind, value.values()))


def _or_none(kind: _Check) -> _Check:
    return lambda value: value is None or kind(value)


def _anything(_value: object) -> bool:
    return True


_HEADER: dict[str, _Check] = {
    "tag": _text,
    "fingerprint": _text,
    "ids": _list_of(_text),
    "class_names": _or_none(_list_of(_text)),
    "targets": _or_none(_list_of(_anything)),
    "multi_label": _truth,
    "masks_estimated": _truth,
    "images": _list_of(_bytes),
    "masks": _or_none(_list_of(_bytes)),
    "settings": _dict_of(_anything),
    "environment": _dict_of(_text),
}
_NEWER_HEADER: dict[str, _Check] = {"image_fingerprints": _list_of(_text)}
_EVALUATION: dict[str, _Check] = {
    "index": _whole,
    "epoch": _integer,
    "step": _integer,
    "time": _time,
    "metrics": _dict_of(_number),
    "per_image": _dict_of(_list_of(_number)),
    "maps": _list_of(_dict_of(_anything)),
    "drawn": _list_of(_whole),
    "rows": _list_of(_whole),
    "classes": _list_of(_label),
    "predictions": _list_of(_anything),
    "confidences": _list_of(_anything),
    "evidence": _dict_of(_number),
    "alerts": _list_of(_dict_of(_anything)),
    "worst": _list_of(_text),
}
_MAPS: dict[str, _Check] = {
    "method": _text,
    "layer": _text,
    "shape": _list_of(_whole),
    "peak": _list_of(_number),
    "cells": _bytes,
}
_ALERT: dict[str, _Check] = {
    "probe": _text,
    "metric": _text,
    "value": _number,
    "limit": _number,
    "epoch": _integer,
    "step": _integer,
    "verdict": lambda value: isinstance(value, str) and value in _VERDICTS,
    "evidence": _dict_of(_number),
    "worst": _list_of(_text),
}
_NEWER_ALERT: dict[str, _Check] = {"attribute": _text, "cue": _text}
