"""`LayerTrace`: which modules returned a tensor, and what it depends on."""

import torch
from torch import nn

from lightning_cam.explain.layer_trace import LayerTrace
from lightning_cam.explain.modules import named_modules

IMAGE = torch.rand(1, 3, 8, 8)


def traced(net, score=lambda out: out.sum()):
    """Return the traced tensors of one forward pass, in order."""
    trace = LayerTrace(IMAGE, attention=set())
    handles = [
        handle
        for name, module in named_modules(net).items()
        for handle in trace.attach(name, module)
    ]
    leaf = IMAGE.clone().requires_grad_()
    with torch.enable_grad(), trace.start:
        output = net(leaf.clone())
    for handle in handles:
        handle.remove()
    trace.finish(score(output), leaf)
    return list(trace.tensors.values())


class Branches(nn.Module):
    """A branch of the image, one of a constant, and one that the output does not use."""

    def __init__(self):
        super().__init__()
        self.image, self.constant, self.unused = (nn.Conv2d(3, 2, 1) for _ in range(3))
        self.register_buffer("grid", torch.rand(1, 3, 8, 8))

    def forward(self, x):
        self.unused(x)
        return (self.image(x) + self.constant(self.grid)).mean((2, 3))


def test_dependence_on_the_image_and_of_the_score():
    found = {name: each for each in traced(Branches()) for name in each.returned}
    assert {name: each.from_image for name, each in found.items()} == {
        "image": True, "constant": False, "unused": True,
    }  # fmt: skip
    assert {name: each.reached for name, each in found.items()} == {
        "image": True, "constant": True, "unused": False,
    }  # fmt: skip


def test_a_head_of_zeros_does_not_hide_the_dependence_of_the_score():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.zeros_(net[3].weight)
    assert traced(net)[0].reached


def test_a_tensor_that_is_passed_on_has_several_names():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Identity()))
    (tensor,) = traced(net)
    assert set(tensor.returned) == {"0.0", "0.1", "0"}


def test_a_tensor_that_is_overwritten_is_another_one():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True))
    found = traced(net)
    assert "1" in found[-1].returned
    assert found[-1].version > 0


def test_calls_are_numbered_only_where_there_are_several():
    shared = nn.Conv2d(3, 3, 1)
    once, twice = traced(nn.Sequential(shared)), traced(nn.Sequential(shared, nn.Tanh(), shared))
    assert set(once[0].returned) == {"0"}
    assert {name for each in twice for name in each.returned} == {"0#0", "1", "0#1"}
