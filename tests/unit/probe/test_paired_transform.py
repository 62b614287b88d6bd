"""What a transform does to an image it does to its mask."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from lightning_cam.probe.paired_transform import follows_tensors, transform_pair


def pair(side=32):
    mask = np.zeros((side, side), dtype=bool)
    mask[4:14, 6:22] = True
    return Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB"), mask


@pytest.mark.parametrize(
    "transform",
    [
        v1.Compose([v1.RandomResizedCrop(24), v1.RandomHorizontalFlip(), v1.ToTensor()]),
        v1.Compose([v1.Pad(5), v1.RandomRotation(40), v1.ToTensor()]),
        v1.Compose([v1.Grayscale(), v1.Resize((20, 30)), v1.PILToTensor()]),
        v1.Compose([v1.ToTensor(), v1.Normalize([0.5], [0.1]), lambda image: -image]),
        v2.Compose([v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), v2.ToImage()]),
        v2.Compose([v2.RandomAffine(30, (0.1, 0.2)), v2.ToImage()]),
    ],
)
def test_the_mask_is_where_the_object_is(transform):
    for seed in range(3):
        torch.manual_seed(seed)
        image, mask = transform_pair(transform, *pair())
        shown = image.float().mean(dim=0)
        inside = shown < 0 if float(shown.min()) < 0 else shown > shown.max() / 2
        assert mask.shape == shown.shape
        assert mask.dtype == torch.bool
        assert float((mask ^ inside).float().mean()) < 0.1  # the rims of enlarged crops
        assert mask.any()


def test_random_transforms_stay_random():
    transform = v1.Compose([v1.RandomCrop(16), v1.ToTensor()])
    found = [transform_pair(transform, *pair())[1] for _ in range(8)]
    assert any(not torch.equal(found[0], each) for each in found)


@pytest.mark.parametrize(
    "transform",
    [
        v1.Compose([v1.RandomAutocontrast(p=1.0), v1.ToTensor(), lambda i: i / i.mean()]),
        v1.Compose([v1.ToTensor(), torch.zeros_like]),
    ],
)
def test_transforms_that_look_at_the_image_are_refused(transform):
    with pytest.raises(ValueError, match="can be applied to masks too"):
        transform_pair(transform, *pair())


def test_transforms_that_return_no_tensors_are_refused():
    with pytest.raises(ValueError, match="expected a transform to tensors"):
        transform_pair(v1.Resize(8), *pair())


def test_which_transforms_take_image_and_mask_together():
    assert follows_tensors(v2.Compose([v2.ToImage()]))
    assert not follows_tensors(v1.ToTensor())
    assert not follows_tensors(lambda image: image)
