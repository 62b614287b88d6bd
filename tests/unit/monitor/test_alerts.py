"""Alerts: their text and JSON, the verdict of interventions."""

import json
import math

import pytest

from lightning_cam.monitor.alerts import Alert, verdict_of
from lightning_cam.monitor.default_rules import BACKGROUND_LIMIT


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ({}, "saliency only"),
        ({"rfs": -1.0}, "saliency only"),
        ({"background_reliance": math.nan}, "saliency only"),
        ({"background_reliance": 0.5, "rfs": 0.0}, "confirmed"),
        ({"background_reliance": BACKGROUND_LIMIT}, "confirmed"),
        ({"rim_reliance": 0.9}, "saliency only"),
        ({"background_reliance": 0.02, "mixed_rand_drop": 0.3}, "contradicted"),
    ],
)
def test_the_verdict_follows_from_the_interventions(evidence, verdict):
    assert verdict_of(evidence) == verdict


@pytest.mark.parametrize("verdict", ["confirmed", "contradicted", "saliency only"])
def test_an_alert_names_all_its_facts_and_can_be_written_as_json(verdict):
    evidence = {} if verdict == "saliency only" else {"bg_gap_confidence": 0.4, "rfs": math.nan}
    alert = Alert("cam", "enrichment", 0.5, 1.0, 7, 350, verdict, evidence, ("a", "b"))
    text = str(alert)
    for part in ("cam/enrichment", "0.50", "1.00", "epoch 7", verdict, "a, b"):
        assert part.lower() in text.lower()
    found = json.loads(json.dumps(alert.as_dict(), allow_nan=False))
    assert found["metric"] == "enrichment"
    assert found["message"] == text
    assert found["evidence"] == ({} if not evidence else {"bg_gap_confidence": 0.4, "rfs": None})
    assert found["worst"] == ["a", "b"]


def test_an_alert_of_estimated_masks_says_so():
    alert = Alert(
        "cam", "enrichment", 0.5, 1.0, 7, 350, "confirmed", {"bg_gap": 0.4}, estimated=True
    )
    assert "(estimated masks, bg_gap 0.40)" in str(alert)
    assert alert.as_dict()["estimated"] is True


def test_an_alert_without_interventions_says_what_they_need():
    assert "no intervention tested it" in str(
        Alert("cam", "entropy", 0.5, 1.0, 7, 350, "saliency only")
    )
    rim = Alert("cam", "entropy", 0.5, 1.0, 7, 350, "saliency only", {"rim_reliance": 0.4})
    assert "not confirmed: that needs masks and labels (rim_reliance 0.40)" in str(rim)
