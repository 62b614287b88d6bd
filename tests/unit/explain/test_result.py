"""`CAMResult`: access by method and layer, parts and their concatenation."""

import torch

from lightning_cam.explain.result import CAMResult, concatenate, copied_at_once

KEY = ("gradcam", "layer")


def result(rows, first=0):
    """Return a result of images `first` to the last row, with a map per row."""
    rows = torch.tensor(rows)
    images = int(rows.max()) + 1 - first
    maps = torch.arange(len(rows) * 4.0).view(-1, 2, 2)
    return CAMResult({KEY: maps}, torch.rand(images, 3), rows % 3, rows, first)


def test_maps_are_found_by_method_and_layer():
    found = result([0, 1])
    assert found[KEY] is found.maps[KEY]


def test_dropping_images_keeps_the_numbers_of_the_others():
    found = result([0, 0, 1, 2, 2])
    kept = found.drop_first(1)
    assert kept.rows.tolist() == [1, 2, 2]
    assert torch.equal(kept[KEY], found[KEY][2:])
    assert torch.equal(kept.logits, found.logits[1:])
    assert kept.classes.tolist() == [1, 2, 2]


def test_dropping_images_of_a_part_counts_from_its_first():
    kept = result([3, 4, 4, 5], first=3).drop_first(2)
    assert kept.rows.tolist() == [5]
    assert kept.logits.shape == (1, 3)


def test_dropping_no_image_changes_nothing():
    found = result([0, 1])
    assert torch.equal(found.drop_first(0)[KEY], found[KEY])


def test_consecutive_parts_are_concatenated():
    first, second = result([0, 1, 1]), result([2, 3], first=2)
    whole = concatenate([first, second])
    assert whole.rows.tolist() == [0, 1, 1, 2, 3]
    assert torch.equal(whole[KEY], torch.cat([first[KEY], second[KEY]]))
    assert torch.equal(whole.logits, torch.cat([first.logits, second.logits]))
    assert torch.equal(whole.classes, torch.cat([first.classes, second.classes]))
    assert concatenate([first]) is first


def test_a_copy_on_the_cpu_has_the_same_values():
    found = result([0, 1]).cpu()
    assert found.rows.device == found.logits.device == found[KEY].device == torch.device("cpu")


def test_tensors_of_any_dtype_are_copied_exactly_at_once():
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.rand(3, 5, 2, generator=generator).to(torch.bfloat16),
        torch.tensor([2**62, -1]),
        torch.rand(7, generator=generator)[::2],
        torch.tensor([True, False, True]),
        torch.empty(0, 4),
        torch.tensor([[float("nan"), float("inf")]], dtype=torch.float64),
    ]
    for copy, each in zip(copied_at_once(tensors), tensors, strict=True):
        assert copy.dtype == each.dtype
        assert copy.shape == each.shape
        torch.testing.assert_close(copy, each, rtol=0, atol=0, equal_nan=True)
