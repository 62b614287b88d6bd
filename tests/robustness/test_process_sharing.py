"""Each of several processes runs its share of an evaluation's images."""

import pytest
from robustness.processes import EVALUATIONS, gathered, measure

_REQUESTS = 16


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.ddp
def test_each_of_two_processes_runs_half_of_the_images():
    one, two = measure(1, side=16), measure(2, side=16)
    assert len(one["images"]) == len(two["images"]) == EVALUATIONS - 1
    for whole, part in zip(one["images"], two["images"], strict=True):
        # Each exchange is shared by itself, and odd numbers of images are rounded up.
        assert whole / 2 <= part <= whole / 2 + _REQUESTS


def test_what_is_gathered_grows_in_proportion_to_the_processes():
    few, many = gathered(8), gathered(64)
    assert many["bytes"] == 8 * few["bytes"]
    assert few["bytes"] / 8 < 10_000  # maps of 7×7 and 1,000 logits of one image
