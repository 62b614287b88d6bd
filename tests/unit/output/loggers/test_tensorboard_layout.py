"""Which scalars share a chart, matched as TensorBoard matches them."""

import re

import pytest

from lightning_cam.metrics.registry import GROUPS, METRICS, Metric
from lightning_cam.output.loggers.tensorboard_layout import charts

LOGGED = [name for metric in METRICS.values() for name in metric.logged_names]
UNFLIPPED = [
    f"unflipped/{name}"
    for metric in METRICS.values()
    if metric.kind == "movement"
    for name in metric.logged_names
]
FAMILIES = [*UNFLIPPED, "gap/enrichment", "gap/relevance_mass", "enrichment_of/cat"]


def chart_of(name, found):
    """Return the only group and title whose pattern TensorBoard would match with a name."""
    hits = [
        (group, title)
        for group, some in found.items()
        for title, pattern in some.items()
        if re.match(pattern, name)
    ]
    assert len(hits) == 1, (name, hits)
    return hits[0]


@pytest.mark.parametrize("tag", ["cam", "my/cam", "cam.x+(y)"])
def test_every_scalar_has_one_chart(tag):
    names = [f"{tag}/{name}" for name in [*LOGGED, *FAMILIES, "enrichment_of/a@b", "unknown"]]
    names += [f"{tag}/train/{name}" for name in [*LOGGED, "unflipped/jsd_first"]]
    names += [f"{tag}/{name}/layercam@net.layer4" for name in LOGGED]
    names += [f"{tag}/train/enrichment/grad_cam@fused"]
    found = charts(tag, names)
    for name in names:
        group, _ = chart_of(name, found)
        assert group.startswith(f"{tag}: ")


@pytest.mark.parametrize("name", [*LOGGED, *FAMILIES])
def test_every_metric_of_the_catalog_is_in_its_group(name):
    group, _ = chart_of(f"cam/{name}", charts("cam", [f"cam/{name}"]))
    assert group != f"cam: {GROUPS['other']}"


def test_a_metric_shares_its_chart_with_its_baselines_and_all_probes():
    names = ["cam/val/enrichment", "cam/train/enrichment", "cam/val/enrichment_random"]
    found = charts("cam", [*names, "cam/val/iou"])
    assert {chart_of(name, found) for name in names} == {
        ("cam: Where does the model look?", "Enrichment")
    }
    assert chart_of("cam/val/iou", found)[1] == "Overlap (IoU)"


def test_metrics_with_a_common_chart_share_it():
    found = charts("cam", ["cam/center_x", "cam/noise_floor"])
    assert chart_of("cam/center_y", found)[1] == "Centre of the map"
    assert chart_of("cam/drift_first", found) == ("cam: Does its attention move?", "Drift")


def test_all_references_of_a_movement_share_its_chart():
    found = charts("cam", ["cam/jsd_first"])
    for reference in ("previous", "first", "best", "average"):
        assert chart_of(f"cam/jsd_{reference}", found)[1] == "Divergence (JSD)"


def test_unflipped_movement_has_a_chart_of_its_own():
    found = charts("cam", ["cam/jsd_first", "cam/unflipped/jsd_first"])
    assert chart_of("cam/unflipped/jsd_previous", found)[1] == (
        "Divergence (JSD), prediction unchanged"
    )


def test_classes_share_a_chart():
    found = charts("cam", ["cam/enrichment_of/cat", "cam/enrichment_of/a@b"])
    assert found == {
        "cam: Where does the model look?": {
            "Enrichment by class": found["cam: Where does the model look?"]["Enrichment by class"]
        }
    }


def test_unknown_scalars_are_shown_too():
    found = charts("cam", ["cam/novel", "cam/novel/layercam@l4"])
    assert chart_of("cam/novel", found) == ("cam: More", "novel")
    assert chart_of("cam/novel/layercam@l4", found) == ("cam: More", "novel")


def test_registered_metrics_have_their_chart(monkeypatch):
    mine = Metric("mine", "My title", "what it is", group="health", function=len)
    monkeypatch.setitem(METRICS, "mine", mine)
    assert chart_of("cam/mine", charts("cam", ["cam/mine"])) == (
        "cam: Does it know, and are the maps sound?",
        "My title",
    )


def test_gaps_have_charts_of_their_own():
    found = charts("cam", ["cam/gap/enrichment", "cam/enrichment"])
    assert chart_of("cam/gap/enrichment", found) == (
        "cam: Do training and validation differ?",
        "Enrichment",
    )


def test_only_charts_with_scalars_are_made_in_the_order_of_the_catalog():
    found = charts("cam", ["cam/label_confidence", "cam/iou", "cam/enrichment", "cam/jsd_first"])
    assert [(c.removeprefix("cam: "), list(some)) for c, some in found.items()] == [
        ("Where does the model look?", ["Enrichment", "Overlap (IoU)"]),
        ("Does its attention move?", ["Divergence (JSD)"]),
        ("Does it know, and are the maps sound?", ["Label confidence"]),
    ]
    assert charts("cam", []) == {}


def test_scalars_of_others_are_left_out():
    found = charts("cam", [f"cam/{name}" for name in LOGGED])
    for name in ["val_loss", "camera/entropy", "train/cam/entropy", "cam/entropy/x/y"]:
        hits = [p for some in found.values() for p in some.values() if re.match(p, name)]
        assert hits == []
