"""`feature_maps`: the layer's activations, which channels, models in any mode, errors."""

import copy

import pytest
import torch
from torch import nn

from lightning_cam.explain.features import feature_maps


def convnet():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def images(count=2, side=12):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_maps_are_the_layers_output_before_in_place_operations():
    net = convnet().eval()
    found = feature_maps(net, images(), ["0", "1", "3"], [2, 0])
    expected = {"0": net[:1](images()), "1": net[:2](images()), "3": net[:4](images())}
    assert list(found) == ["0", "1", "3"]
    for layer, maps in found.items():
        assert maps.channels == (2, 0)
        assert torch.allclose(maps.maps, expected[layer][:, [2, 0]].detach(), atol=1e-6)
        assert not maps.maps.requires_grad
    assert [found[layer].total for layer in found] == [6, 6, 4]


def test_the_channels_with_the_most_energy_come_first():
    net = nn.Conv2d(3, 5, 1, bias=False)
    with torch.no_grad():
        net.weight.zero_()
        for channel, gain in enumerate([1.0, 5.0, 0.0, -3.0, 2.0]):
            net.weight[channel, 0] = gain
    head = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert feature_maps(head, images(), "0", 3)["0"].channels == (1, 3, 4)
    assert feature_maps(head, images(), "0", 99)["0"].channels == (1, 3, 4, 0, 2)


def test_tokens_and_channels_last_become_maps():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 5, 4, stride=4)
            self.last = nn.Identity()
            self.tokens = nn.Identity()
            self.head = nn.Linear(5, 2)

        def forward(self, x):
            grid = self.last(self.patches(x).permute(0, 2, 3, 1))
            tokens = self.tokens(grid.flatten(1, 2))
            return self.head(tokens.mean(dim=1))

    net = Tokens()
    x = images(side=12)
    found = feature_maps(net, x, ["patches", "last", "tokens"], list(range(5)))
    for maps in found.values():
        assert torch.equal(maps.maps, found["patches"].maps)
        assert maps.maps.shape == (2, 5, 3, 3)


@pytest.mark.parametrize("mode", ["plain", "frozen", "inference", "no_grad inside", "compiled"])
def test_models_in_any_mode(mode):
    net = convnet().eval()
    expected = net[:4](images()).detach()
    x = images()
    if mode == "frozen":
        net.requires_grad_(requires_grad=False)
    if mode == "no_grad inside":
        net[3].forward = torch.no_grad()(net[3].forward)
    model = torch.compile(net, backend="eager") if mode == "compiled" else net
    with torch.inference_mode(mode == "inference"):
        found = feature_maps(model, x.clone(), "3", [0, 1, 2, 3])
    assert torch.allclose(found["3"].maps, expected, atol=1e-6)


def test_the_model_and_the_random_streams_are_unchanged():
    net = convnet().train()
    before = copy.deepcopy(net.state_dict())
    stream = torch.get_rng_state()
    feature_maps(net, images(), "auto")
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert torch.equal(stream, torch.get_rng_state())
    assert all(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("layers", "channels", "message"),
    [
        ("1O", 2, "unknown layer '1O'"),
        ("6", 2, "no spatial output"),
        ("0", [0, 6], "expected channels below 6, got 6"),
        ("0", 0, "expected channels"),
        ("0", "all", "expected channels"),
    ],
)
def test_wrong_arguments_are_reported(layers, channels, message):
    with pytest.raises(ValueError, match=message):
        feature_maps(convnet(), images(), layers, channels)
