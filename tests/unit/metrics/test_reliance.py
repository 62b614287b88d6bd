"""`RelianceEstimate`: a ratio of means with its standard error, older evaluations counting less."""

import math

import numpy as np
import pytest

from lightning_cam.metrics.reliance import MIN_TRIPLES, RelianceEstimate


def estimate_of(*evaluations):
    found = RelianceEstimate()
    for values, skills in evaluations:
        found.update(np.asarray(values, float), np.asarray(skills, float))
    return found


def test_a_ratio_by_hand():
    found = estimate_of(([0.2, 0.4] * 4, [0.5, 1.0] * 4))
    assert found.value == pytest.approx(0.3 / 0.75)
    assert found.standard_error == pytest.approx(0, abs=1e-6)  # both always in the same ratio


def test_it_is_unknown_without_triples_and_its_error_with_too_few():
    assert math.isnan(RelianceEstimate().value)
    found = estimate_of(([0.5] * (MIN_TRIPLES - 1), [1.0] * (MIN_TRIPLES - 1)))
    assert found.value == pytest.approx(0.5)
    assert math.isnan(found.standard_error)
    found.update(np.array([0.5]), np.array([1.0]))
    assert math.isfinite(found.standard_error)


def test_it_is_between_0_and_1_and_small_for_models_that_know_little():
    assert estimate_of(([-0.3] * 8, [1.0] * 8)).value == 0
    assert estimate_of(([0.9] * 8, [0.2] * 8)).value == 1
    assert estimate_of(([0.01] * 8, [0.0] * 8)).value == pytest.approx(0.1)


def test_the_standard_error_is_that_of_many_repetitions():
    rng = np.random.default_rng(0)

    def draw():
        skills = rng.uniform(0.5, 1.0, 60)
        return 0.4 * skills + 0.2 * rng.standard_normal(60), skills

    found = [estimate_of(draw()) for _ in range(400)]
    spread = np.std([each.value for each in found])
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.1)


def test_what_the_newest_evaluation_contradicts_is_forgotten():
    before, after = ([0.0, 0.2] * 10, [1.0] * 20), ([0.8, 1.0] * 10, [1.0] * 20)
    found = estimate_of(*[before] * 5, after)
    assert (found.value, found.standard_error) == pytest.approx((0.9, 0.1 / 20**0.5))


def test_evaluations_that_agree_add_up_and_older_ones_count_less():
    first, second = ([0.3, 0.7] * 10, [1.0] * 20), ([0.4, 0.8] * 10, [1.0] * 20)
    found = estimate_of(first, second)
    assert found.value == pytest.approx((0.7 * 0.5 + 0.6) / 1.7)
    assert found.standard_error < estimate_of(second).standard_error


def test_an_evaluation_of_fewer_triples_than_the_one_before_counts_as_much():
    many, fewer = ([0.0, 1.0] * 200, [1.0] * 400), ([0.0, 1.2] * 10, [1.0] * 20)
    old, new = estimate_of(many), estimate_of(fewer)
    found = estimate_of(many, fewer)
    weight = 0.7 / 0.3  # of all that came before, where evaluations have equally many triples
    assert found.value == pytest.approx((weight * 0.5 + 0.6) / (weight + 1))
    expected = math.hypot(weight * old.standard_error, new.standard_error) / (weight + 1)
    assert found.standard_error == pytest.approx(expected, rel=0.1)


def test_evaluations_of_few_triples_add_up_whatever_they_say():
    few, others = ([0.0] * 4, [1.0] * 4), ([1.0] * 4, [1.0] * 4)
    assert estimate_of(few, others, others).value == pytest.approx(1.7 / (0.49 + 0.7 + 1))


def test_the_state_is_restored_and_a_damaged_one_refused():
    found, other = estimate_of(([0.2, 0.4] * 4, [0.5, 1.0] * 4)), RelianceEstimate()
    other.load_state_dict(found.state_dict())
    assert (other.value, other.standard_error) == (found.value, found.standard_error)
    with pytest.raises(ValueError, match="finite"):
        other.load_state_dict({**found.state_dict(), "v": math.nan})
