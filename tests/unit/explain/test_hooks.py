"""Hooks of the user's own, whose result feeds the head: what they store, return or overwrite."""

import pytest
import torch
from captum.attr import LayerGradCam
from helpers.nets import state_of
from torch import nn
from torch.nn import functional as F

from lightning_cam import compute_cams
from lightning_cam.explain.candidate_layers import candidate_layers, choose_layer
from lightning_cam.explain.targets import resolve_target

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SCALE = torch.linspace(-1, 2, 5)[:, None, None]


class Hooked(nn.Module):
    """A convolution with a hook; the head reads what the hook stored, else what is returned.

    Args:
        hook: takes the network and the convolution's output; stores into `kept`, or returns another
            output.
    """

    def __init__(self, hook):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 5, 3, padding=1)
        self.fc = nn.Linear(5, 3)
        self.kept = None
        self.conv.register_forward_hook(lambda _module, _args, output: hook(self, output))

    def forward(self, x):
        self.kept = None
        output = self.conv(torch.tanh(self.stem(x)))
        return self.head(output if self.kept is None else self.kept)

    def head(self, features):
        return self.fc((features.tanh() * features).mean((2, 3)))

    def own_features(self, x):
        return F.conv2d(torch.tanh(self.stem(x)), self.conv.weight, self.conv.bias, padding=1)


def store(net, output):
    net.kept = output


def store_changed(net, output):
    net.kept = output * SCALE


def change(_net, output):
    return output * SCALE


def overwrite(_net, output):
    output.mul_(SCALE)


def store_and_return_another(net, output):
    net.kept = output
    return output.detach() * 0


# The hook, what the map is made of, and what follows: functions of the layer's own features.
HOOKS = {
    "stored": (store, lambda own: own, lambda net, seen: net.head(seen)),
    "changed and stored": (store_changed, lambda own: own, lambda net, s: net.head(s * SCALE)),
    "returned": (change, lambda own: own * SCALE, lambda net, seen: net.head(seen)),
    "overwritten": (overwrite, lambda own: own * SCALE, lambda net, seen: net.head(seen)),
    "stored, another returned": (
        store_and_return_another,
        lambda own: own,
        lambda net, seen: net.head(seen),
    ),
}


@pytest.fixture(params=HOOKS, ids=lambda name: name.replace(" ", "_"))
def case(request):
    hook, seen, rest = HOOKS[request.param]
    return Hooked(hook), seen, rest


def by_hand(case, classes):
    net, seen, rest = case
    acts = seen(net.own_features(IMAGES)).detach().requires_grad_()
    scores = rest(net, acts)[range(2), classes]
    (grads,) = torch.autograd.grad(scores.sum(), acts)
    return acts.detach(), grads, scores.detach()


@pytest.mark.parametrize("layer", ["conv", "auto"])
def test_gradients_pass_through_what_the_head_reads(case, layer):
    result = compute_cams(case[0], IMAGES, [0, 2], method=["gradcam", "hirescam"], layers=layer)
    acts, grads, _ = by_hand(case, [0, 2])
    weights = grads.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(result.maps["gradcam", "conv"], (weights * acts).sum(1).relu())
    torch.testing.assert_close(result.maps["hirescam", "conv"], (grads * acts).sum(1).relu())


def test_ablation_reaches_what_the_head_reads(case):
    found = compute_cams(case[0], IMAGES, [0, 2], method="ablationcam", layers="conv")
    acts, _, clean = by_hand(case, [0, 2])
    net, _, rest = case
    expected = torch.zeros(2, 8, 8)
    for channel in range(5):
        without = acts.clone()
        without[:, channel] = 0
        lost = (clean - rest(net, without)[range(2), [0, 2]].detach()) / clean.abs()
        expected += lost[:, None, None] * acts[:, channel]
    torch.testing.assert_close(found.maps["ablationcam", "conv"], expected.relu())


def test_captum_agrees_where_a_hook_returns_another_output():
    net = Hooked(change)
    found = compute_cams(net, IMAGES, [0, 2], layers="conv").maps["gradcam", "conv"]
    captum = LayerGradCam(net, net.conv).attribute(IMAGES, [0, 2], relu_attributions=True)
    torch.testing.assert_close(found, captum[:, 0].detach())


def test_the_layer_is_listed_once_and_chosen(case):
    candidates = candidate_layers(case[0], IMAGES, resolve_target(0, 1))
    assert [each.name for each in candidates] == ["stem", "conv"]
    assert choose_layer(candidates).name == "conv"


def test_hooks_of_the_user_stay_alone(case):
    before = state_of(case[0])
    compute_cams(case[0], IMAGES, 0)
    assert state_of(case[0]) == before


def test_a_hook_on_an_inner_module_may_feed_the_head():
    """As torchvision's and timm's feature extractors by hooks do."""
    net = Hooked(lambda _net, _output: None)
    net.stage = nn.Sequential(net.conv, nn.Tanh())
    kept = {}
    net.stage[1].register_forward_hook(lambda _m, _a, output: kept.update(it=output))
    net.forward = lambda x: (net.stage(net.stem(x)), net.fc(kept["it"].mean((2, 3))))[1]
    result = compute_cams(net, IMAGES, 0, layers="auto")
    ((_, layer),) = result.maps
    assert layer == "stage.1"
    assert result.maps["gradcam", layer].amax() > 0
