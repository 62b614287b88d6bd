"""`remember_per_tensor`: the same result for the same tensor, and never an old one."""

import gc
import weakref

import pytest
import torch

from lightning_cam.metrics.remembered import remember_per_tensor


@pytest.fixture
def calls():
    return []


@pytest.fixture
def double(calls):
    @remember_per_tensor
    def double(tensor, size=1):
        calls.append(size)
        return tensor * 2 * size

    return double


def test_results_are_kept_for_each_tensor_and_its_arguments(double, calls):
    one, two = torch.ones(2), torch.ones(2)
    assert double(one) is double(one)
    assert double(two) is not double(one)
    double(one, 3)
    double(one)
    assert calls == [1, 1, 3]


def test_a_tensor_that_was_written_to_is_computed_again(double):
    tensor = torch.ones(2)
    double(tensor)
    tensor[0] = 5
    assert double(tensor).tolist() == [10, 2]


def test_inference_tensors_are_computed_each_time(double, calls):
    with torch.inference_mode():
        tensor = torch.ones(2)
        double(tensor)
        tensor[0] = 5
        assert double(tensor).tolist() == [10, 2]
    assert len(calls) == 2


def test_a_result_goes_with_its_tensor(double):
    tensor = torch.ones(1000)
    result = weakref.ref(double(tensor))
    assert result() is not None
    del tensor
    gc.collect()
    assert result() is None


def test_a_tensor_at_the_place_of_another_is_computed(double):
    for value in range(200):
        assert double(torch.full((2,), float(value))).tolist() == [2 * value] * 2


def test_it_is_named_like_the_function(double):
    assert double.__name__ == "double"
