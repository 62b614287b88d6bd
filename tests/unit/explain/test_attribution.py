"""Augmentation smoothing: the mean over six views, with masks and boxes mirrored."""

import pytest
import torch
from helpers.method_nets import conv_net, images_of, map_of, shaken
from helpers.oracles import relative_error
from torch import nn

from lightning_cam import DetectionTarget, SegmentationTarget


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "gradient", "scorecam"])
def test_augmentation_smoothing_is_the_mean_over_six_views(method):
    net, images = conv_net(), images_of()
    classes = net(images).argmax(1)  # of the unaltered images, for all views
    smooth = map_of(net, images, None, method, aug_smooth=True)
    views = [
        (mirror(map_of(net, mirror(images) * factor, classes, method)))
        for factor in (0.9, 1.0, 1.1)
        for mirror in (lambda t: t, lambda t: t.flip(-1))
    ]
    assert relative_error(smooth, torch.stack(views).mean(0)) <= 1e-5


def test_masks_are_mirrored_with_their_images():
    net = shaken(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3)))
    images, masks = images_of(2, 12), torch.rand(2, 10, 10) < 0.5
    maps = map_of(net, images, SegmentationTarget((1,), masks), "gradcam", "0", aug_smooth=True)
    mirrored = SegmentationTarget((1,), masks.flip(-1))
    other = map_of(net, images.flip(-1), mirrored, "gradcam", "0", aug_smooth=True)
    assert relative_error(other.flip(-1), maps) <= 1e-5


class TwoBoxes(nn.Module):
    """A detector that always finds two boxes, which mirror each other on 12 pixels."""

    boxes = ((1.0, 2.0, 5.0, 9.0), (7.0, 2.0, 11.0, 9.0))

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        found = self.features(x).tanh().mean(1)
        scores = torch.stack([found[:, 2:9, 1:5].mean((1, 2)), found[:, 2:9, 7:11].mean((1, 2))], 1)
        boxes, labels = torch.tensor(self.boxes), torch.tensor([1, 1])
        return [{"boxes": boxes, "labels": labels, "scores": score} for score in scores]


def test_boxes_are_mirrored_with_their_images():
    net, images = shaken(TwoBoxes()), images_of(2, 12)
    left, right = (
        DetectionTarget((torch.tensor([box]),) * 2, (torch.tensor([1]),) * 2) for box in net.boxes
    )
    maps = map_of(net, images, left, "hirescam", "features", aug_smooth=True)
    assert not maps[:, :, 6:].any()  # not covered by the box on the left
    other = map_of(net, images.flip(-1), right, "hirescam", "features", aug_smooth=True)
    assert relative_error(other.flip(-1), maps) <= 1e-5
