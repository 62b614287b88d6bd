"""Modules that `fabric.setup` wrapped: names without the wrapper, and the fabric's precision."""

import pytest
import torch
from helpers.training import convnet, squares_probe
from lightning.fabric import Fabric
from torch import nn

from lightning_cam import CAMMonitor
from lightning_cam.explain.modules import every_name, named_modules, unwrap
from lightning_cam.runtime.fabric import module_in_fabric, precision_of
from lightning_cam.runtime.forward_context import ForwardContext


def set_up(module, precision="32-true"):
    return Fabric(accelerator="cpu", devices=1, precision=precision).setup(module)


def test_names_and_models_are_without_the_wrapper():
    net = convnet()
    plain = list(named_modules(net))
    wrapped = set_up(net)
    assert module_in_fabric(wrapped) is net
    assert module_in_fabric(net) is None
    assert unwrap(wrapped) is net
    assert unwrap(torch.compile(wrapped, backend="eager")) is net
    assert list(named_modules(wrapped)) == plain
    outer = nn.Sequential(wrapped, nn.Identity())
    expected = ["0", *(f"0.{name}" for name in plain), "1"]
    assert list(named_modules(outer)) == list(every_name(outer)) == expected
    assert named_modules(outer)["0"] is net


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16), ("bf16-true", torch.bfloat16)],
)
@pytest.mark.filterwarnings("ignore:.*bfloat16.*")
def test_the_model_runs_in_the_precision_of_the_fabric(precision, dtype):
    net, seen = convnet(), set()
    net[0].register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    wrapped = set_up(net, precision)
    assert precision_of(wrapped) is not None
    assert precision_of(torch.compile(wrapped, backend="eager")) is not None
    assert precision_of(net) is None
    CAMMonitor(squares_probe(4), alerts=(), strict=True).evaluate(wrapped)
    assert seen == {dtype}


def test_images_come_to_the_device_of_the_parameters():
    wrapped = set_up(nn.Conv2d(3, 2, 1))
    wrapped._forward_module.to("meta")
    assert ForwardContext.of(wrapped).to_model(torch.rand(1, 3, 4, 4)).is_meta
