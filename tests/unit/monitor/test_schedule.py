"""The budget thins the looks by the clock."""

import itertools

import pytest

from lightning_cam import budget
from lightning_cam.monitor.budget import Budget, checked_share


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])
    return now


def run(clock, most, validations, between, cost):
    """Return at which validations there was a look, and the budget after them."""
    kept = Budget(most)
    kept.start()
    looked = []
    for validation in range(validations):
        clock[0] += between
        if kept.allows():
            clock[0] += cost
            kept.spend(cost)
            looked.append(validation)
    return looked, kept


def test_the_share_is_held_and_the_looks_are_even(clock):
    looked, kept = run(clock, 0.02, 400, between=10, cost=1)
    assert kept.share <= 0.02
    assert kept.share > 0.015
    gaps = {after - before for before, after in itertools.pairwise(looked[1:])}
    assert gaps <= {4, 5}


def test_the_first_look_is_always_made(clock):
    assert run(clock, 0.001, 3, between=1, cost=5)[0] == [0]


def test_cheap_looks_are_all_made(clock):
    assert len(run(clock, 0.02, 50, between=10, cost=0.01)[0]) == 50


def test_without_a_limit_every_look_is_made(clock):
    looked, kept = run(clock, None, 20, between=1, cost=9)
    assert len(looked) == 20
    assert kept.share == pytest.approx(0.9)


def test_a_dearer_look_is_waited_for(clock):
    kept = Budget(0.1)
    kept.start()
    clock[0] += 10
    kept.spend(0.1)
    assert kept.allows()
    kept.spend(2.0)
    assert not kept.allows()
    clock[0] += 100
    assert kept.allows()


def test_a_new_training_starts_afresh(clock):
    kept = Budget(0.1)
    kept.spend(50)
    clock[0] += 1
    assert not kept.allows()
    kept.start()
    assert kept.allows()
    assert kept.share == 0


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(ValueError, match="max_overhead between 0 and 1"):
        checked_share(share)


def test_shares_that_fit():
    assert checked_share(None) is None
    assert checked_share(0.02) == 0.02
