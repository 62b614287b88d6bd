"""Rules: when they are triggered and cleared, false alarms, checks of their arguments."""

import math
import random

import pytest

from lightning_cam.monitor.rules import ControlChart, RuleState, Threshold


def triggers(rule, values):
    """Return the positions at which a rule is triggered."""
    state = RuleState()
    return [i for i, value in enumerate(values) if rule.update(state, value)]


def test_a_threshold_is_triggered_after_warmup_and_patience():
    rule = Threshold("m", below=1.0, patience=2, warmup=1)
    assert triggers(rule, [0.5, 0.5, 0.5, 0.5]) == [2]


def test_above_mirrors_below():
    values = [0.2, 1.4, 0.3, 1.5, 1.6, 1.7]
    low = Threshold("m", below=1.0, patience=2, warmup=0)
    high = Threshold("m", above=-1.0, patience=2, warmup=0)
    assert triggers(low, values) == triggers(high, [-v for v in values]) == []
    assert triggers(high, values[::-1]) == [1]


def test_a_rule_is_triggered_again_only_after_it_was_cleared():
    rule = Threshold("m", below=1.0, patience=1, warmup=0, clear_after=2, margin=0.2)
    assert triggers(rule, [0.5, 0.5, 1.1, 0.5, 1.3, 1.3, 0.5]) == [0, 6]


def test_values_around_the_limit_trigger_once():
    rule = Threshold("m", below=1.0, patience=1, warmup=0, clear_after=1, margin=0.2)
    assert triggers(rule, [0.99, 1.01, 0.99, 1.01, 0.99]) == [0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_neither_trigger_nor_clear(value):
    rule = Threshold("m", below=1.0, patience=2, warmup=0)
    assert triggers(rule, [0.5, value, 0.5]) == [2]
    assert triggers(rule, [value] * 10) == []


@pytest.mark.parametrize(("direction", "sign"), [("down", -1), ("up", 1)])
def test_a_chart_detects_a_step_in_its_direction_only(direction, sign):
    noise = random.Random(0)
    quiet = [noise.gauss(0, 1) for _ in range(20)]
    step = [sign * 16 + noise.gauss(0, 1) for _ in range(30)]
    rule = ControlChart("m", direction=direction, baseline=20, warmup=0)
    (found,) = triggers(rule, quiet + step)
    assert 20 < found < 32
    assert triggers(rule, quiet + [-v for v in step]) == []


def wandering(correlation, count, seed):
    """Return a stationary series with an autocorrelation and a standard deviation of 1."""
    noise = random.Random(seed)
    values = [noise.gauss(0, 1)]
    spread = math.sqrt(1 - correlation**2)
    while len(values) < count:
        values.append(correlation * values[-1] + spread * noise.gauss(0, 1))
    return values


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("baseline", [5, 10, 20])
def test_false_alarms_of_stationary_series_are_rare(correlation, baseline):
    """The limits are made for 5 % in 100 evaluations at a correlation of 0.95; here up to 8 %."""
    rule = ControlChart("m", baseline=baseline, warmup=0, patience=1)
    alarmed = sum(bool(triggers(rule, wandering(correlation, 100, n))) for n in range(200))
    assert alarmed / 200 <= 0.08


@pytest.mark.parametrize("level", [1.0, 0.0, -3.0])
def test_a_step_after_a_constant_baseline_triggers(level):
    rule = ControlChart("m", baseline=5, warmup=0)
    assert len(triggers(rule, [level] * 5 + [level - 1] * 10)) == 1
    assert triggers(rule, [level] * 5 + [level + 1] * 10) == []


@pytest.mark.parametrize("level", [1.0, 0.0, -3.0])
def test_a_tiny_step_after_a_constant_baseline_does_not(level):
    rule = ControlChart("m", baseline=5, warmup=0)
    assert triggers(rule, [level] * 5 + [level - 1e-6] * 30) == []


def test_the_limit_is_stated_in_the_metric_s_own_unit():
    state, rule = RuleState(), ControlChart("m", baseline=5, warmup=0)
    for value in [2.0, 2.1, 1.9, 2.0, 2.1, 2.0]:
        rule.update(state, value)
    assert 0 < state.limit < 2


def test_a_restored_state_continues():
    rule = ControlChart("m", baseline=5, warmup=1)
    values = [0.1, 0.2, 0.0, 0.3, 0.1, 0.2]
    one = RuleState()
    for value in values:
        rule.update(one, value)
    two = RuleState(**one.state_dict())
    tail = [-9.0] * 20
    assert [rule.update(one, v) for v in tail] == [rule.update(two, v) for v in tail]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Threshold("m"), "one of below and above"),
        (lambda: Threshold("m", below=1.0, above=2.0), "one of below and above"),
        (lambda: Threshold("m", below=math.nan), "finite limit"),
        (lambda: Threshold("m", below=1.0, patience=0), "patience of 1 or more"),
        (lambda: Threshold("m", below=1.0, warmup=-1), "warmup of 0 or more"),
        (lambda: Threshold("m", below=1.0, margin=-0.1), "margin of 0 or more"),
        (lambda: ControlChart("m", direction="left"), "direction 'down' or 'up'"),
        (lambda: ControlChart("m", baseline=7), "5, 10 or 20"),
    ],
)
def test_wrong_arguments_are_reported(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_baseline_is_reported_with_the_near_miss():
    with pytest.raises(ValueError, match=r"unknown baseline 'centre'.*Did you mean 'center'"):
        Threshold("mass", below=1.5, of="centre")


def test_limit_and_margin_of_a_relative_rule_are_multiples_of_the_unit():
    rule = Threshold("m", below=1.5, of="random", patience=1, warmup=0, clear_after=1, margin=0.5)
    assert rule.unit == "m_random"
    state = RuleState()
    assert rule.update(state, 0.29, unit=0.2)
    assert state.limit == pytest.approx(0.3)
    assert not rule.update(state, 0.39, unit=0.2)  # within the limit, but not by the margin
    assert state.active
    rule.update(state, 0.41, unit=0.2)
    assert not state.active
