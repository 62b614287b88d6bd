"""Grad-CAM of torchvision's networks against captum's `LayerGradCam`, three layers in one call."""

import copy

import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

from lightning_cam import compute_cams


def _vgg11(num_classes):
    net = models.vgg11(init_weights=False)
    net.classifier = nn.Linear(512 * 7 * 7, num_classes)  # instead of 100 million weights
    return net


def _convnext(num_classes):
    stages = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 1)]
    return models.ConvNeXt(stages, num_classes=num_classes)


def _densenet(num_classes):
    return models.DenseNet(16, (2, 2, 2, 2), 32, num_classes=num_classes)


# ConvNeXt and DenseNet are shallow: at full depth they take ten seconds and run the same code.
ARCHITECTURES = {
    "convnext": (_convnext, ["features.1", "features.4", "features"]),
    "densenet": (_densenet, ["features.denseblock1", "features.transition2", "features"]),
    "efficientnet_b0": (models.efficientnet_b0, ["features.2", "features.6.0", "features"]),
    "mobilenet_v2": (models.mobilenet_v2, ["features.3", "features.10.conv.0.1", "features"]),
    "regnet_y_400mf": (
        models.regnet_y_400mf,
        ["stem", "trunk_output.block2", "trunk_output.block4"],
    ),
    "resnet18": (models.resnet18, ["layer1.0.bn1", "layer3.1.bn2", "layer4"]),
    "shufflenet_v2_x0_5": (models.shufflenet_v2_x0_5, ["stage2", "stage3.0", "conv5"]),
    "squeezenet1_0": (models.squeezenet1_0, ["features.3", "features.7.squeeze", "features"]),
    "vgg11": (_vgg11, ["features.3", "features.13", "features.18"]),
}


def _net(name):
    return ARCHITECTURES[name][0](num_classes=10).eval()


def _without_inplace(net):
    """Return a copy without in-place operations, after which captum's maps would be wrong."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net


def _captum(net, layer, images, targets):
    cam = LayerGradCam(net, net.get_submodule(layer))
    return cam.attribute(images, targets, relu_attributions=True)[:, 0].detach()


def _assert_equals_captum(net, oracle, layers, size=64):
    images, targets = torch.randn(4, 3, size, size), torch.tensor([0, 3, 6, 9])
    result = compute_cams(net, images, targets, layers=layers)
    assert list(result.maps) == [("gradcam", layer) for layer in layers]
    for layer in layers:
        expected = _captum(oracle, layer, images, targets)
        assert expected.max() > 0, f"{layer}: all maps are zero"
        error = (result["gradcam", layer] - expected).abs().max() / expected.max()
        assert error <= 1e-5, layer


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_maps_equal_captum(name):
    net = _net(name)
    _assert_equals_captum(net, _without_inplace(net), ARCHITECTURES[name][1])


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_0"])
def test_maps_of_a_frozen_network_equal_captum(name):
    net = _net(name)
    oracle = _without_inplace(net)
    _assert_equals_captum(net.requires_grad_(requires_grad=False), oracle, ARCHITECTURES[name][1])


@pytest.mark.parametrize("frozen", [False, True])
def test_an_in_place_relu_after_the_layer_does_not_change_maps(frozen):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 10),
    )
    oracle = _without_inplace(net)
    _assert_equals_captum(net.requires_grad_(not frozen), oracle, ["0", "2", "3"], size=12)
