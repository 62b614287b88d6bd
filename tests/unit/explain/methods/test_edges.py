"""Networks and targets at the edge of what methods are made for."""

import pytest
import torch
from helpers.method_nets import CLASSES, SIZE, ReluNet, conv_net, shaken
from helpers.oracles import relative_error
from torch import nn

from lightning_cam import (
    METHODS,
    DetectionTarget,
    MultiLabelTarget,
    SegmentationTarget,
    compute_cams,
)

CONV_METHODS = [name for name in METHODS if METHODS[name].place != "attention"]


def images_of(count=6, size=SIZE):
    return torch.randn(count, 3, size, size, dtype=torch.float64)


def maps_of(net, images, targets, method, layers="layer", **options):
    result = compute_cams(net, images, targets, method=method, layers=layers, **options)
    (maps,) = result.maps.values()
    return maps


def binary_net():
    net = conv_net("gap")
    net.head = shaken(nn.Linear(6, 1))
    return net


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(("method", "factor"), [("cam", 25), ("finercam", 1), ("hirescam", 1)])
def test_a_single_logit_speaks_for_class_one_and_against_class_zero(method, factor, label):
    net, images = binary_net(), images_of()
    expected = maps_of(net, images, label, "gradcam") * factor
    assert relative_error(maps_of(net, images, label, method), expected) <= 1e-5


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("method", CONV_METHODS)
def test_every_method_takes_a_single_logit(method, label):
    assert maps_of(binary_net(), images_of(2), label, method).isfinite().all()


@pytest.mark.parametrize("method", ["eigencam", "eigengradcam", "gradcam"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_image_that_overflows_spoils_its_own_map_alone(method, value):
    net, images = conv_net(), images_of()
    expected = maps_of(net, images, 1, method, eigen_smooth=True)
    images[2, 0, 4, 4] = value
    maps = maps_of(net, images, 1, method, eigen_smooth=True)
    assert maps[2].isnan().all()
    kept = [0, 1, 3, 4, 5]
    torch.testing.assert_close(maps[kept], expected[kept])


class ChannelsLast(nn.Module):
    """A 1 × 1 convolution spelled as a linear layer on (B, H, W, C)."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 3, stride=3)
        self.mix = nn.Linear(4, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.mix(self.patches(x).permute(0, 2, 3, 1)).relu()
        return self.head(x.mean((1, 2)))


def test_fullgrad_of_a_linear_layer_on_channels_last_is_that_of_its_convolution():
    net, images = shaken(ChannelsLast()), images_of()
    mix = nn.Conv2d(4, 6, 1).double()
    mix.load_state_dict({"weight": net.mix.weight[:, :, None, None], "bias": net.mix.bias})
    same = nn.Sequential(
        net.patches, mix, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head
    )
    expected = maps_of(same, images, 1, "fullgrad")
    assert relative_error(maps_of(net, images, 1, "fullgrad"), expected) <= 1e-5


class NormAndReLU(nn.BatchNorm2d):
    """A norm that holds its activation, as timm's do."""

    def forward(self, x):
        return super().forward(x).relu()


def test_fullgrad_of_a_norm_that_holds_its_activation_is_that_of_the_two():
    net, images = conv_net(), images_of()
    expected = maps_of(net, images, 1, "fullgrad")
    net.norm.__class__, net.relu = NormAndReLU, nn.Identity()
    assert relative_error(maps_of(net, images, 1, "fullgrad"), expected) <= 1e-5


class FrozenStem(ReluNet):
    def forward(self, x):
        with torch.no_grad():
            x = self.relu(self.a(x))
        return self.head(self.relu(self.b(x)).mean((2, 3)))


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "guided_backprop", "fullgrad"])
def test_a_backbone_without_gradients_has_no_maps_of_pixels(method):
    with pytest.raises(ValueError, match="does not depend on layer 'input'"):
        maps_of(shaken(FrozenStem(torch.relu)), images_of(), 1, method)


def test_saturated_relu6_passes_nothing():
    net = shaken(ReluNet(nn.ReLU6()))
    with torch.no_grad():
        net.a.bias += 100
    assert not maps_of(net, images_of(), 1, "guided_backprop").any()


def test_guided_methods_say_so_where_there_is_no_relu():
    net = shaken(ReluNet(torch.tanh))
    with pytest.raises(ValueError, match="this network has none"):
        maps_of(net, images_of(), 1, "guided_backprop")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("finercam", lambda out: out[:, 1]),
        ("finercam", MultiLabelTarget(torch.ones(6, CLASSES), "mean")),
        ("cam", lambda out: out[:, -1]),  # -1 is also the mark of no class
        ("cam", MultiLabelTarget(torch.ones(6, CLASSES), "mean")),
        ("cam", "difference"),
    ],
)
def test_methods_of_classes_refuse_other_scores(method, target):
    with pytest.raises(ValueError, match="Use 'gradcam'"):
        maps_of(conv_net("gap"), images_of(), target, method)


def test_a_mask_is_mirrored_with_the_image_it_is_a_mask_of():
    net = shaken(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3)))
    images, masks = images_of(2, 12), torch.rand(2, 10, 10) < 0.5
    maps = maps_of(net, images, SegmentationTarget((1,), masks), "gradcam", "0", aug_smooth=True)
    mirrored = SegmentationTarget((1,), masks.flip(-1))
    other = maps_of(net, images.flip(-1), mirrored, "gradcam", "0", aug_smooth=True)
    assert relative_error(other.flip(-1), maps) <= 1e-5


class TwoBoxes(nn.Module):
    """A detector that always finds two boxes, each other's mirror images on 12 pixels."""

    boxes = ((1.0, 2.0, 5.0, 9.0), (7.0, 2.0, 11.0, 9.0))

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        found = self.features(x).tanh().mean(1)
        scores = torch.stack([found[:, 2:9, 1:5].mean((1, 2)), found[:, 2:9, 7:11].mean((1, 2))], 1)
        boxes, labels = torch.tensor(self.boxes), torch.tensor([1, 1])
        return [{"boxes": boxes, "labels": labels, "scores": score} for score in scores]


def test_a_box_is_mirrored_with_the_image_it_is_in():
    net, images = shaken(TwoBoxes()), images_of(2, 12)
    left, right = (
        DetectionTarget((torch.tensor([box]),) * 2, (torch.tensor([1]),) * 2) for box in net.boxes
    )
    maps = maps_of(net, images, left, "hirescam", "features", aug_smooth=True)
    assert not maps[:, :, 6:].any()  # what the box on the left does not cover
    other = maps_of(net, images.flip(-1), right, "hirescam", "features", aug_smooth=True)
    assert relative_error(other.flip(-1), maps) <= 1e-5
