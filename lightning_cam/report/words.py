"""What the page calls things, and the sentence at its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lightning_cam.record import ProbeRecord

REFERENCES = {
    "previous": "the previous validation",
    "first": "the first validation",
    "best": "the best validation",
    "average": "the average so far",
}


@dataclass(frozen=True)
class Metric:
    """How one metric is shown.

    Attributes:
        name: as it is logged, without the tag.
        title: in a few words.
        note: how to read it.
        low: the least that it can be; None for what the data show.
        high: the most that it can be.
        even: the value of attention that knows nothing, drawn as a thin line.
        share: whether it is shown in per cent.
        moves: whether its name goes on with `_previous`, `_first`, `_best` or `_average`.
    """

    name: str
    title: str
    note: str
    low: float | None = 0.0
    high: float | None = None
    even: float | None = None
    share: bool = False
    moves: bool = False


@dataclass(frozen=True)
class Group:
    """Charts that answer one question."""

    key: str
    title: str
    metrics: tuple[Metric, ...]


GROUPS = (
    Group(
        "rest",
        "Where attention rests",
        (
            Metric("enrichment", "Enrichment", "1 spread evenly, below 1 off the object",
                   even=1.0),
            Metric("relevance_mass", "Relevance mass", "share of the attention on the object",
                   high=1.0, share=True),
            Metric("relevance_rank", "Relevance rank", "highest cells on the object",
                   high=1.0, share=True),
            Metric("pointing_game", "Pointing game", "highest cell on the object",
                   high=1.0, share=True),
            Metric("iou", "Overlap (IoU)", "with the cells above half the maximum", high=1.0),
            Metric("entropy", "Entropy", "0 one cell, 1 even: no place", high=1.0),
            Metric("border_mass", "Border mass", "above 1: frames, watermarks, padding", even=1.0),
        ),
    ),
    Group(
        "move",
        "How it moves",
        (
            Metric("jsd", "Divergence (JSD)", "0 same map, 1 disjoint", high=1.0, moves=True),
            Metric("drift", "Drift", "divergence over the noise floor", moves=True),
            Metric("correlation", "Correlation", "1 same map", None, 1.0, moves=True),
            Metric("rank_correlation", "Rank correlation", "1 same order of cells", None, 1.0,
                   moves=True),
            Metric("top_overlap", "Overlap of the top cells", "1 same cells", high=1.0, moves=True),
            Metric("center_shift", "Shift of the centre", "in image diagonals", moves=True),
            Metric("prediction_flips", "Prediction flips", "images with another prediction",
                   high=1.0, share=True),
        ),
    ),
    Group(
        "background",
        "Does the model use the background?",
        (
            Metric("background_reliance", "Background reliance", "share of what it knows; 0 none",
                   None, even=0.0),
            Metric("rim_reliance", "Rim reliance", "the same of the image's rim", None, even=0.0),
            Metric("bg_gap_confidence", "Background gap", "in probability; above 0 it is used",
                   None, even=0.0),
            Metric("mixed_rand_drop", "Drop on other backgrounds", "probability of the label lost",
                   None, even=0.0),
            Metric("rfs_confidence", "Foreground sensitivity", "below 0 the background counts more",
                   None, even=0.0),
            Metric("background_confidence", "Background alone", "probability without the object",
                   high=1.0, share=True),
            Metric("bg_gap", "Background gap, accuracy", "above 0 it is used", None, even=0.0),
            Metric("rfs", "Foreground sensitivity, accuracy", "below 0 the background counts more",
                   None, even=0.0),
            Metric("background_accuracy", "Background alone, accuracy", "without the object",
                   high=1.0, share=True),
            Metric("rim_gap_confidence", "Rim gap", "in probability; above 0 the rim is used", None,
                   even=0.0),
            Metric("rim_confidence", "Rim alone", "probability without the middle", high=1.0,
                   share=True),
            Metric("top_drop", "Drop without the hot region", "probability lost", None, even=0.0),
            Metric("random_drop", "Drop without another region", "probability lost", None,
                   even=0.0),
            Metric("background_skill", "Background alone, skill", "0 as good as any other", None,
                   even=0.0),
            Metric("rim_skill", "Rim alone, skill", "0 as good as any other", None, even=0.0),
            Metric("faithfulness", "Faithfulness", "above 0 the map points at what counts", None,
                   even=0.0),
        ),
    ),
    Group(
        "health",
        "Health of the maps",
        (
            Metric("evidence", "Evidence", "mean of the raw map"),
            Metric("zero_map_fraction", "Empty maps", "flat or not finite", high=1.0, share=True),
            Metric("label_confidence", "Confidence in the label", "probability", high=1.0,
                   share=True),
            Metric("noise_floor", "Noise floor", "divergence under a flip and a jitter"),
            Metric("center_x", "Centre, across", "0 left, 1 right", high=1.0, even=0.5),
            Metric("center_y", "Centre, down", "0 top, 1 bottom", high=1.0, even=0.5),
        ),
    ),
)  # fmt: skip

_BY_NAME = {metric.name: metric for group in GROUPS for metric in group.metrics}

Level = Literal["confirmed", "saliency", "contradicted", "none", "unwatched"]

VERDICTS: dict[str, tuple[Level, str]] = {
    "confirmed": ("confirmed", "Confirmed: the model uses the background"),
    "contradicted": ("contradicted", "Contradicted: the score hardly depends on the background"),
    "saliency only": ("saliency", "Saliency only: not checked by interventions"),
}
_WORST_FIRST = ("confirmed", "saliency only", "contradicted")


def title_of(name: str) -> str:
    """Return what a metric is called on the page, with its method and layer where it names one."""
    plain, _, where = name.partition("/")
    metric = _BY_NAME.get(plain)
    title = metric.title if metric else plain
    for reference, words in REFERENCES.items():
        stem = plain.removesuffix(f"_{reference}")
        if metric is None and stem != plain and stem in _BY_NAME:
            title = f"{_BY_NAME[stem].title} from {words}"
    return f"{title} ({where})" if where else title


def number(value: Any) -> str:
    """Return a number as the page writes it, a dash where there is none."""
    if not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        return "–"
    if value and abs(value) < 0.01:  # noqa: PLR2004
        return f"{value:.1e}".replace("-", "−")
    return f"{value:.2f}".replace("-", "−")


def verdict(records: Sequence[ProbeRecord]) -> tuple[Level, str]:
    """Return how bad it is and the sentence that says so, for all probes of a run."""
    alerts = [alert for r in records for look in r.looks for alert in look.alerts]
    looks = max((len(record.looks) for record in records), default=0)
    if not looks:
        return "unwatched", "No validation has been recorded yet."
    if alerts:
        return _alarmed(alerts)
    over = f"{looks} validation{'s' if looks > 1 else ''}"
    if all(record.settings.get("rules", None) == [] for record in records):
        return "unwatched", f"No alert in {over}, but no rule was watching."
    return "none", f"No alert in {over}."


def _alarmed(alerts: Sequence[Mapping[str, Any]]) -> tuple[Level, str]:
    first = min(alerts, key=lambda alert: (_WORST_FIRST.index(alert["verdict"]), alert["step"]))
    level, _ = VERDICTS[first["verdict"]]
    same = sum(alert["verdict"] == first["verdict"] for alert in alerts)
    start = {
        "confirmed": "The model uses the background",
        "saliency": "Seen in the maps only, not checked by interventions",
        "contradicted": "Seen in the maps, contradicted by interventions",
    }[level]
    kind = "confirmed " if level == "confirmed" else ""
    many = f"{same} {kind}alert{'s' if same > 1 else ''}"
    if same < len(alerts):
        many += f" of {len(alerts)}"
    return level, (
        f"{start}: {many}{', the first' if same > 1 else ''} at epoch {first['epoch']} "
        f"({title_of(first['metric'])} {number(first['value'])}, limit {number(first['limit'])})."
    )
