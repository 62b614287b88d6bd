"""`check_state`: refuse a damaged state of a checkpoint as a whole, before anything is restored.

What is checked here needs neither probe nor model: types, shapes, ranges, and whether parts agree
with each other. Whether a state fits the probe and the layers is checked when these are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_cam.metrics.registry import find_metric
from lightning_cam.monitor.evidence import check_evidence
from lightning_cam.monitor.rules import RuleState

_LARGEST = 1 << 53  # of an integer; a training has fewer steps
_MAPS_NDIM = 3
_PAIR = 2
_ROUNDING = 1e-3  # of probabilities and shares


def check_state(state: object) -> None:
    """Check what `CAMMonitor.state_dict` returned, now or in an older version with fewer parts.

    Raises:
        ValueError: a part is missing, of the wrong type or out of range, or parts do not agree; the
            message says which.
    """
    _integer("validations", _entry("the state", state, "validations"))
    check_probe_states(state)


def check_probe_states(state: object) -> None:
    """Check what `ProbeSet.state_dict` returned.

    Raises:
        ValueError: as `check_state`.
    """
    probes = _mapping("probes", _entry("the state", state, "probes"))
    for name, probe in probes.items():
        _text("the name of a probe", name)
        check_probe_state(probe, f"probes.{name}")
    gap = _mapping("the state", state).get("gap")
    if gap is not None:
        rules = _entry("gap", gap, "rules")
        check_rules(rules, "gap.rules")
        if len(probes) < _PAIR and any(rule.get("seen") for rule in rules):
            raise ValueError(f"expected the two probes of a gap, got {len(probes)}")


def check_probe_state(state: object, at: str = "probe") -> None:
    """Check what `ProbeMonitor.state_dict` returned.

    Args:
        state: that.
        at: where it is, for messages.

    Raises:
        ValueError: as `check_state`.
    """
    known = _mapping(at, state)
    _text(f"{at}.fingerprint", _entry(at, known, "fingerprint"))
    for layer in _list(f"{at}.layers", _entry(at, known, "layers")):
        _text(f"{at}.layers", layer)
    _check_history(_mapping(f"{at}.history", _entry(at, known, "history")), f"{at}.history")
    check_rules(known.get("rules", []), f"{at}.rules")
    if "evidence" in known:
        try:
            check_evidence(known["evidence"])
        except Exception as error:  # a damaged file may hold anything
            raise ValueError(f"{type(error).__name__}: {error} in {at}.evidence") from error
    _number(f"{at}.noise_floor", known.get("noise_floor", math.nan), 0, 1 + _ROUNDING)
    for name, value in _mapping(f"{at}.baselines", known.get("baselines", {})).items():
        _text(f"{at}.baselines", name)
        metric, _ = find_metric(name)
        low, high = (None, None) if metric is None else metric.bounds
        _number(f"{at}.baselines.{name}", value, low, None if high is None else high + _ROUNDING)


def check_rules(states: object, at: str) -> None:
    """Check what `RuleSet.state_dict` returned.

    Raises:
        ValueError: as `check_state`.
    """
    for state in _list(at, states):
        _text(f"{at}.metric", _entry(at, state, "metric"))
        try:
            RuleState.restored(_mapping(at, state))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{error} in {at}") from error


def unusable(error: Exception) -> str:
    """Return why a state cannot be used, for the warning."""
    return f"the state cannot be used ({type(error).__name__}: {error})"


# --- the history ----------------------------------------------------------------------------------


def _check_history(state: Mapping[str, Any], at: str) -> None:
    count, stride = (_entry(at, state, name) for name in ("count", "stride"))
    _integer(f"{at}.count", count)
    _integer(f"{at}.stride", stride, least=1)
    kept = _list(f"{at}.kept", _entry(at, state, "kept"))
    expected: dict[str, tuple[object, int | None]] = {
        f"kept[{n}]": (each, n * stride) for n, each in enumerate(kept)
    }
    if len(kept) != -(-count // stride):
        raise ValueError(f"expected {-(-count // stride)} snapshots in {at}.kept, got {len(kept)}")
    places = {"first": 0, "previous": count - 1, "before": count - 2, "best": None}
    for name, index in places.items():
        if _mapping(f"{at}.{name}", state.get(name, {})):
            expected[name] = (state[name], index)
        elif count and name in ("first", "previous"):
            raise ValueError(f"expected {at}.{name} of {count} evaluations, got none")
    shapes: dict[Any, Any] = {}
    for name, (packed, index) in expected.items():
        _check_snapshot(_mapping(f"{at}.{name}", packed), f"{at}.{name}", index, count, shapes)
    _number(f"{at}.best_value", state.get("best_value", -math.inf), -math.inf, infinite=True)
    _check_average(state, at)


def _check_snapshot(
    packed: Mapping[str, Any], at: str, index: int | None, count: int, shapes: dict[Any, Any]
) -> None:
    """Check a snapshot; `shapes` holds the sizes that all snapshots share, and is filled."""
    for name in ("index", "epoch", "step"):
        _integer(
            f"{at}.{name}", _entry(at, packed, name), least=0 if name == "index" else -_LARGEST
        )
    found = packed["index"]
    if found != (found if index is None else index) or found >= count:
        raise ValueError(f"expected {at} of evaluation {index}, got {found} of {count}")
    rows = _tensor(f"{at}.rows", _entry(at, packed, "rows"), 1, torch.int64)
    classes = _tensor(f"{at}.classes", _entry(at, packed, "classes"), 1, torch.int64)
    _check_answers(packed, at, shapes)
    images = len(packed["predictions"])
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < max(images, 1):
        raise ValueError(f"expected {at}.rows from 0 to {images - 1}, got others")
    if len(classes) != len(rows) or (len(classes) and int(classes.min()) < -1):
        raise ValueError(f"expected {at}.classes of {len(rows)} maps from -1, got others")
    sizes = []
    for key, maps in _maps(f"{at}.maps", _entry(at, packed, "maps")).items():
        if len(maps) != len(rows):
            raise ValueError(f"expected {len(rows)} maps in {at}.maps, got {len(maps)}")
        sizes.append(f"{'×'.join(map(str, maps.shape[1:]))} for {'@'.join(key)}")
    _shared(shapes, "maps", ", ".join(sizes), at)


def _check_answers(packed: Mapping[str, Any], at: str, shapes: dict[Any, Any]) -> None:
    """Check predictions, (B,) int64 or (B, K) bool, and their probabilities of the same shape."""
    predictions = _tensor(f"{at}.predictions", _entry(at, packed, "predictions"), None)
    kind = (predictions.ndim, predictions.dtype)
    if kind not in ((1, torch.int64), (2, torch.bool)):
        raise ValueError(f"expected {at}.predictions as classes or labels, got {kind}")
    if predictions.numel() and int(predictions.min()) < -1:
        raise ValueError(f"expected {at}.predictions from -1, got {int(predictions.min())}")
    confidences = _tensor(f"{at}.confidences", _entry(at, packed, "confidences"), None, float)
    if confidences.shape != predictions.shape:
        raise ValueError(f"expected {at}.confidences of {tuple(predictions.shape)}, got others")
    known = confidences[~confidences.isnan()]
    if bool(((known < 0) | (known > 1 + _ROUNDING)).any()):
        raise ValueError(f"expected {at}.confidences from 0 to 1, got others")
    _shared(shapes, "predictions", tuple(predictions.shape), at)


def _check_average(state: Mapping[str, Any], at: str) -> None:
    """Check that the average is of the maps of the latest snapshot, and not infinite."""
    average = _maps(f"{at}.average", state.get("average", []))
    latest = _maps(f"{at}.previous.maps", state["previous"]["maps"]) if state["count"] else {}
    if "average" in state and {k: m.shape for k, m in average.items()} != {
        k: m.shape for k, m in latest.items()
    }:
        raise ValueError(f"expected {at}.average of the latest maps, got another number or size")
    for maps in average.values():
        if bool(maps.isinf().any()):
            raise ValueError(f"expected finite numbers in {at}.average, got infinite ones")


# --- values ---------------------------------------------------------------------------------------


def _entry(at: str, holder: object, name: str) -> Any:
    found = _mapping(at, holder)
    if name not in found:
        raise ValueError(f"expected {name!r} in {at}, got none")
    return found[name]


def _mapping(at: str, value: object) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected {at} as a dict, got a {type(value).__name__}")
    return value


def _list(at: str, value: object) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"expected {at} as a list, got a {type(value).__name__}")
    return value


def _text(at: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"expected {at} as text, got a {type(value).__name__}")


def _integer(at: str, value: object, least: int = 0) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _LARGEST:
        raise ValueError(f"expected {at} as an integer from {least}, got {value!r:.40}")


def _number(
    at: str,
    value: object,
    low: float | None = None,
    high: float | None = None,
    *,
    infinite: bool = False,
) -> None:
    """Check a number; NaN stands for one that is not known, except where it may be infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected {at} as a number, got a {type(value).__name__}")
    value = float(value)
    known = math.isfinite(value) or (value == -math.inf if infinite else math.isnan(value))
    below, above = low is not None and value < low, high is not None and value > high
    if not known or below or above:
        raise ValueError(f"expected {at} between {low} and {high}, got {value}")


