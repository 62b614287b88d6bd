import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors

from lightning_cam import Probe

N, H, W = 4, 8, 6


def images():
    return torch.rand(N, 3, H, W)


def masks():
    value = torch.zeros(N, H, W, dtype=torch.bool)
    value[:, 2:5, 1:4] = True
    return value


def with_nan():
    value = images()
    value[2, 0, 3, 3] = math.nan
    return value


# --- what is refused ---


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (
            lambda: np.zeros((N, 3, H, W), np.float32),
            TypeError,
            "images as a tensor.*dtype float32",
        ),
        (lambda: None, TypeError, "NoneType"),
        (lambda: [images()[0]], TypeError, "list"),
        (lambda: images()[0], ValueError, r"got shape \(3, 8, 6\).*batch dimension"),
        (lambda: images()[None], ValueError, r"\(B, C, H, W\)"),
        (lambda: torch.zeros(N, 3, H, W, dtype=torch.uint8), ValueError, "torch.uint8"),
        (lambda: torch.zeros(N, 3, H, W, dtype=torch.complex64), ValueError, "complex64"),
        (lambda: torch.zeros(0, 3, H, W), ValueError, "at least one image"),
        (with_nan, ValueError, r"NaN or infinity in images \[2\]"),
        (lambda: images() / 0, ValueError, r"images \[0, 1, 2, 3\]"),
    ],
)
def test_bad_images(bad, error, message):
    with pytest.raises(error, match=message):
        Probe(bad())


