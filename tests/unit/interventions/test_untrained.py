"""`Untrained`: weights as a new network has them, without touching the model."""

import pytest
import torch
from torch import nn

from lightning_cam import compute_cams
from lightning_cam.interventions.untrained import Untrained, fresh_weights, layer_in_untrained


@pytest.fixture
def net():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    net(torch.randn(8, 3, 8, 8))
    return net


def test_the_model_is_not_changed(net):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    images, identities = torch.rand(2, 3, 8, 8), [id(p) for p in net.parameters()]
    stream = torch.get_rng_state()
    compute_cams(Untrained(net), images, layers=layer_in_untrained("2"))
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    assert torch.equal(stream, torch.get_rng_state())
    assert identities == [id(p) for p in net.parameters()]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_the_output_is_that_of_the_fresh_weights(net):
    images, fresh = torch.rand(2, 3, 8, 8), fresh_weights(net, seed=5)
    expected = torch.func.functional_call(net.eval(), fresh, (images,))
    torch.testing.assert_close(Untrained(net, seed=5)(images), expected)
    assert not torch.allclose(Untrained(net, seed=5)(images), net(images))


def test_layers_are_found_under_their_names(net):
    assert dict(Untrained(net).named_modules())[layer_in_untrained("2")] is net[2]


def test_weights_are_drawn_as_the_modules_draw_them(net):
    fresh = fresh_weights(net, seed=5)
    assert fresh.keys() == net.state_dict().keys()
    assert fresh["1.running_mean"].eq(0).all()
    assert fresh["1.weight"].eq(1).all()
    assert not torch.equal(fresh["0.weight"], net[0].weight)
    again = fresh_weights(net, seed=5)
    assert all(torch.equal(fresh[name], again[name]) for name in fresh)
    assert not torch.equal(fresh["0.weight"], fresh_weights(net, seed=6)["0.weight"])


def test_parameters_without_reset_keep_mean_and_standard_deviation():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.randn(1000) * 3 + 1)
            self.scale = nn.Parameter(torch.full((4,), 0.1))

    module = Token()
    fresh = fresh_weights(module)
    assert fresh["token"].std().item() == pytest.approx(3, rel=0.2)
    assert fresh["token"].mean().item() == pytest.approx(1, abs=0.4)
    assert not torch.equal(fresh["token"], module.token)
    assert torch.allclose(fresh["scale"], module.scale)
