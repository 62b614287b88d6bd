"""What cannot be measured on a probe is said once, and why."""

import torch

from lightning_cam import Probe
from lightning_cam.interventions.run import missing


def probe(labels=(0, 0, 0, 1, 1, 1), masks=None):
    images = torch.rand(len(labels) if labels is not None else 4, 3, 8, 8)
    return Probe(images, labels, masks=masks)


def squares(count, *, empty=(), full=()):
    masks = torch.zeros(count, 8, 8, dtype=torch.bool)
    masks[:, 2:5, 2:5] = True
    masks[list(empty)] = False
    masks[list(full)] = True
    return masks


def test_nothing_is_missing_with_two_classes_in_pairs():
    assert missing(probe()) == []
    assert missing(probe(masks=squares(6))) == []


def test_empty_and_full_masks_are_counted():
    found = missing(probe(masks=squares(6, empty=[0], full=[1, 3])))
    assert found[0].startswith("1 of 6 masks are empty")
    assert found[1].startswith("2 of 6 masks are full")


def test_only_empty_masks_leave_nothing_else_to_say():
    assert len(missing(probe(masks=squares(6, empty=range(6))))) == 1


def test_one_class_and_one_image():
    assert "one class only" in missing(probe([3, 3, 3, 3]))[0]
    assert "one class only" in missing(probe([3]))[0]


def test_too_few_pairs():
    assert "fewer than 4 images" in missing(probe([0, 0, 1, 2, 3]))[0]


def test_without_labels_and_with_several():
    assert "predicted classes" in missing(probe(None))[0]
    assert "is not asked" in missing(probe(None, masks=squares(4)))[0]
    several = Probe(torch.rand(2, 3, 8, 8), torch.tensor([[1, 0], [1, 1]]))
    assert missing(several) == [
        "several labels an image: whether the background is used is not asked"
    ]