def _tensor(
    at: str, value: object, ndim: int | None, dtype: torch.dtype | type[float] | None = None
) -> Tensor:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        raise ValueError(f"expected {at} as a tensor, got a {type(value).__name__}")
    fits = value.is_floating_point() if dtype is float else dtype in (None, value.dtype)
    if not fits or value.ndim != (value.ndim if ndim is None else ndim):
        got = f"{tuple(value.shape)} {value.dtype}"
        raise ValueError(f"expected {at} with {ndim or 'its'} dimensions of {dtype}, got {got}")
    return value


def _maps(at: str, value: object) -> dict[tuple[str, str], Tensor]:
    """Return maps (N, h, w) by method and layer; any values, since a model may diverge."""
    found = {}
    for each in _list(at, value):
        if len(_list(at, each)) != _MAPS_NDIM:
            raise ValueError(f"expected method, layer and maps in {at}, got {len(each)} parts")
        method, layer, maps = each
        _text(at, method)
        _text(at, layer)
        found[method, layer] = _tensor(at, maps, _MAPS_NDIM, float)
        if 0 in maps.shape[1:]:
            raise ValueError(f"expected maps with cells in {at}, got {tuple(maps.shape)}")
    return found


def _shared(shapes: dict[Any, Any], name: str, size: object, at: str) -> None:
    if shapes.setdefault(name, size) != size:
        raise ValueError(f"expected {name} of {shapes[name]} in {at}, got {size}")
