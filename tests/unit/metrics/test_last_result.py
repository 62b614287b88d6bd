"""`keep_last_result`: the same result for the same tensors, and never an old one."""

import gc

import torch

from lightning_cam.metrics.last_result import keep_last_result


def counting():
    calls = []

    @keep_last_result
    def double(tensor, size=1):
        calls.append(size)
        return tensor * 2 * size

    return double, calls


def test_the_last_result_is_kept_for_the_same_arguments():
    double, calls = counting()
    tensor = torch.ones(2)
    assert double(tensor) is double(tensor)
    assert calls == [1]
    double(tensor, 3)
    double(tensor)
    assert calls == [1, 3, 1]


def test_an_equal_tensor_is_another_one():
    double, calls = counting()
    double(torch.ones(2))
    double(torch.ones(2))
    assert len(calls) == 2


def test_a_tensor_that_was_written_to_is_computed_again():
    double, _ = counting()
    tensor = torch.ones(2)
    double(tensor)
    tensor[0] = 5
    assert double(tensor).tolist() == [10, 2]


def test_inference_tensors_are_computed_each_time():
    double, calls = counting()
    with torch.inference_mode():
        tensor = torch.ones(2)
        double(tensor)
        tensor[0] = 5
        assert double(tensor).tolist() == [10, 2]
    assert len(calls) == 2


def test_no_tensor_is_kept_alive_by_its_key():
    double, calls = counting()
    double(torch.ones(1000))
    gc.collect()
    assert double(torch.zeros(2)).tolist() == [0, 0]
    assert len(calls) == 2


def test_it_is_named_like_the_function():
    double, _ = counting()
    assert double.__name__ == "double"
