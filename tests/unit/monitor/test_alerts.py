"""Alerts: their text and JSON, the verdict of interventions."""

import json
import math

import pytest

from lightning_cam.monitor.alerts import Alert, verdict_of


def background(reliance, error):
    return {"background_reliance": reliance, "background_reliance_se": error}


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ({}, "saliency only"),
        ({"shortcut_score_low": 0.0}, "saliency only"),
        ({"shortcut_score_low": 0.05}, "confirmed"),
        (background(math.nan, math.nan), "saliency only"),
        (background(0.02, 0.03), "contradicted"),
        (background(0.02, 0.3), "saliency only"),  # too few images to say so
        ({"shortcut_score_low": 0.05, **background(0.02, 0.03)}, "confirmed"),
    ],
)
def test_the_verdict_follows_from_the_interventions(evidence, verdict):
    assert verdict_of(evidence) == verdict


@pytest.mark.parametrize("verdict", ["contradicted", "saliency only"])
def test_an_alert_names_all_its_facts_and_can_be_written_as_json(verdict):
    evidence = {"patch_reliance": 0.4, "patch_reliance_se": math.nan}
    alert = Alert("cam", "enrichment", 0.5, 1.0, 7, 350, verdict, evidence, worst=("a", "b"))
    text = str(alert)
    for part in ("cam/enrichment", "0.50", "1.00", "epoch 7", "a, b"):
        assert part in text
    found = json.loads(json.dumps(alert.as_dict(), allow_nan=False))
    assert found["metric"] == "enrichment"
    assert found["message"] == text
    assert found["evidence"] == {"patch_reliance": 0.4, "patch_reliance_se": None}
    assert found["worst"] == ["a", "b"]


def test_a_confirmed_alert_names_the_cue_its_evidence_and_what_to_do():
    evidence = {"patch_reliance": 0.82, "patch_reliance_low": 0.55, "patch_reliance_se": 0.05}
    alert = Alert(
        "cam/val", "shortcut_score_low", 0.4, 0.0, 7, 350, "confirmed", evidence,
        "patch", "a patch at the upper left corner", ("a", "b"),
    )  # fmt: skip
    text = str(alert)
    for part in (
        "relies on a patch at the upper left corner",
        "cam/val, epoch 7",
        "82% ± 10%",
        "at least 55%",
        "cam/val/overlay",
        "cam/val/patch_reliance",
        "docs/alerts.md#patch",
        "a, b",
    ):
        assert part in text


def test_a_cue_that_is_likely_is_told_apart_from_what_is_beyond_doubt():
    evidence = {"patch_reliance": 0.82, "patch_reliance_low": 0.0, "border_reliance_low": 0.15}
    text = str(
        Alert(
            "cam", "shortcut_score_low", 0.1, 0.0, 7, 350, "confirmed", evidence,
            "patch", "a patch at the upper left corner",
        )
    )  # fmt: skip
    assert "relies on a patch at the upper left corner" in text
    assert "It may be a part of what is beyond doubt, the border of the image: at least 15%" in text
    assert "at least 0%" not in text


def test_a_confirmed_alert_of_another_rule_names_its_metric_too():
    evidence = {"patch_reliance": 0.82, "patch_reliance_low": 0.55}
    text = str(Alert("cam", "entropy", 0.5, 1.0, 7, 350, "confirmed", evidence, "patch", "a patch"))
    assert text.startswith("cam/entropy is 0.50 (limit 1.00) at epoch 7. CONFIRMED: the model")
    assert "± " not in text  # the error is not known


def test_an_alert_of_estimated_masks_says_so():
    alert = Alert("cam", "enrichment", 0.5, 1.0, 7, 350, "saliency only", {}, estimated=True)
    assert "The masks are estimated." in str(alert)
    assert alert.as_dict()["estimated"] is True
