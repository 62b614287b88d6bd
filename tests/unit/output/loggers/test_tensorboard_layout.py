"""Which curves share a chart, matched as TensorBoard matches them."""

import re

import pytest

from lightning_cam.output.loggers.tensorboard_layout import charts
from lightning_cam.metrics.reliance import RELIANCE_METRICS

_TODAY = [
    *("zero_map_fraction", "evidence", "entropy", "border_mass", "center_x", "center_y"),
    *("relevance_mass", "enrichment", "relevance_rank", "pointing_game", "iou"),
    *("enrichment_random", "enrichment_center", "enrichment_untrained", "iou_center"),
    *("jsd_previous", "jsd_first", "correlation_previous", "center_shift_first"),
    *("prediction_flips", "label_confidence", *RELIANCE_METRICS),
]
_LATER = [
    *("jsd_best", "jsd_average", "rank_correlation_first", "top_overlap_best"),
    *("unflipped/jsd_first", "drift_first", "noise_floor", "faithfulness", "top_drop"),
    *("random_drop", "surround_skill", "scramble_skill", "rim_gap_confidence"),
    *("scrambled_confidence", "gap/enrichment", "gap/relevance_mass"),
    *("enrichment_of/cat", "enrichment_of/a@b", "novelty_of/cat"),
]


def chart_of(name, found):
    """Return the only category and title whose pattern TensorBoard would match with a name."""
    hits = [
        (category, title)
        for category, some in found.items()
        for title, pattern in some.items()
        if re.match(pattern, name)
    ]
    assert len(hits) == 1, (name, hits)
    return hits[0]


@pytest.mark.parametrize("tag", ["cam", "my/cam", "cam.x+(y)"])
def test_every_curve_has_one_chart(tag):
    names = [f"{tag}/{name}" for name in [*_TODAY, *_LATER, "unheard_of"]]
    names += [f"{tag}/train/{name}" for name in [*_TODAY, "unflipped/jsd_first"]]
    names += [f"{tag}/{name}/layercam@net.layer4" for name in _TODAY]
    names += [f"{tag}/train/enrichment/grad_cam@fused"]
    found = charts(tag, names)
    for name in names:
        category, _ = chart_of(name, found)
        assert category.startswith(f"{tag}: ")


def test_a_metric_stands_beside_its_baselines_and_on_all_probes():
    names = ["cam/val/enrichment", "cam/train/enrichment", "cam/val/enrichment_random"]
    found = charts("cam", [*names, "cam/val/iou"])
    assert {chart_of(name, found) for name in names} == {
        ("cam: where attention rests", "enrichment")
    }
    assert chart_of("cam/val/iou", found)[1] == "iou"


def test_new_names_of_a_family_find_their_chart():
    found = charts("cam", ["cam/jsd_first", "cam/top_drop"])
    assert chart_of("cam/jsd_in_ten_years", found) == ("cam: how it moves", "jsd")
    assert chart_of("cam/other_drop", found)[0] == "cam: does the model use the background"


def test_what_is_unheard_of_is_shown_too():
    found = charts("cam", ["cam/novel", "cam/novel/layercam@l4"])
    assert chart_of("cam/novel", found) == ("cam: more", "novel")
    assert chart_of("cam/novel/layercam@l4", found) == ("cam: more", "novel")


def test_train_against_validation_has_its_own_charts():
    found = charts("cam", ["cam/gap/enrichment", "cam/enrichment"])
    assert chart_of("cam/gap/enrichment", found) == (
        "cam: train against validation",
        "gap/enrichment",
    )


def test_only_charts_with_curves_are_made_in_a_fixed_order():
    found = charts("cam", ["cam/label_confidence", "cam/iou", "cam/enrichment", "cam/jsd_first"])
    assert [(c.removeprefix("cam: "), list(some)) for c, some in found.items()] == [
        ("where attention rests", ["enrichment", "iou"]),
        ("how it moves", ["jsd"]),
        ("health", ["label_confidence"]),
    ]
    assert charts("cam", []) == {}


def test_other_peoples_curves_are_left_out():
    found = charts("cam", [f"cam/{name}" for name in _TODAY])
    for name in ["val_loss", "camera/entropy", "train/cam/entropy", "cam/entropy/x/y"]:
        hits = [p for some in found.values() for p in some.values() if re.match(p, name)]
        assert hits == []
