"""FullGrad: completeness, and layers that hold bias and activation in other ways."""

import torch
from helpers.method_nets import CLASSES, conv_net, images_of, labels_of, map_of, shaken
from helpers.oracles import fullgrad_terms, relative_error
from torch import nn

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.methods.fullgrad import decompose
from lightning_cam.explain.model_call import adapt
from lightning_cam.explain.targets import resolve_target
from lightning_cam.runtime.model_state import preserve_model_state


def test_terms_sum_up_to_the_score():
    """Completeness: x·dS/dx and b·dS/db of a piecewise linear network."""
    net, images, classes = conv_net(), images_of(), labels_of()
    with preserve_model_state(net, images.device):
        target = resolve_target(classes, len(images))
        rows = slice(0, len(images))
        batch = AttributionBatch(adapt(net), images, rows, target, {}, frozenset())
        total = decompose(batch).total().double()
    scores = net(images).gather(1, classes[:, None])[:, 0].detach()
    by_hand = sum(term.flatten(1).sum(1) for term in fullgrad_terms(net, images, classes))
    torch.testing.assert_close(by_hand, scores)  # the oracle itself is complete
    torch.testing.assert_close(total, scores, rtol=1e-5, atol=1e-6)


class ChannelsLast(nn.Module):
    """A 1 × 1 convolution as a linear layer on (B, H, W, C)."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 3, stride=3)
        self.mix = nn.Linear(4, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.mix(self.patches(x).permute(0, 2, 3, 1)).relu()
        return self.head(x.mean((1, 2)))


def test_a_linear_layer_on_channels_last_equals_the_same_convolution():
    net, images = shaken(ChannelsLast()), images_of()
    mix = nn.Conv2d(4, 6, 1).double()
    mix.load_state_dict({"weight": net.mix.weight[:, :, None, None], "bias": net.mix.bias})
    same = nn.Sequential(
        net.patches, mix, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head
    )
    expected = map_of(same, images, 1, "fullgrad")
    assert relative_error(map_of(net, images, 1, "fullgrad"), expected) <= 1e-5


class NormAndReLU(nn.BatchNorm2d):
    """A norm that contains its activation, as in timm."""

    def forward(self, x):
        return super().forward(x).relu()


def test_a_norm_with_its_activation_equals_the_two_modules():
    net, images = conv_net(), images_of()
    expected = map_of(net, images, 1, "fullgrad")
    net.norm.__class__, net.relu = NormAndReLU, nn.Identity()
    assert relative_error(map_of(net, images, 1, "fullgrad"), expected) <= 1e-5
