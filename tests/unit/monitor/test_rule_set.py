"""`RuleSet`: which rules an evaluation triggers, confirmation, relative limits, its state."""

import math

import pytest

from lightning_cam.monitor.rule_set import RuleSet
from lightning_cam.monitor.rules import ControlChart, Threshold

LOW = {"enrichment": 0.5}


def rule_set(**options):
    return RuleSet([Threshold("enrichment", below=1.0, patience=2, warmup=0, **options)])


# --- triggering -----------------------------------------------------------------------------------


def test_a_rule_is_triggered_once_with_value_and_limit():
    rules = rule_set()
    assert rules.update(LOW) == []
    ((rule, value, limit),) = rules.update(LOW)
    assert (rule.metric, value, limit) == ("enrichment", 0.5, 1.0)
    assert rules.update(LOW) == []


def test_a_missing_metric_neither_triggers_nor_clears():
    rules = rule_set()
    rules.update(LOW)
    assert rules.update({}) == []
    assert len(rules.update(LOW)) == 1


def test_several_rules_are_triggered_in_their_order():
    rules = RuleSet(
        [
            Threshold("entropy", above=0.9, patience=1, warmup=0),
            Threshold("enrichment", below=1.0, patience=1, warmup=0),
            Threshold("iou", below=0.1, patience=1, warmup=0),
        ]
    )
    found = rules.update({"enrichment": 0.5, "entropy": 0.95, "iou": 0.5})
    assert [each.rule.metric for each in found] == ["entropy", "enrichment"]


def test_would_trigger_changes_nothing():
    rules = rule_set()
    rules.update(LOW)
    assert rules.would_trigger(LOW)
    assert rules.would_trigger(LOW)
    assert not rules.would_trigger({"enrichment": 2.0})
    assert len(rules.update(LOW)) == 1


def test_rules_are_suspicious_between_the_first_value_beyond_the_limit_and_the_trigger():
    rules = rule_set()
    assert not rules.is_suspicious()
    rules.update(LOW)
    assert rules.is_suspicious()
    rules.update(LOW)
    assert not rules.is_suspicious()


# --- confirmation ---------------------------------------------------------------------------------


def test_a_rule_that_needs_confirmation_waits_until_it_is_not_contradicted():
    rules = rule_set(confirm=True)
    rules.update(LOW)
    assert rules.update(LOW, "contradicted") == []
    assert rules.is_suspicious()
    assert rules.update(LOW, "contradicted") == []
    assert len(rules.update(LOW, "confirmed")) == 1


def test_a_rule_without_confirmation_is_triggered_although_contradicted():
    rules = rule_set()
    rules.update(LOW)
    assert len(rules.update(LOW, "contradicted")) == 1


# --- limits in multiples of a baseline ------------------------------------------------------------


def relative():
    return RuleSet([Threshold("mass", below=1.5, of="random", patience=1, warmup=0)])


def test_a_relative_limit_follows_its_baseline():
    rules = relative()
    assert not rules.update({"mass": 0.4, "mass_random": 0.2})
    ((_, value, limit),) = rules.update({"mass": 0.4, "mass_random": 0.3})
    assert (value, limit) == (0.4, pytest.approx(0.45))


def test_without_its_baseline_a_relative_rule_is_not_triggered():
    rules = relative()
    assert not rules.update({"mass": 0.0})
    assert not rules.update({"mass": 0.0, "mass_random": math.nan})


# --- checks ---------------------------------------------------------------------------------------


def test_an_unknown_metric_is_reported_with_the_near_miss():
    with pytest.raises(ValueError, match=r"unknown metric in a rule 'enrichment'.*'enrichments'"):
        rule_set().check(["enrichments", "entropy"])
    rule_set().check(["entropy", "enrichment"])


def test_a_baseline_that_is_never_measured_is_reported():
    rules = RuleSet([Threshold("entropy", below=1.5, of="random")])
    with pytest.raises(ValueError, match="unknown metric in a rule 'entropy_random'"):
        rules.check(["entropy"])
    rules.check(["entropy", "entropy_random"])


# --- state ----------------------------------------------------------------------------------------


def test_a_restored_state_continues_and_other_rules_start_afresh():
    rules, restored = rule_set(), rule_set()
    rules.update(LOW)
    restored.load_state_dict(rules.state_dict())
    assert len(restored.update(LOW)) == 1
    other = RuleSet([Threshold("entropy", above=0.5, patience=2, warmup=0)])
    other.load_state_dict(rules.state_dict())
    assert other.update({"entropy": 1.0}) == []


def test_the_state_of_a_chart_is_restored_with_its_baseline():
    chart = ControlChart("jsd", direction="up", baseline=5, warmup=0)
    rules, restored = RuleSet([chart]), RuleSet([chart])
    for value in (0.1, 0.2, 0.1, 0.2, 0.1):
        rules.update({"jsd": value})
    restored.load_state_dict(rules.state_dict())
    for _ in range(6):
        assert restored.update({"jsd": 3.0}) == rules.update({"jsd": 3.0})
    assert restored.state_dict() == rules.state_dict()


@pytest.mark.parametrize(
    "state",
    [
        {"metric": "enrichment", "seen": "two"},
        {"metric": "enrichment", "baseline": [0.1, None]},
        {"metric": "enrichment", "unknown": 1},
    ],
)
def test_a_damaged_state_raises_type_error(state):
    with pytest.raises(TypeError):
        rule_set().load_state_dict([state])
