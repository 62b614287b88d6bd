"""The catalog: every metric's facts, once.

`CAMCallback`'s docstring, `docs/metrics.md`, TensorBoard's custom scalars, the report's charts and
the command line are made from it, and `monitor/measure.py` computes what it lists. To add a metric,
write its function and add an entry; outside of the package call `register_metric`.
"""

from __future__ import annotations

from functools import partial

from lightning_cam.metrics import localization, shape, stability
from lightning_cam.metrics.registry import METRICS, Metric, Need, register_metric

__all__ = ["METRICS", "Metric", "register_metric"]

UNIT, SIGNED, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, None)

_NOT = ()  # no headline metric
_attention = partial(Metric, group="attention", headline=_NOT)
_mask = partial(_attention, kind="mask", needs=("masks",), higher_is_better=True)
_movement = partial(Metric, group="movement", kind="movement", headline=_NOT, compares_several=True)
_ATTRIBUTES: tuple[tuple[str, str, tuple[Need, ...]], ...] = (
    ("patch", "a patch at one place", ()),
    ("watermark", "a mark that images of the class share", ()),
    ("border", "the border of the image", ()),
    ("noise", "the noise of the image", ()),
    ("sharpness", "how sharp the image is", ()),
    ("surround", "the texture around the middle of the image", ("no masks",)),
    ("background", "the background", ("masks",)),
    ("color", "the overall colour", ()),
    ("context", "all that is around the middle of the image", ("no masks",)),
)
# Of the reliance metrics those that tell most runs apart in `benchmarks.alerts`; the name of any
# other attribute that leads is in the alert, and its curve in the report.
_TELLING = ("patch", "surround", "background")


def reliance_metrics(
    name: str, cue: str, needs: tuple[Need, ...], *, headline: bool = True
) -> tuple[Metric, ...]:
    """Return the metrics of the reliance on an attribute, of its error and of its lower bound.

    Args:
        name: of the attribute.
        cue: what the model relies on then, in words.
        needs: what a probe must have beside labels.
        headline: whether the first of them is a headline metric.
    """
    of_attribute = partial(
        Metric,
        bounds=UNIT,
        group="reliance",
        kind="intervention",
        needs=(*needs, "labels"),
        even=0.0,
        higher_is_better=False,
        chart=f"{name.capitalize()} reliance",
        headline=_NOT,
    )
    title = f"{name.capitalize()} reliance"
    return (
        of_attribute(
            f"{name}_reliance",
            title,
            f"share of what the model knows that depends on {cue}: 0 none, 1 all",
            headline=(f"{name}_reliance",) if headline else _NOT,
        ),
        of_attribute(
            f"{name}_reliance_low",
            f"{title}, lower bound",
            "what the reliance was at least at some evaluation so far; too high in 5 % of the "
            "trainings at most, over all attributes and evaluations",
        ),
        of_attribute(
            f"{name}_reliance_se",
            f"{title}, standard error",
            "standard error of the reliance, over images and partners",
        ),
    )


