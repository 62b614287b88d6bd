"""`read_sample`: image, label, mask and boxes in items of many shapes."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from lightning_cam.probe.samples import read_sample

H, W = 6, 8
IMAGE = torch.rand(3, H, W)
MASK = torch.zeros(H, W, dtype=torch.bool)
MASK[1:3, 2:5] = True
Item = namedtuple("Item", ["image", "label"])  # noqa: PYI024


@pytest.mark.parametrize(
    ("item", "label"),
    [
        (IMAGE, None),
        ((IMAGE,), None),
        ((IMAGE, 3), 3),
        ([IMAGE, 3], 3),
        ((IMAGE, torch.tensor(3)), 3),
        ((IMAGE, torch.tensor([3])), 3),
        ((IMAGE, np.int64(3)), 3),
        ((IMAGE, np.array(3)), 3),
        ((IMAGE.numpy(), 3), 3),
        ((tv_tensors.Image(IMAGE), 3), 3),
        (Item(IMAGE, 3), 3),
        ({"image": IMAGE, "label": 3}, 3),
        ({"pixel_values": IMAGE, "labels": torch.tensor(3)}, 3),
        ({"x": IMAGE, "y": 3}, 3),
        ({"IMAGE": IMAGE, "Target": 3}, 3),
        ({"id": 17, "img": IMAGE, "cls": 3}, 3),
        ((IMAGE, {"label": 3, "path": "a.png"}), 3),
        ((IMAGE, "cat"), None),
        ((IMAGE, 0.5), None),
        ((IMAGE, None), None),
    ],
)
def test_image_and_label_are_found(item, label):
    sample = read_sample(item)
    assert torch.equal(sample.image, IMAGE)
    assert type(sample.image) is torch.Tensor
    assert sample.label == label
    assert sample.mask is None
    assert sample.boxes is None


@pytest.mark.parametrize(
    "item", [5, "text", None, (), {}, (3, 4), torch.zeros(5), [torch.zeros(2)]]
)
def test_items_without_an_image_give_none(item):
    assert read_sample(item).image is None


def test_integer_images_are_not_taken():
    assert read_sample((torch.zeros(3, H, W, dtype=torch.uint8), 1)).image is None


@pytest.mark.parametrize(
    "item",
    [
        (IMAGE, 3, MASK),
        (IMAGE, MASK, 3),
        (IMAGE, 3, MASK.to(torch.uint8)),
        (IMAGE, 3, MASK[None].long()),
        (IMAGE, 3, tv_tensors.Mask(MASK.to(torch.uint8) * 255)),
        (IMAGE, {"mask": MASK.float(), "label": 3}),
        {"image": IMAGE, "label": 3, "segmentation": MASK.numpy()},
        {"image": IMAGE, "label": 3, "masks": torch.stack([MASK, torch.zeros_like(MASK)])},
    ],
)
def test_a_mask_is_found_by_type_key_or_shape(item):
    sample = read_sample(item)
    assert torch.equal(sample.mask, MASK)
    assert sample.mask.dtype == torch.bool
    assert type(sample.mask) is torch.Tensor
    assert torch.equal(sample.image, IMAGE)
    assert sample.label == 3


def test_masks_of_several_instances_are_joined():
    first, second = MASK.clone(), MASK.roll(3, 0)
    sample = read_sample({"image": IMAGE, "masks": torch.stack([first, second])})
    assert torch.equal(sample.mask, first | second)


CORNERS = [[1.0, 2.0, 4.0, 6.0]]


@pytest.mark.parametrize(
    "boxes",
    [
        {"boxes": torch.tensor(CORNERS)},
        {"bbox": CORNERS[0]},
        {"bbox": np.array(CORNERS[0])},
        {"target": {"boxes": torch.tensor(CORNERS).long()}},
        {"b": tv_tensors.BoundingBoxes(CORNERS, format="XYXY", canvas_size=(H, W))},
        {"b": tv_tensors.BoundingBoxes([[1.0, 2, 3, 4]], format="XYWH", canvas_size=(H, W))},
        {"b": tv_tensors.BoundingBoxes([[2.5, 4, 3, 4]], format="CXCYWH", canvas_size=(H, W))},
    ],
)
def test_boxes_are_found_and_become_corners(boxes):
    sample = read_sample({"image": IMAGE, **boxes})
    assert sample.boxes.tolist() == CORNERS
    assert type(sample.boxes) is torch.Tensor


def test_an_empty_list_of_boxes_is_kept_as_zero_boxes():
    empty = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(H, W))
    assert read_sample((IMAGE, {"boxes": empty})).boxes.shape == (0, 4)


def test_a_detection_item_has_no_single_label():
    item = (IMAGE, {"boxes": torch.zeros(2, 4), "labels": torch.tensor([1, 2])})
    sample = read_sample(item)
    assert sample.label is None
    assert sample.boxes.shape == (2, 4)


def test_of_several_candidates_the_first_is_taken():
    sample = read_sample((IMAGE, 3, 17, IMAGE + 1))
    assert torch.equal(sample.image, IMAGE)
    assert sample.label == 3
