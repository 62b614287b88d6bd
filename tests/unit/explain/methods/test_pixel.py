"""Methods of pixels: ReLUs however they are called, noise, networks without gradients."""

import pytest
import torch
from helpers.method_nets import RELUS, ReluNet, conv_net, images_of, map_of, shaken, variant
from helpers.oracles import relative_error
from torch import nn

from lightning_cam import compute_cams


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "guided_gradcam"])
@pytest.mark.parametrize("spelling", RELUS)
def test_guided_methods_find_relus_however_they_are_called(spelling, method):
    net = shaken(ReluNet(RELUS[spelling]))
    oracle = ReluNet(torch.relu).double()
    oracle.load_state_dict(net.state_dict())
    images = images_of(3, 9) / 10  # below the six of ReLU6
    expected = map_of(oracle, images, 1, method, layers="b")
    assert relative_error(map_of(net, images, 1, method, layers="b"), expected) <= 1e-6


@pytest.mark.parametrize("method", ["smoothgrad", "smooth_gradcam++"])
def test_noise_has_the_stated_standard_deviation(method):
    net, seen = conv_net(), []
    images = images_of(2, 60) * torch.tensor([1.0, 7.0])[:, None, None, None]
    net = nn.Sequential(net.stem, net.relu, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    compute_cams(net, images, 0, method=variant(method, level=0.2, samples=3), layers="0")
    noise = torch.stack([each - images for each in seen if not torch.equal(each, images)])
    assert len(noise) == 3
    spread = (images.amax((1, 2, 3)) - images.amin((1, 2, 3))) * 0.2
    torch.testing.assert_close(noise.std((0, 2, 3, 4)), spread, rtol=0.05, atol=0)
    # It differs between samples, and is the same for all images, so that chunks do not matter.
    assert not torch.allclose(noise[0], noise[1])
    torch.testing.assert_close(noise[:, 0] / spread[0], noise[:, 1] / spread[1])


class FrozenStem(ReluNet):
    def forward(self, x):
        with torch.no_grad():
            x = self.relu(self.a(x))
        return self.head(self.relu(self.b(x)).mean((2, 3)))


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "guided_backprop", "fullgrad"])
def test_a_backbone_without_gradients_is_reported(method):
    with pytest.raises(ValueError, match="does not depend on layer 'input'"):
        map_of(shaken(FrozenStem(torch.relu)), images_of(), 1, method)


def test_a_saturated_relu6_passes_no_gradient():
    net = shaken(ReluNet(nn.ReLU6()))
    with torch.no_grad():
        net.a.bias += 100
    assert not map_of(net, images_of(), 1, "guided_backprop").any()


def test_a_network_without_relu_is_reported_by_guided_methods():
    net = shaken(ReluNet(torch.tanh))
    with pytest.raises(ValueError, match="this network has none"):
        map_of(net, images_of(), 1, "guided_backprop")
