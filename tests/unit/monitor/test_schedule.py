"""When to evaluate: every n-th validation, within the time budget; when to run interventions."""

import itertools

import pytest

from lightning_cam.monitor import schedule
from lightning_cam.monitor.schedule import (
    Budget,
    Schedule,
    interventions_due,
    noise_floor_due,
)


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: now[0])
    return now


def spend(budget, clock, seconds):
    budget.begin()
    clock[0] += seconds
    budget.end()


def run(clock, max_overhead, validations, between, cost):
    """Return at which validations there was an evaluation, and the budget after them."""
    budget = Budget(max_overhead)
    evaluated = []
    for validation in range(validations):
        clock[0] += between
        if budget.allows():
            spend(budget, clock, cost)
            evaluated.append(validation)
    return evaluated, budget


def test_the_share_is_kept_and_evaluations_are_evenly_spaced(clock):
    evaluated, budget = run(clock, 0.02, 400, between=10, cost=1)
    assert budget.share <= 0.02
    assert budget.share > 0.015
    gaps = {after - before for before, after in itertools.pairwise(evaluated[1:])}
    assert gaps <= {4, 5}


def test_the_first_evaluation_is_always_made(clock):
    assert run(clock, 0.001, 3, between=1, cost=5)[0] == [0]


def test_cheap_evaluations_are_all_made(clock):
    assert len(run(clock, 0.02, 50, between=10, cost=0.01)[0]) == 50


def test_without_a_limit_all_evaluations_are_made(clock):
    evaluated, budget = run(clock, None, 20, between=1, cost=9)
    assert len(evaluated) == 20
    assert budget.share == pytest.approx(0.9)


def test_after_an_expensive_evaluation_the_next_one_waits(clock):
    budget = Budget(0.1)
    clock[0] += 10
    spend(budget, clock, 0.1)
    assert budget.allows()
    spend(budget, clock, 2.0)
    assert not budget.allows()
    clock[0] += 100
    assert budget.allows()


def test_an_evaluation_that_is_running_counts(clock):
    budget = Budget(0.1)
    clock[0] += 6
    budget.begin()
    clock[0] += 2
    assert budget.share == 0.25
    budget.end()
    assert budget.share == 0.25
    clock[0] += 2
    assert budget.share == 0.2


def test_a_new_training_starts_with_an_empty_budget(clock):
    budget = Budget(0.1)
    spend(budget, clock, 50)
    clock[0] += 1
    assert not budget.allows()
    budget.start()
    assert budget.allows()
    assert budget.share == 0


# --- by count -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (7, [0])])
def test_every_nth_validation_is_due(every, expected):
    schedule = Schedule(every, None)
    assert [n for n in range(5) if schedule.is_due()] == expected
    assert schedule.validations == 5


def test_a_restored_count_continues():
    schedule = Schedule(3, None)
    schedule.validations = 2
    assert [schedule.is_due() for _ in range(4)] == [False, True, False, False]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (5, [0, 1, 2, 3, 4, 5, 10, 15]),
        (10, [0, 1, 2, 3, 4, 10]),
        (1, list(range(20))),
        (0, []),
        (None, [0, 1, 2, 3, 4, 10, 20]),
    ],
)
def test_interventions_are_due_at_the_first_five_evaluations_and_every_nth(every, expected):
    assert [count for count in range(20 + (every is None)) if interventions_due(count, every)] == (
        expected
    )


def test_by_default_interventions_become_ever_rarer():
    due = [count for count in range(200) if interventions_due(count, None)]
    assert due == [0, 1, 2, 3, 4, 10, 20, 40, 80, 160]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (5, [0, 1, 2, 3, 4, 7, 12, 17]),
        (10, [0, 1, 2, 3, 4, 5, 15]),
        (1, list(range(20))),
        (0, []),
        (None, [0, 1, 2, 3, 4, 7, 12, 17]),
    ],
)
def test_the_noise_floor_is_due_at_the_first_five_and_between_interventions(every, expected):
    assert [count for count in range(20) if noise_floor_due(count, every)] == expected
