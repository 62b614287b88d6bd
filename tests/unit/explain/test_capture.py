"""`Capture`: the outputs of layers, the graph from them on, hooks that are removed."""

import pytest
import torch
from helpers.nets import Containers, ConvNet, Shared

from lightning_cam.explain.capture import Capture


def hooks(net):
    return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules())


def activations(capture):
    return {str(site): tensor for site, tensor in capture.activations().items()}


def test_activations_are_the_layers_outputs():
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    with Capture({"a": net.a}) as capture:
        logits = net(images)
    torch.testing.assert_close(activations(capture)["a"], net.a(images))
    torch.testing.assert_close(logits, net(images))


def test_the_graph_starts_at_the_first_captured_layer():
    net = ConvNet()
    with torch.no_grad(), Capture({"b": net.b}) as capture:
        logits = net(torch.rand(2, 3, 8, 8))
    kept = activations(capture)["b"]
    assert kept.is_leaf
    assert logits.requires_grad
    parameters = [net.a.weight, net.b.weight, net.fc.weight]
    grads = torch.autograd.grad(logits.sum(), [kept, *parameters], allow_unused=True)
    assert [grad is None for grad in grads] == [False, True, True, False]


def test_hooks_are_removed_with_the_context():
    net = ConvNet()
    with Capture({"a": net.a, "b": net.b}):
        assert hooks(net) == 2
    assert hooks(net) == 0


def test_hooks_and_modes_are_restored_after_an_error():
    net = ConvNet()
    net.fc = torch.nn.Linear(99, 3)
    with pytest.raises(RuntimeError, match="shapes"), Capture({"a": net.a}):
        net(torch.rand(1, 3, 8, 8))
    assert hooks(net) == 0
    assert torch.is_grad_enabled()
    with torch.no_grad():
        with Capture({"a": net.a}):
            net.a(torch.rand(1, 3, 8, 8))
        assert not torch.is_grad_enabled()


def test_grad_and_inference_mode_are_restored():
    net = ConvNet()
    with torch.inference_mode():
        images = torch.rand(1, 3, 8, 8)
        with Capture({"a": net.a}):
            net(images.clone())
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_sites_name_calls_and_places_in_containers():
    net = Shared()
    with Capture({"conv": net.conv}) as capture:
        net(torch.rand(1, 3, 8, 8))
    assert list(activations(capture)) == ["conv#0", "conv#1"]
    net = Containers(lambda f, v: {"feat": f, "rest": (v, 3)}, lambda out: out["feat"])
    with Capture({"block": net.block}) as capture:
        net(torch.rand(1, 3, 8, 8))
    assert list(activations(capture)) == ["block[feat]", "block[rest][0]"]


def test_integer_tensors_are_passed_on_unchanged():
    class Indices(torch.nn.Module):
        def forward(self, x):
            return x, torch.arange(3)

    net = Indices()
    with Capture({"net": net}) as capture:
        _, indices = net(torch.rand(1, 3, 2, 2))
    assert list(activations(capture)) == ["net[0]"]
    assert indices.dtype == torch.int64


def test_activations_do_not_change_when_they_are_overwritten_later():
    net = ConvNet()
    with Capture({"a": net.a}) as capture:
        out = net.a(images := torch.rand(1, 3, 4, 4))
        out.mul_(0)
    torch.testing.assert_close(activations(capture)["a"], net.a(images))
