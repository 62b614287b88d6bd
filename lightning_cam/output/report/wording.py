"""The report's sentences about alerts, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lightning_cam.metrics.registry import title_of
from lightning_cam.metrics.reliance import answer_of

if TYPE_CHECKING:
    from lightning_cam.output.record import ProbeRecord

Severity = Literal["confirmed", "saliency", "contradicted", "none", "unknown"]

VERDICTS: dict[str, tuple[Severity, str]] = {
    "confirmed": ("confirmed", "Confirmed: exchanging the attribute changes the answers"),
    "contradicted": (
        "contradicted",
        "Contradicted: exchanging the background hardly changes the answers",
    ),
    "saliency only": ("saliency", "Saliency only: not checked by interventions"),
}
_WORST_FIRST = ("confirmed", "saliency only", "contradicted")


def number(value: Any) -> str:
    """Return a number as the page writes it, a dash where there is none."""
    if not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        return "–"
    if value and abs(value) < 0.01:  # noqa: PLR2004
        return f"{value:.1e}".replace("-", "−")
    return f"{value:.2f}".replace("-", "−")


def verdict(records: Sequence[ProbeRecord]) -> tuple[Severity, str]:
    """Return how severe a run's alerts are, over all probes, and a sentence that says so."""
    alerts = [alert for r in records for each in r.evaluations for alert in each.alerts]
    evaluations = max((len(record.evaluations) for record in records), default=0)
    if not evaluations:
        return "unknown", "No evaluation has been recorded yet."
    if alerts:
        return _with_alerts(alerts)
    count = f"{evaluations} evaluation{'s' if evaluations > 1 else ''}"
    said = _without_alert(records)
    if all(record.settings.get("alerts", None) == [] for record in records):
        return "unknown", f"No alert in {count}, but there was no rule."
    return "none", f"No alert in {count}. {said}"


def _without_alert(records: Sequence[ProbeRecord]) -> str:
    """Return what is known of what the model relies on, one sentence."""
    latest = [_latest(record) for record in records]
    answers = [answer_of(metrics) for metrics in latest]
    if "shortcut" in answers:
        metrics = latest[answers.index("shortcut")]
        low = {name: value for name, value in metrics.items() if name.endswith("_reliance_low")}
        title = title_of(max(low, key=low.__getitem__)) if low else "Shortcut score"
        return f"But it relies on one attribute, which no rule was about: see “{title}”."
    if "context" in answers:
        context = max(metrics.get("context_reliance_low", 0.0) for metrics in latest)
        return (
            "The surroundings help, as they do in natural data: exchanging them costs at least "
            f"{context:.0%} of what the model knows."
        )
    if "none" in answers:
        return "It relies on no attribute more than natural data explains."
    return (
        "What the model relies on is unknown: that needs one label per image, two images of a "
        "class and another class."
    )


def _latest(record: ProbeRecord) -> dict[str, float]:
    """Return the latest known value of each metric of a probe."""
    found = {}
    for each in record.evaluations:
        found.update({name: v for name, v in each.metrics.items() if v is not None and v == v})  # noqa: PLR0124 - NaN
    return found


def _with_alerts(alerts: Sequence[Mapping[str, Any]]) -> tuple[Severity, str]:
    first = min(alerts, key=lambda alert: (_WORST_FIRST.index(alert["verdict"]), alert["step"]))
    severity, _ = VERDICTS[first["verdict"]]
    same = sum(alert["verdict"] == first["verdict"] for alert in alerts)
    start = {
        "confirmed": f"The model relies on {first.get('cue') or 'the background'}",
        "saliency": "Seen in the maps only, not checked by interventions",
        "contradicted": "Seen in the maps, contradicted by interventions",
    }[severity]
    kind = "confirmed " if severity == "confirmed" else ""
    count = f"{same} {kind}alert{'s' if same > 1 else ''}"
    if same < len(alerts):
        count += f" of {len(alerts)}"
    return severity, (
        f"{start}: {count}{', the first' if same > 1 else ''} at epoch {first['epoch']} "
        f"({title_of(first['metric'])} {number(first['value'])}, limit {number(first['limit'])})."
    )
