"""The catalog: every metric's facts, once.

`CAMCallback`'s docstring, `docs/metrics.md`, TensorBoard's custom scalars, the report's charts and
the command line are made from it, and `monitor/measure.py` computes what it lists. To add a metric,
write its function and add an entry; outside of the package call `register_metric`.
"""

from __future__ import annotations

from functools import partial

from lightning_cam.metrics import localization, reliance, shape, stability
from lightning_cam.metrics.registry import METRICS, Metric, register_metric

__all__ = ["METRICS", "Metric", "register_metric"]

UNIT, SIGNED, POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, None)

_attention = partial(Metric, group="attention")
_mask = partial(_attention, kind="mask", needs=("masks",), higher_is_better=True)
_movement = partial(Metric, group="movement", kind="movement")
_intervention = partial(
    Metric, group="reliance", kind="intervention", even=0.0, higher_is_better=False
)
_background = partial(_intervention, needs=("masks", "labels"))
_mask_free = partial(_intervention, needs=("no masks",))

# fmt: off
for _metric in (
    # Where attention rests: each map by itself, or against the object's mask.
    _mask(
        "enrichment", "Enrichment",
        "relevance mass divided by the object's share of the area: below 1 attention is off "
        "the object",
        function=localization.enrichment, bounds=POSITIVE, even=1.0, headline=True,
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
        function=shape.entropy, bounds=UNIT, even=1.0,
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
        bounds=POSITIVE, group="movement", kind="evaluation", headline=True,
        reference_suffix=True,
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
        "divergence that a flip and a small jitter cause at the same weights",
        bounds=UNIT, group="movement", kind="evaluation", chart="Drift",
    ),
    Metric(
        "prediction_flips", "Prediction flips",
        "share of images whose predicted class changed since the previous evaluation",
        bounds=UNIT, group="movement", kind="evaluation", percent=True,
    ),
    # Does the model use the background? Its answers to altered images, with masks.
    _background(
        "background_reliance", "Background reliance",
        "share of what the model knows that depends on the background: 0 none, 1 all",
        function=reliance.background_reliance, headline=True,
    ),
    _background(
        "bg_gap_confidence", "Background gap",
        "probability of the label on backgrounds of the same class minus that of other "
        "classes",
        function=reliance.bg_gap_confidence, bounds=SIGNED,
    ),
    _background(
        "mixed_rand_drop", "Drop on other backgrounds",
        "probability of the label that is lost on backgrounds of other classes",
        function=reliance.mixed_rand_drop, bounds=SIGNED,
    ),
    _background(
        "rfs_confidence", "Foreground sensitivity",
        "relative foreground sensitivity by probability: -1 only noise on the background "
        "hurts, 1 only noise on the object",
        function=reliance.rfs_confidence, bounds=SIGNED, higher_is_better=True,
    ),
    _background(
        "background_confidence", "Background alone",
        "probability of the label on images whose object is inpainted",
        function=reliance.background_confidence, bounds=UNIT, percent=True, even=None,
    ),
    _background(
        "background_skill", "Background alone, skill",
        "how much more probable its own background makes a label than other backgrounds do",
        function=reliance.background_skill, bounds=SIGNED,
    ),
    _background(
        "bg_gap", "Background gap, accuracy",
        "accuracy on backgrounds of the same class minus that of other classes",
        function=reliance.bg_gap, bounds=SIGNED,
    ),
    _background(
        "rfs", "Foreground sensitivity, accuracy",
        "relative foreground sensitivity by accuracy",
        function=reliance.rfs, bounds=SIGNED, higher_is_better=True,
    ),
    _background(
        "background_accuracy", "Background alone, accuracy",
        "accuracy on images whose object is inpainted",
        function=reliance.background_accuracy, bounds=UNIT, percent=True, even=None,
    ),
    # The same without masks, the middle of the image in place of the object.
    _mask_free(
        "rim_reliance", "Rim reliance",
        "the same with the image's rim in place of the background",
        function=reliance.rim_reliance, headline=True,
    ),
    _mask_free(
        "rim_gap_confidence", "Rim gap",
        "probability of the label with a rim of the same class minus that of other classes",
        function=reliance.rim_gap_confidence, bounds=SIGNED,
    ),
    _mask_free(
        "rim_confidence", "Rim alone",
        "probability of the label on images whose middle is inpainted",
        function=reliance.rim_confidence, bounds=UNIT, percent=True, even=None,
        higher_is_better=None,
    ),
    _mask_free(
        "rim_skill", "Rim alone, skill",
        "how much more probable its own rim makes a label than other rims do",
        function=reliance.rim_skill, bounds=SIGNED,
    ),
    _mask_free(
        "top_drop", "Drop without the top region",
        "probability lost without the quarter of the image where the map is highest",
        function=reliance.top_drop, bounds=SIGNED, higher_is_better=None,
    ),
    _mask_free(
        "random_drop", "Drop without a random region",
        "probability lost without another region of the same shape",
        function=reliance.random_drop, bounds=SIGNED, higher_is_better=None,
    ),
    _mask_free(
        "faithfulness", "Faithfulness",
        "top_drop minus random_drop: above 0 the map points at what the score depends on",
        function=reliance.faithfulness, higher_is_better=True,
    ),
    # Health of the maps, and of the run.
    Metric(
        "mean_activation", "Mean activation",
        "mean of the raw map in units of the score, which normalised images hide",
        function=shape.mean_activation, bounds=POSITIVE, group="health",
    ),
    Metric(
        "zero_map_fraction", "Flat maps",
        "share of images whose map is the same everywhere or not finite",
        function=shape.is_flat, bounds=UNIT, group="health", higher_is_better=False,
        percent=True,
    ),
    Metric(
        "label_confidence", "Label confidence",
        "probability of the label, on the probe's images as they are",
        bounds=UNIT, group="health", kind="evaluation", needs=("labels",),
        higher_is_better=True, percent=True, headline=True,
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
