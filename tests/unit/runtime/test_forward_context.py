"""`ForwardContext.of`: images follow the device and the dtype of the model's parameters."""

import contextlib

import pytest
import torch
from torch import nn

from lightning_cam.runtime.forward_context import ForwardContext

IMAGES = torch.rand(2, 3, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_images_get_the_dtype_of_the_parameters(dtype):
    images = ForwardContext.of(nn.Conv2d(3, 2, 1).to(dtype)).to_model(IMAGES)
    assert images.dtype == dtype
    assert torch.equal(images, IMAGES.to(dtype))


def test_images_get_the_device_of_the_parameters():
    assert ForwardContext.of(nn.Conv2d(3, 2, 1, device="meta")).to_model(IMAGES).is_meta


def test_parameters_that_are_not_floating_point_are_ignored():
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.packed = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
            self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

    assert ForwardContext.of(Quantised()).to_model(IMAGES).dtype == torch.float64


def test_images_of_a_model_without_parameters_are_unchanged():
    assert torch.equal(ForwardContext.of(nn.Flatten()).to_model(IMAGES), IMAGES)


def test_the_precision_is_the_callers_unless_one_is_given():
    conv = nn.Conv2d(3, 2, 1)
    context = ForwardContext.of(conv)
    with torch.autocast("cpu", torch.bfloat16), context.precision():
        assert conv(context.to_model(IMAGES)).dtype == torch.bfloat16
    with context.precision():
        assert conv(context.to_model(IMAGES)).dtype == torch.float32


def test_a_given_precision_is_entered_anew_each_time():
    entered = []

    @contextlib.contextmanager
    def precision():
        entered.append(True)
        yield

    context = ForwardContext(lambda images: images, precision)
    for _ in range(2):
        with context.precision():
            pass
    assert len(entered) == 2
