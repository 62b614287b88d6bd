"""Which metrics a probe has, and what the others need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from lightning_cam.interventions import ATTRIBUTES, Attribute
from lightning_cam.interventions.triples import usable_images
from lightning_cam.metrics.registry import METRICS, UNFLIPPED, Metric, Need, find_metric
from lightning_cam.metrics.selection import is_headline
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from lightning_cam.probe import Probe

SMALLEST_SIDE = 8  # pixels, of images whose borders and textures can be exchanged

_LACKS: dict[Need, str] = {
    "masks": (
        "needs masks; this probe has none: give masks or boxes (Probe(..., masks=...), a dataset "
        "that has them, or estimate_masks=True)"
    ),
    "no masks": "is measured without masks only; this probe has masks",
    "labels": "needs labels; this probe has none: give targets",
    "two probes": "needs two probes, such as {'train': 'train', 'val': 'val'}",
    "max_overhead": "needs max_overhead=",
}


def attributes_of(probe: Probe, *, has_logits: bool) -> tuple[Attribute, ...]:
    """Return the attributes that can be exchanged between the images of a probe.

    None where images have several labels or none, since what an exchange costs is read off the
    probability of the label, and none where no image has partners of its own and another class.

    Args:
        probe: its masks and labels.
        has_logits: whether the model's output holds any.
    """
    if probe.targets is None or _why_not_exchanged(probe, has_logits=has_logits):
        return ()
    masks = probe.foreground is not None
    return tuple(each for each in ATTRIBUTES.values() if each.masks in (None, masks))


def metric_names_for(probe: Probe) -> list[str]:
    """Return the names of the metrics that the catalog has for a probe, without further maps."""
    metrics = [each for each in METRICS.values() if not _lacking(each, probe)]
    return [name for each in metrics for name in each.logged_names]


def missing_metric(
    kind: str,
    name: str,
    known: Iterable[str],
    probe: Probe,
    *,
    has_logits: bool,
    prefix: str = "",
) -> str:
    """Return the message for a metric that a probe does not have: what it needs, or a near miss.

    Args:
        kind: of use, such as `metric in a rule`.
        name: the plain name, which a method and a layer may follow.
        known: plain names of the metrics that the probe has.
        probe: the probe.
        has_logits: whether the model's output holds class logits.
        prefix: what stands before plain names where the name is used, such as `cam/`.
    """
    names = list(known)
    reason = why_not_measured(name, probe, has_logits=has_logits)
    if not reason:
        return unknown_name(kind, f"{prefix}{name}", [f"{prefix}{each}" for each in names])
    others = ", ".join(f"{prefix}{each}" for each in _alternatives(names))
    return f"{prefix}{name} {reason}. Or use one of {others}."


def why_not_measured(name: str, probe: Probe, *, has_logits: bool = True) -> str:
    """Return what a metric of the catalog needs and does not have, else an empty string.

    Args:
        name: the plain name, which a method and a layer may follow.
        probe: the probe.
        has_logits: whether the model's output holds class logits.
    """
    metric, _ = find_metric(name.partition("/")[0])
    if metric is None:
        return ""
    lacking = _lacking(metric, probe)
    if lacking:
        return _LACKS[lacking[0]]
    return _why_not_exchanged(probe, has_logits=has_logits) if is_intervention(name) else ""


def _why_not_exchanged(probe: Probe, *, has_logits: bool) -> str:
    """Return what exchanges of attributes need and a probe with labels does not have."""
    if probe.multi_label:
        return "needs one label per image; the images of this probe have several"
    if not has_logits:
        return "needs class logits; the output of this model has none"
    if min(probe.images.shape[2:]) < SMALLEST_SIDE:
        return f"needs images of {SMALLEST_SIDE} pixels a side or more; this probe's are smaller"
    if not _has_partners(probe):
        return "needs two images of one class and one of another; this probe has none"
    return ""


def is_intervention(name: str) -> bool:
    """Return whether a metric is measured by interventions themselves.

    Args:
        name: the plain name, which a method and a layer may follow.
    """
    metric, _ = find_metric(name.partition("/")[0])
    return metric is not None and metric.kind == "intervention"


def needs_interventions(name: str) -> bool:
    """Return whether a metric is measured only where interventions are made.

    Args:
        name: the plain name, which a method and a layer may follow.
    """
    metric, _ = find_metric(name.partition("/")[0])
    known = metric is not None and metric.name in ("noise_floor", "drift")
    return known or is_intervention(name)


def is_comparison(name: str) -> bool:
    """Return whether a metric compares an evaluation with an earlier one.

    Args:
        name: the plain name, which a method and a layer may follow.
    """
    plain = name.removeprefix(f"{UNFLIPPED}/").partition("/")[0]
    metric, _ = find_metric(plain)
    return plain == "prediction_flips" or (metric is not None and metric.moves)


def _has_partners(probe: Probe) -> bool:
    """Return whether some image has a partner of its own class and one of another."""
    assert probe.targets is not None
    labels = probe.targets[usable_images(probe.foreground, len(probe))]
    counts = torch.bincount(labels) if len(labels) else labels
    return bool((counts > 1).any()) and int((counts > 0).sum()) > 1


def _lacking(metric: Metric, probe: Probe) -> list[Need]:
    """Return what a metric needs and a probe does not have."""
    has = {
        "masks": probe.foreground is not None,
        "no masks": probe.foreground is None,
        "labels": probe.targets is not None,
    }
    return [need for need in metric.needs if not has.get(need, False)]


def _alternatives(names: Sequence[str]) -> list[str]:
    """Return the headline metrics among some names; where there are none, all of them."""
    return [name for name in names if is_headline(name)] or list(names)
