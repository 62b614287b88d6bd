"""Calls are timed in turns and divided by the reference of their own round."""

import pytest
import torch

from benchmarks.measuring import (
    Ratio,
    environment,
    exponent,
    memory_of,
    ratios,
    saved_bytes,
    seconds_by_size,
)


def test_each_side_is_timed_equally_often_in_rotating_order():
    calls = []
    sides = {name: (lambda name=name: calls.append(name)) for name in ("one", "two")}
    found, _ = ratios(sides, lambda: calls.append("reference"), pairs=3, warmup=1)
    first = ["reference", "one", "two"]
    assert calls == [*first, *first, "one", "two", "reference", "two", "reference", "one"]
    assert found["one"].pairs == 3


def test_sizes_are_timed_in_turns():
    calls = []
    sizes = {size: (lambda size=size: calls.append(size)) for size in (1, 2)}
    seconds = seconds_by_size(sizes, 2)
    assert calls == [1, 2, 1, 2]
    assert [len(some) for some in seconds.values()] == [2, 2]


def test_a_ratio_is_the_median_with_the_quartiles():
    assert Ratio.of([3.0, 1.0, 2.0, 5.0, 4.0]) == Ratio(3.0, 2.0, 4.0, 5)
    assert Ratio.of([2.0]) == Ratio(2.0, 2.0, 2.0, 1)
    assert Ratio(1.234, 1.0, 2.0, 3).text() == "1.23 (1.00 to 2.00)"


def test_the_exponent_is_that_of_a_power_law():
    assert exponent([(x, 3 * x**1.5) for x in (1.0, 2.0, 8.0)]) == pytest.approx(1.5)


def test_a_state_is_measured_as_it_is_saved():
    assert saved_bytes(torch.zeros(100_000)) - saved_bytes(torch.zeros(0)) >= 400_000


def test_memory_and_environment_are_known():
    assert 0 < memory_of("VmRSS") <= memory_of("VmHWM")
    assert {"device", "python", "torch", "lightning", "date"} <= environment().keys()
