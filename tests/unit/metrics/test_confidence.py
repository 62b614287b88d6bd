"""`LowerBound`: never too high more often than allowed, and high enough where there is evidence."""

import numpy as np
import pytest

from lightning_cam.metrics.confidence import LEVELS, LowerBound

EVALUATIONS, TRIPLES = 40, 8


def bound_of(values, units, alpha=0.05, **options):
    bound = LowerBound(alpha, **options)
    for value, unit in zip(values, units, strict=True):
        bound.update(value, unit)
    return bound


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5])
def test_the_bound_is_too_high_in_at_most_the_stated_share_of_trainings(ratio):
    """With values that are as dangerous as they can be: rarely, but then entirely lost."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        values = (rng.random((EVALUATIONS, TRIPLES)) < ratio).astype(float)
        wrong += bound_of(values, np.ones_like(values)).low > ratio + 1e-9
    assert wrong <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)


def test_the_bound_rises_to_the_ratio_and_never_falls():
    rng = np.random.default_rng(1)
    bound, lows = LowerBound(0.05), []
    for n in range(120):
        rate = 0.7 if n < 60 else 0.0
        values = (rng.random(TRIPLES) < rate).astype(float)
        bound.update(values, np.ones(TRIPLES))
        lows.append(bound.low)
    assert lows == sorted(lows)
    assert 0.5 <= lows[59] <= 0.7
    assert lows[-1] <= 0.7


def test_reliance_that_begins_late_is_found():
    values = np.concatenate([np.zeros((20, TRIPLES)), np.ones((20, TRIPLES))])
    assert bound_of(values, np.ones_like(values)).low >= 0.5


def test_a_model_that_knows_nothing_cannot_be_accused():
    """Values and units are chance; the slack covers what a small probe's chance leaves."""
    rng = np.random.default_rng(2)
    values = 0.04 + 0.02 * rng.standard_normal((200, TRIPLES))
    units = 0.02 * rng.standard_normal((200, TRIPLES))
    assert bound_of(values, units, slack=0.05).low == 0
    assert bound_of(values, units).low > 0  # without it


@pytest.mark.parametrize("offset", [0.0, 0.4, 1.0])
def test_the_worst_values_never_cost_more_than_there_is(offset):
    bound = LowerBound(0.05, slack=0.05)
    for _ in range(5):
        bound.update(-np.ones(TRIPLES), np.ones(TRIPLES), offset=offset)
    assert (bound.wealth > 0).all()
    assert bound.low == 0


def test_an_offset_does_not_count():
    rng = np.random.default_rng(4)
    values = (rng.random((60, TRIPLES)) < 0.5).astype(float)
    bound = LowerBound(0.05)
    for value in values:
        bound.update(value, np.ones(TRIPLES), offset=0.3)
    assert 0 < bound.low <= 0.2


def test_a_limit_counts_as_exceeded_only_with_evidence():
    bound = LowerBound(0.05)
    assert not bound.exceeds(0.0)
    for _ in range(10):
        bound.update(np.ones(TRIPLES), np.ones(TRIPLES))
    assert bound.exceeds(0.3)
    assert not bound.exceeds(0.99)
    assert bound.low * LEVELS == pytest.approx(round(bound.low * LEVELS))


def test_the_wealth_stays_finite():
    bound = LowerBound(0.05)
    for _ in range(2000):
        bound.update(np.ones(TRIPLES), np.ones(TRIPLES))
    assert np.isfinite(bound.wealth).all()


def test_the_state_is_restored_and_a_damaged_one_refused():
    rng = np.random.default_rng(3)
    bound = bound_of(rng.random((5, TRIPLES)), np.ones((5, TRIPLES)))
    other = LowerBound(0.05)
    other.load_state_dict(bound.state_dict())
    values = rng.random(TRIPLES)
    bound.update(values, np.ones(TRIPLES))
    other.update(values, np.ones(TRIPLES))
    assert other.state_dict() == bound.state_dict()
    for damage in ({"wealth": [[1.0]]}, {"low": 2.0}, {"evaluations": -1}):
        with pytest.raises(ValueError, match="lower bound"):
            other.load_state_dict({**bound.state_dict(), **damage})
