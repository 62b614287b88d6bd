"""Alerts: what they say, when they are held back, what survives a checkpoint."""

import json
import math

import pytest

from lightning_cam.monitor.alerts import Alert, RuleSet, default_rules, verdict_of
from lightning_cam.monitor.rules import Threshold

LOW = {"enrichment": 0.5}


def book(**options):
    return RuleSet([Threshold("enrichment", below=1.0, patience=2, warmup=0, **options)])


def test_a_triggered_rule_is_told_once_with_value_and_limit():
    one = book()
    assert one.update(LOW) == []
    ((rule, value, limit),) = one.update(LOW)
    assert (rule.metric, value, limit) == ("enrichment", 0.5, 1.0)
    assert one.update(LOW) == []


def test_a_missing_metric_is_no_evidence():
    one = book()
    one.update(LOW)
    assert one.update({}) == []
    assert len(one.update(LOW)) == 1


def test_asking_whether_it_would_trigger_changes_nothing():
    one = book()
    one.update(LOW)
    assert one.would_trigger(LOW)
    assert one.would_trigger(LOW)
    assert len(one.update(LOW)) == 1


def test_a_rule_that_wants_proof_is_held_back_until_it_is_not_contradicted():
    one = book(confirm=True)
    one.update(LOW)
    assert one.update(LOW, "contradicted") == []
    assert one.update(LOW, "contradicted") == []
    assert len(one.update(LOW, "confirmed")) == 1
    assert len(book(confirm=False).rules) == 1


def test_a_rule_without_that_wish_speaks_all_the_same():
    one = book()
    one.update(LOW)
    assert len(one.update(LOW, "contradicted")) == 1


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ({}, "saliency only"),
        ({"rfs": -1.0}, "saliency only"),
        ({"background_reliance": math.nan}, "saliency only"),
        ({"background_reliance": 0.5, "rfs": 0.0}, "confirmed"),
        ({"rim_reliance": 0.9}, "saliency only"),
        ({"background_reliance": 0.02, "mixed_rand_drop": 0.3}, "contradicted"),
    ],
)
def test_the_verdict_follows_from_the_interventions(evidence, verdict):
    assert verdict_of(evidence) == verdict


def test_memory_survives_a_checkpoint_and_other_rules_start_afresh():
    one, two = book(), book()
    one.update(LOW)
    two.load_state_dict(one.state_dict())
    assert len(two.update(LOW)) == 1
    other = RuleSet([Threshold("entropy", above=0.5, patience=2, warmup=0)])
    other.load_state_dict(one.state_dict())
    assert other.update({"entropy": 1.0}) == []


def test_an_unknown_metric_is_named_with_its_near_miss():
    with pytest.raises(ValueError, match=r"unknown metric in a rule 'enrichment'.*'enrichments'"):
        book().check(["enrichments", "entropy"])


def test_defaults_differ_by_what_is_known():
    assert [r.metric for r in default_rules(masks=False, labels=True)] == ["rim_reliance"]
    assert default_rules(masks=False, labels=False) == ()
    assert [r.metric for r in default_rules(masks=True, labels=False)] == ["enrichment"]
    assert len(default_rules(masks=True, labels=True)) == 2


@pytest.mark.parametrize("verdict", ["confirmed", "contradicted", "saliency only"])
def test_an_alert_says_everything_and_is_json(verdict):
    evidence = {} if verdict == "saliency only" else {"bg_gap_confidence": 0.4, "rfs": math.nan}
    alert = Alert("cam", "enrichment", 0.5, 1.0, 7, 350, verdict, evidence, ("a", "b"))
    words = str(alert)
    for part in ("cam/enrichment", "0.50", "1.00", "epoch 7", verdict, "a, b"):
        assert part.lower() in words.lower()
    assert json.loads(json.dumps(alert.as_dict(), allow_nan=False))["metric"] == "enrichment"
