"""`probe_arguments`: image, label, mask and boxes in samples of many shapes."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from lightning_cam import Probe
from lightning_cam.probe.build import probe_arguments
from lightning_cam.probe.columns import Items
from lightning_cam.probe.sample_reader import Batch, SampleData

H, W = 6, 8
IMAGE = torch.rand(3, H, W)
MASK = torch.zeros(H, W, dtype=torch.bool)
MASK[1:3, 2:5] = True
Item = namedtuple("Item", ["image", "label"])  # noqa: PYI024


def probe_of(*items, **facts):
    """Return the probe of some items of a data set, and how it was made."""
    rows = tuple(range(len(items)))
    data = SampleData((Batch(Items(items), rows, len(items)),), rows, **facts)
    arguments = probe_arguments(data)
    return Probe(**arguments.values), arguments.origin


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
    probe, _ = probe_of(item)
    assert torch.equal(probe.images[0], IMAGE)
    assert type(probe.images) is torch.Tensor
    assert (None if probe.targets is None else probe.targets.tolist()) == (label and [label])
    assert probe.masks is None
    assert probe.boxes is None


@pytest.mark.parametrize(
    "item", [5, "text", None, (), {}, (3, 4), torch.zeros(5), [torch.zeros(2)]]
)
def test_items_without_an_image_are_refused(item):
    with pytest.raises(ValueError, match=r"images as tensors \(B, C, H, W\).*Probe\(images"):
        probe_of(item)


def test_images_of_bytes_keep_their_dtype():
    bytes_ = torch.randint(256, (3, H, W), dtype=torch.uint8)
    probe, origin = probe_of((bytes_, 1))
    assert probe.integer_dtype is torch.uint8
    assert torch.equal(probe.images[0], bytes_.float())
    assert (probe.mean, probe.std) == ((0,) * 3, pytest.approx((1 / 255,) * 3))
    assert "uint8" in origin.facts["images"]


def test_images_of_different_sizes_are_padded_and_their_masks_too():
    wide, mask = torch.rand(3, H, W + 2), torch.ones(H, W + 2, dtype=torch.bool)
    probe, origin = probe_of((IMAGE, 0, MASK), (wide, 0, mask))
    assert torch.equal(probe.images[0, :, :, :W], IMAGE)
    assert probe.images[0, :, :, W:].abs().sum() == 0
    assert torch.equal(probe.masks[0, :, :W], MASK)
    assert not probe.masks[0, :, W:].any()
    assert "padded with zeros to 6×10" in " ".join(origin.notes)


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
    probe, _ = probe_of(item)
    assert torch.equal(probe.masks[0], MASK)
    assert type(probe.masks) is torch.Tensor
    assert torch.equal(probe.images[0], IMAGE)
    assert probe.targets.tolist() == [3]


def test_masks_of_several_instances_are_joined():
    first, second = MASK.clone(), MASK.roll(3, 0)
    probe, _ = probe_of({"image": IMAGE, "masks": torch.stack([first, second])})
    assert torch.equal(probe.masks[0], first | second)


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
    probe, _ = probe_of({"image": IMAGE, **boxes})
    assert probe.boxes[0].tolist() == CORNERS
    assert type(probe.boxes[0]) is torch.Tensor


def test_boxes_that_would_end_before_they_begin_are_corner_and_size():
    boxes = torch.tensor([[3.0, 2.0, 2.0, 1.0]])
    probe, origin = probe_of({"image": IMAGE, "boxes": boxes})
    assert probe.boxes[0].tolist() == [[3, 2, 5, 3]]
    assert "x, y, width, height" in origin.notes[0]


def test_an_empty_list_of_boxes_is_kept_as_zero_boxes():
    empty = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(H, W))
    assert probe_of((IMAGE, {"boxes": empty}))[0].boxes[0].shape == (0, 4)


def test_each_box_keeps_its_label():
    item = (IMAGE, {"boxes": torch.zeros(2, 4), "labels": torch.tensor([1, 2])})
    probe, _ = probe_of(item)
    assert probe.boxes[0].shape == (2, 4)
    assert probe.box_labels[0].tolist() == [1, 2]
    assert probe.targets.tolist() == [1]  # of the first box


def test_of_several_candidates_the_first_is_taken():
    probe, origin = probe_of((IMAGE, 3, 17, IMAGE + 1))
    assert torch.equal(probe.images[0], IMAGE)
    assert probe.targets.tolist() == [3]
    assert "batch[2] might be labels too" in origin.notes[0]


# --- labels ---------------------------------------------------------------------------------------


def test_a_column_of_the_samples_indices_is_no_label():
    items = [(0, IMAGE, 4), (1, IMAGE, 2), (2, IMAGE, 4)]
    assert probe_of(*items)[0].targets.tolist() == [4, 2, 4]


def test_a_column_that_equals_the_listed_labels_is_the_label():
    items = [(IMAGE, {"patient": 7, "finding": 1}), (IMAGE, {"patient": 8, "finding": 0})]
    probe, origin = probe_of(*items, listed=(1, 0))
    assert probe.targets.tolist() == [1, 0]
    assert origin.label_path == "[1][finding]"


def test_labels_that_differ_from_the_listed_ones_are_taken_and_said():
    probe, origin = probe_of((IMAGE, 2), (IMAGE, 0), listed=(1, 0))
    assert probe.targets.tolist() == [2, 0]
    assert "1 of 2 labels in the batch differ" in " ".join(origin.notes)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([torch.tensor([1.0]), torch.tensor([0.0])], [1, 0]),
        ([torch.tensor([0, 1, 0]), torch.tensor([1, 0, 0])], [1, 0]),
        ([torch.tensor([0.1, 0.8, 0.1]), torch.tensor([0.5, 0.2, 0.3])], [1, 0]),
        ([torch.tensor([1, 1, 0]), torch.tensor([0, 0, 0])], [[1, 1, 0], [0, 0, 0]]),
        ([torch.tensor([5, 2]), torch.tensor([3, 2])], [5, 3]),
        ([1.0, 0.0], [1, 0]),
        ([0.25, 1.5], None),
        ([True, False], [1, 0]),
    ],
    ids=["(B, 1)", "one hot", "probabilities", "several", "tasks", "floats", "values", "bool"],
)
def test_labels_of_every_form(labels, expected):
    probe, _ = probe_of(*[(IMAGE, label) for label in labels])
    assert (None if probe.targets is None else probe.targets.tolist()) == expected


# --- masks ----------------------------------------------------------------------------------------


def pixel_classes(*values):
    """Return (H, W) long, a column of each value, the first one in the rest."""
    classes = torch.full((H, W), values[0])
    for column, value in enumerate(values):
        classes[:, column] = value
    return classes


def test_ignored_pixels_are_no_object():
    mask = pixel_classes(0, 1, 255)
    probe, origin = probe_of((IMAGE, 1, mask))
    assert torch.equal(probe.masks[0], mask == 1)
    assert "255 is ignored" in origin.notes[0]


@pytest.mark.parametrize("wrap", [torch.Tensor.clone, tv_tensors.Mask], ids=["plain", "tv"])
def test_masks_of_classes_are_labels_of_pixels(wrap):
    masks = [pixel_classes(0, 3, 3, 7, 255, 255, 255), pixel_classes(7, 0, 3)]
    probe, origin = probe_of(*[(IMAGE, wrap(mask)) for mask in masks])
    assert probe.targets.tolist() == [3, 7]
    assert torch.equal(probe.masks, torch.stack([masks[0] == 3, masks[1] == 7]))
    assert "classes of pixels" in " ".join(origin.notes)


def test_of_masks_of_classes_that_of_the_image_s_label_is_taken():
    masks = [pixel_classes(0, 3, 3, 7), pixel_classes(7, 0, 3)]
    probe, _ = probe_of((IMAGE, 7, masks[0]), (IMAGE, 3, masks[1]))
    assert torch.equal(probe.masks, torch.stack([masks[0] == 7, masks[1] == 3]))


def test_masks_of_other_classes_than_the_labels_are_not_used():
    probe, origin = probe_of((IMAGE, 9, pixel_classes(1, 2, 3)))
    assert probe.masks is None
    assert "masks hold the values [1, 2, 3]" in origin.notes[0]