@pytest.mark.parametrize(
    ("field", "bad", "error", "message"),
    [
        ("targets", [0, 1], ValueError, r"shape \(4,\), got shape \(2,\)"),
        ("targets", torch.zeros(N, 1, 1, dtype=torch.long), ValueError, "one target per image"),
        ("targets", torch.zeros(N), ValueError, "integer class indices"),
        ("targets", [0.0, 1.0, 1.0, 0.0], ValueError, "integer class indices"),
        ("targets", [True, False, True, False], ValueError, "integer class indices"),
        ("targets", [0, 1, -1, 2], ValueError, "0 and above, got -1"),
        ("masks", np.zeros((N, H, W), bool), TypeError, "masks as a tensor"),
        ("masks", torch.zeros(N, W, H, dtype=torch.bool), ValueError, r"\(4, 8, 6\)"),
        ("masks", torch.zeros(N - 1, H, W, dtype=torch.bool), ValueError, r"\(3, 8, 6\)"),
        ("masks", torch.zeros(N, 2, H, W, dtype=torch.bool), ValueError, r"\(4, 2, 8, 6\)"),
        ("masks", torch.zeros(N, H, W), ValueError, "boolean masks.*float32"),
        ("masks", torch.full((N, H, W), 255, dtype=torch.uint8), ValueError, "boolean masks"),
        ("boxes", torch.zeros(N - 1, 4), ValueError, "boxes for each of 4 images, got 3"),
        ("boxes", [torch.zeros(1, 4)] * 5, ValueError, "got 5"),
        ("boxes", torch.zeros(N, 5), ValueError, r"\(n, 4\)"),
        ("boxes", [torch.zeros(4)] * N, ValueError, r"\(n, 4\).*image 0"),
        ("boxes", [torch.zeros(1, 4)] * 3 + [[0, 0, 1, 1]], ValueError, "a list for image 3"),
        ("boxes", torch.tensor([[3.0, 0, 2, 1]] * N), ValueError, "x1 <= x2"),
        ("boxes", torch.tensor([[0.0, 3, 2, 1]] * N), ValueError, "y1 <= y2"),
        ("ids", ["a", "b"], ValueError, "4 different ids, got 2 different of 2"),
        ("ids", ["a", "b", "c", "a"], ValueError, "got 3 different of 4"),
        ("mean", [0.5, 0.5, 0.5], ValueError, "mean and std together"),
        ("std", [0.5, 0.5, 0.5], ValueError, "mean and std together"),
    ],
)
def test_bad_company(field, bad, error, message):
    with pytest.raises(error, match=message):
        Probe(images(), **{field: bad})


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.5, 0.5], [1.0, 1.0, 1.0], "mean for each of 3 channels, got 2"),
        ([0.5] * 3, [1.0] * 4, "std for each of 3 channels, got 4"),
        ([0.5] * 3, [1.0, 0.0, 1.0], "std above 0"),
        ([0.5] * 3, [1.0, -1.0, 1.0], "std above 0"),
        ([0.5] * 3, [1.0, math.nan, 1.0], "std"),
        ([math.nan] * 3, [1.0] * 3, "mean"),
    ],
)
def test_bad_normalisation(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Probe(images(), mean=mean, std=std)


def test_targets_beyond_the_class_names():
    with pytest.raises(ValueError, match="below 2, the number of class names, got 2"):
        Probe(images(), [0, 1, 2, 0], class_names=["cat", "dog"])


def test_boxes_that_are_not_numbers():
    with pytest.raises(ValueError, match="boxes"):
        Probe(images(), boxes=torch.full((N, 4), math.nan))


# --- what is taken ---


def test_a_full_probe_holds_what_was_given():
    x = images()
    probe = Probe(
        x,
        [0, 1, 1, 0],
        masks=masks()[:, None].to(torch.uint8),
        ids=["w", "x", "y", "z"],
        class_names=("cat", "dog"),
        mean=0.5,
        std=[0.1, 0.2, 0.25],
    )
    assert len(probe) == N
    assert torch.equal(probe.images, x)
    assert probe.targets.tolist() == [0, 1, 1, 0]
    assert probe.targets.dtype == torch.long
    assert probe.masks.dtype == torch.bool
    assert torch.equal(probe.masks, masks())
    assert probe.ids == ("w", "x", "y", "z")
    assert probe.mean == (0.5, 0.5, 0.5)
    assert probe.std == pytest.approx((0.1, 0.2, 0.25))
    assert [probe.name_of(label) for label in (0, 1, 7, -1)] == ["cat", "dog", "7", "?"]
    assert "4 images (3, 8, 6) with targets, masks" in repr(probe)


def test_images_alone_are_enough():
    probe = Probe(images())
    assert len(set(probe.ids)) == N
    assert (probe.targets, probe.masks, probe.boxes, probe.foreground) == (None,) * 4
    assert probe.name_of(3) == "3"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_is_taken_as_it_is(dtype):
    probe = Probe(images().to(dtype))
    assert probe.images.dtype == dtype
    assert len(probe.fingerprint) == 12


# --- frozen ---


def test_changing_the_sources_does_not_change_the_probe():
    sources = {"targets": torch.tensor([0, 1, 2, 3]), "masks": masks(), "boxes": torch.ones(N, 4)}
    x = images()
    probe, twin = Probe(x, **sources), Probe(x.clone(), **copy.deepcopy(sources))
    x.zero_()
    for tensor in sources.values():
        tensor.zero_()
    assert torch.equal(probe.images, twin.images)
    assert probe.targets.tolist() == [0, 1, 2, 3]
    assert torch.equal(probe.masks, twin.masks)
    assert torch.equal(probe.boxes[0], torch.ones(1, 4))
    assert probe.fingerprint == twin.fingerprint


def test_attributes_cannot_be_replaced():
    probe = Probe(images())
    with pytest.raises(dataclasses.FrozenInstanceError):
        probe.images = images()


def test_the_copy_holds_no_graph_and_is_no_inference_tensor():
    assert not Probe(images().requires_grad_() * 2).images.requires_grad
    with torch.inference_mode():
        probe = Probe(images(), torch.zeros(N, dtype=torch.long), masks=masks())
    assert not any(t.is_inference() for t in (probe.images, probe.targets, probe.masks))


def test_fingerprint_is_the_contents_and_nothing_else():
    x = images()
    probe = Probe(x, [0, 1, 2, 3], masks=masks())
    same = Probe(x.to(memory_format=torch.channels_last), [0, 1, 2, 3], masks=masks())
    assert probe.fingerprint == same.fingerprint
    assert probe.fingerprint == Probe(x, [0, 1, 2, 3], masks=masks().to(torch.uint8)).fingerprint
    assert probe.fingerprint == pickle.loads(pickle.dumps(probe)).fingerprint  # noqa: S301


def test_fingerprint_is_the_same_in_every_process_and_release():
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    first, again = Probe(x, [0, 1]).fingerprint, Probe(x, [0, 1]).fingerprint
    assert first == again
    assert set(first) <= set("0123456789abcdef")


@given(st.integers(0, N * 3 * H * W - 1))
def test_fingerprint_sees_any_pixel(position):
    x = torch.zeros(N, 3, H, W)
    before = Probe(x).fingerprint
    x.view(-1)[position] = 1e-6
    assert Probe(x).fingerprint != before


def test_fingerprint_sees_labels_masks_shapes_and_what_is_missing():
    x = torch.zeros(N, 3, H, W)
    other = masks()
    other[3, 7, 5] = True
    prints = [
        Probe(x).fingerprint,
        Probe(x, [0, 1, 2, 3]).fingerprint,
        Probe(x, [0, 1, 2, 2]).fingerprint,
        Probe(x, masks=masks()).fingerprint,
        Probe(x, masks=other).fingerprint,
        Probe(x.transpose(2, 3)).fingerprint,
        Probe(x.half()).fingerprint,
        Probe(x[:3]).fingerprint,
    ]
    assert len(set(prints)) == len(prints)


# --- foreground ---


def test_boxes_fill_the_foreground():
    boxes = [
        torch.tensor([[1.0, 2.0, 4.0, 5.0]]),  # x1, y1, x2, y2
        torch.zeros(0, 4),
        torch.tensor([[0, 0, 1, 1], [5, 7, 6, 8]]),
        torch.tensor([[-3.0, -3.0, 99.0, 99.0]]),
    ]
    expected = torch.zeros(N, H, W, dtype=torch.bool)
    expected[0, 2:5, 1:4] = True
    expected[2, 0, 0] = expected[2, 7, 5] = True
    expected[3] = True
    assert torch.equal(Probe(images(), boxes=boxes).foreground, expected)


def test_one_box_an_image_may_be_a_matrix():
    boxes = torch.tensor([[1.0, 2.0, 4.0, 5.0]] * N)
    assert torch.equal(Probe(images(), boxes=boxes).foreground, masks())


def test_masks_win_over_boxes():
    probe = Probe(images(), masks=masks(), boxes=torch.zeros(N, 4))
    assert torch.equal(probe.foreground, masks())


def test_tv_tensors_mean_what_they_say():
    """A box of another format is not silently read as corners, an image is a plain tensor."""
    box = tv_tensors.BoundingBoxes([[1.0, 2.0, 3.0, 3.0]], format="XYWH", canvas_size=(H, W))
    probe = Probe(tv_tensors.Image(images()), masks=None, boxes=[box] * N)
    assert torch.equal(probe.foreground, masks())
    assert type(probe.images) is torch.Tensor