# fmt: off
for _metric in (
    # Where attention rests: each map by itself, or against the object's mask.
    _mask(
        "enrichment", "Enrichment",
        "relevance mass divided by the object's share of the area: below 1 attention is off "
        "the object",
        function=localization.enrichment, bounds=POSITIVE, even=1.0,
        headline=("enrichment", "enrichment_center"),
    ),
    _mask(
        "relevance_mass", "Relevance mass",
        "share of the map that is on the object; grows with the object's area, so read "
        "enrichment beside it",
        function=localization.relevance_mass, bounds=UNIT, percent=True,
    ),
    _mask(
        "relevance_rank", "Relevance rank",
        "share of the highest cells, as many as the object covers, that are on the object",
        function=localization.relevance_rank, bounds=UNIT, percent=True,
    ),
    _mask(
        "pointing_game", "Pointing game",
        "share of images whose highest cell is on the object",
        function=localization.pointing_game, bounds=UNIT, percent=True,
    ),
    _mask(
        "iou", "Overlap (IoU)",
        "intersection over union of the object and the cells above half of the map's maximum",
        function=localization.iou, bounds=UNIT,
    ),
    _attention(
        "entropy", "Entropy",
        "spread of the map: 0 for a single cell, 1 where all cells are equal",
        function=shape.entropy, bounds=UNIT, even=1.0, headline=("entropy",),
    ),
    _attention(
        "border_mass", "Border mass",
        "attention in the outer eighth relative to its area: above 1 hints at frames, "
        "watermarks or padding",
        function=shape.border_mass, bounds=POSITIVE, even=1.0,
    ),
    _attention(
        "center_x", "Centre, horizontal",
        "centre of mass of the map, 0 at the left edge, 1 at the right edge",
        function=shape.center_x, bounds=UNIT, even=0.5, chart="Centre of the map",
    ),
    _attention(
        "center_y", "Centre, vertical",
        "centre of mass of the map, 0 at the top edge, 1 at the bottom edge",
        function=shape.center_y, bounds=UNIT, even=0.5, chart="Centre of the map",
    ),
    # How attention moves: the same images' maps at two evaluations.
    _movement(
        "jsd", "Divergence (JSD)",
        "Jensen-Shannon divergence of the two maps: 0 for equal maps, 1 for disjoint ones",
        function=stability.jsd, bounds=UNIT,
    ),
    Metric(
        "drift", "Drift",
        "divergence in multiples of the noise floor: about 1 is no more than a flip moves",
        bounds=POSITIVE, group="movement", kind="evaluation", reference_suffix=True,
        headline=("drift_previous", "drift_first"),
    ),
    _movement(
        "correlation", "Correlation",
        "Pearson's correlation of the cells: 1 for equal maps",
        function=stability.correlation, bounds=SIGNED,
    ),
    _movement(
        "rank_correlation", "Rank correlation",
        "Spearman's rank correlation of the cells: 1 for the same order",
        function=stability.rank_correlation, bounds=SIGNED,
    ),
    _movement(
        "top_overlap", "Overlap of the top cells",
        "intersection over union of the highest fifth of the cells",
        function=stability.top_overlap, bounds=UNIT,
    ),
    _movement(
        "center_shift", "Shift of the centre",
        "distance of the two centres of mass in pixels, divided by the image's diagonal",
        function=stability.center_shift, bounds=UNIT, in_pixels=True,
    ),
    Metric(
        "noise_floor", "Noise floor",
        "divergence that a flip and a small jitter cause at the same weights; measured at the "
        "first five evaluations, then at every fifth, and kept in between",
        bounds=UNIT, group="movement", kind="evaluation", chart="Drift", headline=_NOT,
    ),
    Metric(
        "prediction_flips", "Prediction flips",
        "share of images whose predicted class changed since the previous evaluation",
        bounds=UNIT, group="movement", kind="evaluation", percent=True,
    ),
    # Does the model rely on something that has nothing to do with the object?
    Metric(
        "shortcut_score", "Shortcut score",
        "largest reliance on one attribute beyond what natural data shows: 0 none, 1 all",
        bounds=UNIT, group="reliance", kind="intervention", needs=("labels",), even=0.0,
        higher_is_better=False,
    ),
    Metric(
        "shortcut_score_low", "Shortcut score, lower bound",
        "what the shortcut score was at least at some evaluation so far; above 0 without cause in "
        "5 % of trainings at most",
        bounds=UNIT, group="reliance", kind="intervention", needs=("labels",), even=0.0,
        higher_is_better=False, chart="Shortcut score",
    ),
    *(
        metric
        for name, cue, needs in _ATTRIBUTES
        for metric in reliance_metrics(name, cue, needs, headline=name in _TELLING)
    ),
    # Health of the maps, and of the run.
    Metric(
        "mean_activation", "Mean activation",
        "mean of the raw map in units of the score, which normalised images hide",
        function=shape.mean_activation, bounds=POSITIVE, group="health", headline=_NOT,
    ),
    Metric(
        "zero_map_fraction", "Flat maps",
        "share of images whose map is the same everywhere or not finite",
        function=shape.is_flat, bounds=UNIT, group="health", higher_is_better=False,
        percent=True, headline=_NOT,
    ),
    Metric(
        "label_confidence", "Label confidence",
        "probability of the label, on the probe's images as they are",
        bounds=UNIT, group="health", kind="evaluation", needs=("labels",),
        higher_is_better=True, percent=True,
    ),
    Metric(
        "overhead", "Overhead",
        "share of the training's time that the evaluations took",
        bounds=UNIT, group="health", kind="evaluation", needs=("max_overhead",),
        higher_is_better=False, percent=True,
    ),
):
    register_metric(_metric)
# fmt: on
