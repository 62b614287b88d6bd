"""`MetricSelection`: names and patterns, and the headline metrics."""

import pytest

from lightning_cam.metrics.registry import METRICS, Metric
from lightning_cam.metrics.selection import MetricSelection, is_headline


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("enrichment", True),
        ("enrichment_center", True),
        ("enrichment_random", False),
        ("enrichment/layercam@layer4", True),
        ("enrichment_center/layercam@layer4", False),
        ("drift_first", True),
        ("drift_best", False),
        ("drift_first/layercam@layer4", False),
        ("gap/enrichment", True),
        ("gap/shortcut_score", False),
        ("gap/jsd_first", False),
        ("unflipped/drift_first", False),
        ("enrichment_of/cat", False),
        ("patch_reliance", True),
        ("patch_reliance_low", False),
        ("overhead", True),
        ("nothing", False),
    ],
)
def test_headline_metrics(name, expected):
    assert is_headline(name) is expected
    assert MetricSelection("headline").includes(name) is expected
    assert MetricSelection("all").includes(name)


def test_a_metric_of_the_user_is_a_headline_metric(monkeypatch):
    mine = Metric("mine", "Mine", "a metric", kind="evaluation")
    moving = Metric("moving", "Moving", "a metric", kind="movement", function=len)
    monkeypatch.setitem(METRICS, "mine", mine)
    monkeypatch.setitem(METRICS, "moving", moving)
    assert is_headline("mine")
    assert is_headline("moving_previous")
    assert not is_headline("moving_first")


def test_patterns_match_whole_names():
    selection = MetricSelection(["iou", "drift_*"])
    assert selection.includes("iou")
    assert not selection.includes("iou_random")
    assert selection.includes("drift_best")
    assert selection.unmatched(["iou", "entropy"]) == ["drift_*"]


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ("everything", ValueError, "expected metrics='headline', 'all' or a list of names"),
        ([], ValueError, "expected metrics as a list of one or more names"),
        ([3], TypeError, "expected metrics as a list of one or more names"),
    ],
)
def test_anything_else_is_refused(option, error, message):
    with pytest.raises(error, match=message):
        MetricSelection(option)
