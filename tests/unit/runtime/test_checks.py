"""Checks of arguments: what they accept, and what their messages say."""

import numpy as np
import pytest
import torch

from lightning_cam.runtime.checks import (
    as_class_indices,
    as_multi_label,
    check_class_range,
    check_count,
    check_images,
)


@pytest.mark.parametrize(("value", "least"), [(1, 1), (0, 0), (7, 7)])
def test_counts_are_accepted(value, least):
    check_count("chunk_size", value, least=least)


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", None, True])
def test_other_counts_are_rejected(value):
    with pytest.raises(ValueError, match="expected chunk_size as an integer of 1 or more, got "):
        check_count("chunk_size", value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_floating_point_images_are_accepted(dtype):
    check_images(torch.zeros(1, 3, 4, 4, dtype=dtype))


@pytest.mark.parametrize(
    ("images", "error", "match"),
    [
        (np.zeros((1, 3, 4, 4)), TypeError, r"as a tensor \(B, C, H, W\), got shape"),
        ([1], TypeError, "got a list"),
        (torch.zeros(3, 4, 4), ValueError, r"got shape \(3, 4, 4\).*add the batch dimension"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), ValueError, "Convert and normalise"),
        (torch.zeros(0, 3, 4, 4), ValueError, "at least one image"),
    ],
)
def test_other_images_are_rejected(images, error, match):
    with pytest.raises(error, match=match):
        check_images(images)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_class_indices_become_int64(dtype):
    indices = as_class_indices(torch.tensor([2, 0], dtype=dtype), 2)
    assert indices.dtype == torch.int64
    assert indices.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("classes", "match"),
    [
        (torch.tensor([0.0, 1.0]), "integer class indices, got shape"),
        (torch.tensor([True, False]), "integer class indices"),
        (torch.tensor([0, 1, 2]), r"one target per image, shape \(2,\), got shape \(3,\)"),
        (torch.tensor([[0], [1]]), "one target per image"),
        (torch.tensor([0, -1]), "class indices of 0 and above, got -1"),
    ],
)
def test_other_class_indices_are_rejected(classes, match):
    with pytest.raises(ValueError, match=match):
        as_class_indices(classes, 2)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
def test_multi_labels_become_bool(dtype):
    labels = as_multi_label(torch.tensor([[1, 0, 1], [0, 0, 0]], dtype=dtype), 2)
    assert labels.dtype == torch.bool
    assert labels.tolist() == [[True, False, True], [False, False, False]]


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (torch.tensor([1, 0]), r"expected labels of shape \(2, labels\)"),
        (torch.zeros(3, 2), r"expected labels of shape \(2, labels\)"),
        (torch.tensor([[1, 2], [0, 0]]), "labels of 0 and 1"),
        (torch.tensor([[0.5, 0], [0, 0]]), "labels of 0 and 1"),
    ],
)
def test_other_multi_labels_are_rejected(labels, match):
    with pytest.raises(ValueError, match=match):
        as_multi_label(labels, 2)


def test_classes_are_compared_with_the_number_of_logits():
    check_class_range(torch.tensor([0, 4]), 5)
    check_class_range(torch.tensor([], dtype=torch.long), 5)
    with pytest.raises(ValueError, match=r"class indices below 5, .* got 5"):
        check_class_range(torch.tensor([0, 5]), 5)


def test_a_single_logit_stands_for_two_classes():
    check_class_range(torch.tensor([0, 1]), 1)
    with pytest.raises(ValueError, match="class indices below 2"):
        check_class_range(torch.tensor([2]), 1)
