"""Rules: when they trigger, when they hold their tongue, and what they remember."""

import math
import random

import pytest

from lightning_cam.monitor import RuleSet
from lightning_cam.monitor.rules import ControlChart, Threshold, RuleState, autocorrelation


def triggers(rule, values):
    """Return the positions at which a rule is triggered."""
    state = RuleState()
    return [i for i, value in enumerate(values) if rule.update(state, value)]


def test_a_level_waits_for_its_patience_after_the_warmup():
    rule = Threshold("m", below=1.0, patience=2, warmup=1)
    assert triggers(rule, [0.5, 0.5, 0.5, 0.5]) == [2]


def test_above_is_the_mirror_of_below():
    values = [0.2, 1.4, 0.3, 1.5, 1.6, 1.7]
    low = Threshold("m", below=1.0, patience=2, warmup=0)
    high = Threshold("m", above=-1.0, patience=2, warmup=0)
    assert triggers(low, values) == triggers(high, [-v for v in values]) == []
    assert triggers(high, values[::-1]) == [1]


def test_one_alert_until_the_metric_has_been_calm():
    rule = Threshold("m", below=1.0, patience=1, warmup=0, clear_after=2, margin=0.2)
    assert triggers(rule, [0.5, 0.5, 1.1, 0.5, 1.3, 1.3, 0.5]) == [0, 6]


def test_values_at_the_edge_do_not_flicker():
    rule = Threshold("m", below=1.0, patience=1, warmup=0, clear_after=1, margin=0.2)
    assert triggers(rule, [0.99, 1.01, 0.99, 1.01, 0.99]) == [0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_no_evidence(value):
    rule = Threshold("m", below=1.0, patience=2, warmup=0)
    assert triggers(rule, [0.5, value, 0.5]) == [2]
    assert triggers(rule, [value] * 10) == []


@pytest.mark.parametrize("chart", ["ewma", "cusum"])
@pytest.mark.parametrize(("direction", "sign"), [("down", -1), ("up", 1)])
def test_a_chart_finds_a_step_and_only_on_its_side(chart, direction, sign):
    noise = random.Random(0)
    quiet = [noise.gauss(0, 1) for _ in range(20)]
    step = [sign * 8 + noise.gauss(0, 1) for _ in range(30)]
    rule = ControlChart("m", direction=direction, chart=chart, baseline=20, warmup=0)
    (found,) = triggers(rule, quiet + step)
    assert 20 < found < 32
    assert triggers(rule, quiet + [-v for v in step]) == []


@pytest.mark.parametrize("chart", ["ewma", "cusum"])
@pytest.mark.parametrize("baseline", [5, 10, 20])
def test_false_alarms_of_stationary_series_are_rare(chart, baseline):
    """The limits promise 5 % in 100 validations for one direction or two; 10 % is refused."""
    noise = random.Random(1)
    rule = ControlChart("m", chart=chart, baseline=baseline, warmup=0, patience=1)
    alarmed = sum(
        bool(triggers(rule, [noise.gauss(0, 1) for _ in range(100 + baseline)])) for _ in range(300)
    )
    assert alarmed / 300 <= 0.10


def test_a_constant_baseline_gives_no_chart():
    assert triggers(ControlChart("m", baseline=5, warmup=0), [1.0] * 5 + [0.0] * 20) == []


def test_correlated_baselines_widen_the_limits():
    slow = [math.sin(i / 6) for i in range(40)]
    noise = random.Random(2)
    assert autocorrelation(slow) > 0.8
    assert abs(autocorrelation([noise.gauss(0, 1) for _ in range(2000)])) < 0.05
    assert autocorrelation([1.0, 1.0, 1.0]) == 0.0


def test_a_state_goes_on_where_it_was():
    rule, values = ControlChart("m", baseline=5, warmup=1, chart="cusum"), [0.1, 0.2, 0.0, 0.3, 0.1, 0.2]
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
        (lambda: ControlChart("m", chart="shewhart"), "chart 'ewma' or 'cusum'"),
        (lambda: ControlChart("m", baseline=7), "5, 10 or 20"),
    ],
)
def test_bad_rules_say_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- a level in multiples of a baseline ----------------------------------------------------------


def test_a_relative_level_moves_with_its_baseline():
    book = RuleSet([Threshold("mass", below=1.5, of="random", patience=1, warmup=0)])
    assert not book.update({"mass": 0.4, "mass_random": 0.2})
    ((_, value, limit),) = book.update({"mass": 0.4, "mass_random": 0.3})
    assert (value, limit) == (0.4, pytest.approx(0.45))


def test_without_its_baseline_a_relative_level_is_no_evidence():
    book = RuleSet([Threshold("mass", below=1.5, of="random", patience=1, warmup=0)])
    assert not book.update({"mass": 0.0})
    assert not book.update({"mass": 0.0, "mass_random": float("nan")})


def test_an_unknown_baseline_names_the_near_miss():
    with pytest.raises(ValueError, match=r"unknown baseline 'centre'.*Did you mean 'center'"):
        Threshold("mass", below=1.5, of="centre")


def test_a_baseline_that_the_metric_has_not_is_refused():
    with pytest.raises(ValueError, match="unknown metric in a rule 'entropy_random'"):
        RuleSet([Threshold("entropy", below=1.5, of="random")]).check(["entropy"])
