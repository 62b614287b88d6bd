"""`CAMResult`: access by method and layer, parts and their concatenation."""

from dataclasses import replace

import pytest
import torch
from helpers.nets import ConvNet

from lightning_cam import compute_cams
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


# --- methods alone, and the short form ------------------------------------------------------------


def of_two_layers():
    maps = {(m, at): torch.rand(2, 3, 3) for m in ("gradcam", "hirescam") for at in ("a", "b")}
    maps["rollout", "attention"] = torch.rand(2, 4, 4)
    rows = torch.arange(2)
    return CAMResult(maps, torch.rand(2, 3), rows, rows)


def test_a_method_of_one_layer_is_found_by_its_name():
    found = of_two_layers()
    assert found["rollout"] is found.maps["rollout", "attention"]
    assert found["gradcam", "b"] is found.maps["gradcam", "b"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("gradcam", "'gradcam' has maps at 2 layers: ('gradcam', layer) with one of 'a', 'b'"),
        ("gradcan", "unknown method among these maps 'gradcan'. Did you mean 'gradcam'?"),
        (("gradcam", "c"), "unknown layer among these maps 'c'. Known: a, b."),
        (("gradcam", "a", "b"), "expected a method, or a method and a layer, got ('gradcam', 'a'"),
        (0, "expected a method, or a method and a layer, got 0"),
    ],
)
def test_unknown_maps_are_reported(key, message):
    with pytest.raises(KeyError) as caught:
        of_two_layers()[key]
    assert message in str(caught.value)


def test_the_short_form_says_what_there_is():
    found = of_two_layers()
    assert repr(found) == (
        "CAMResult(2 images: gradcam@a 3×3, gradcam@b 3×3, hirescam@a 3×3, hirescam@b 3×3"
        " and 1 more)"
    )
    assert repr(result([0, 0, 1])) == "CAMResult(2 images with 3 maps: gradcam@layer 2×2)"
    assert repr(result([0])) == "CAMResult(1 image: gradcam@layer 2×2)"


# --- images ---------------------------------------------------------------------------------------


def with_images(rows, first=0):
    found = result(rows, first)
    count = len(found.logits)
    ids = tuple(f"{first + n}.png" for n in range(count))
    return replace(found, images=torch.rand(count, 3, 4, 4), ids=ids)


def test_images_are_dropped_and_concatenated_with_their_maps():
    first, second = with_images([0, 1, 1]), with_images([2, 3], first=2)
    whole = concatenate([first, second])
    assert whole.ids == ("0.png", "1.png", "2.png", "3.png")
    assert torch.equal(whole.images, torch.cat([first.images, second.images]))
    kept = whole.drop_first(3)
    assert (kept.ids, kept.first) == (("3.png",), 3)
    assert torch.equal(kept.images, second.images[1:])
    assert kept.overlay().shape == (1, 4, 4, 3)
    assert concatenate([first, second.without_images()]).images is None


def test_a_part_of_a_batch_has_its_own_images():
    images = torch.rand(5, 3, 8, 8)
    model = ConvNet()
    whole = compute_cams(model, images, 0)
    part = compute_cams(model, images, 0, rows=slice(2, 4))
    assert (part.first, part.rows.tolist()) == (2, [2, 3])
    assert torch.equal(part.images, images[2:4])
    assert (part.overlay() == whole.overlay()[2:4]).mean() > 0.99
    assert [part.lines(n) for n in range(2)] == [whole.lines(n) for n in (2, 3)]


def test_a_copy_on_the_cpu_keeps_its_images():
    found = with_images([0, 1]).cpu()
    assert found.images.device == torch.device("cpu")
    assert found.ids == ("0.png", "1.png")
