"""`Probe`: what is rejected, what is copied, fingerprints, foregrounds; loaders and datamodules."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from helpers.datasets import Listed, indices_in, numbered_image, streams
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, WeightedRandomSampler
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


# --- what is rejected -----------------------------------------------------------------------------


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
        (lambda: torch.zeros(N, 3, H, W, dtype=torch.bool), ValueError, "torch.bool"),
        (lambda: torch.zeros(N, 3, H, W, dtype=torch.complex64), ValueError, "complex64"),
        (lambda: torch.zeros(0, 3, H, W), ValueError, "at least one image"),
        (with_nan, ValueError, r"NaN or infinity in images \[2\]"),
        (lambda: images() / 0, ValueError, r"images \[0, 1, 2, 3\]"),
    ],
)
def test_wrong_images_are_rejected(bad, error, message):
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
def test_wrong_targets_masks_boxes_and_ids_are_rejected(field, bad, error, message):
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
def test_wrong_normalisation_is_rejected(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Probe(images(), mean=mean, std=std)


def test_targets_beyond_the_class_names_are_rejected():
    with pytest.raises(ValueError, match="below 2, the number of class names, got 2"):
        Probe(images(), [0, 1, 2, 0], class_names=["cat", "dog"])


def test_boxes_that_are_not_finite_are_rejected():
    with pytest.raises(ValueError, match="boxes"):
        Probe(images(), boxes=torch.full((N, 4), math.nan))


# --- what is accepted -----------------------------------------------------------------------------


def test_all_arguments_become_attributes():
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
def test_any_floating_point_dtype_is_kept(dtype):
    probe = Probe(images().to(dtype))
    assert probe.images.dtype == dtype
    assert len(probe.fingerprint) == 12


# --- frozen ---------------------------------------------------------------------------------------


def test_changing_the_arguments_later_does_not_change_the_probe():
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


def test_fingerprint_depends_on_contents_and_not_on_memory_format():
    x = images()
    probe = Probe(x, [0, 1, 2, 3], masks=masks())
    same = Probe(x.to(memory_format=torch.channels_last), [0, 1, 2, 3], masks=masks())
    assert probe.fingerprint == same.fingerprint
    assert probe.fingerprint == Probe(x, [0, 1, 2, 3], masks=masks().to(torch.uint8)).fingerprint
    assert probe.fingerprint == pickle.loads(pickle.dumps(probe)).fingerprint  # noqa: S301


def test_fingerprint_is_reproducible_and_hexadecimal():
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    first, again = Probe(x, [0, 1]).fingerprint, Probe(x, [0, 1]).fingerprint
    assert first == again
    assert set(first) <= set("0123456789abcdef")


@given(st.integers(0, N * 3 * H * W - 1))
def test_fingerprint_changes_with_any_pixel(position):
    x = torch.zeros(N, 3, H, W)
    before = Probe(x).fingerprint
    x.view(-1)[position] = 1e-6
    assert Probe(x).fingerprint != before


def test_fingerprint_changes_with_labels_masks_shape_and_dtype():
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


# --- foreground -----------------------------------------------------------------------------------


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


def test_one_box_per_image_may_be_given_as_a_matrix():
    boxes = torch.tensor([[1.0, 2.0, 4.0, 5.0]] * N)
    assert torch.equal(Probe(images(), boxes=boxes).foreground, masks())


def test_masks_take_precedence_over_boxes():
    probe = Probe(images(), masks=masks(), boxes=torch.zeros(N, 4))
    assert torch.equal(probe.foreground, masks())


def test_tv_tensors_are_converted():
    """Boxes of other formats become corners, images become plain tensors."""
    box = tv_tensors.BoundingBoxes([[1.0, 2.0, 3.0, 3.0]], format="XYWH", canvas_size=(H, W))
    probe = Probe(tv_tensors.Image(images()), masks=None, boxes=[box] * N)
    assert torch.equal(probe.foreground, masks())
    assert type(probe.images) is torch.Tensor


# --- loaders and datamodules ----------------------------------------------------------------------


def test_a_running_iteration_over_the_loader_is_not_disturbed():
    data = Listed()
    sampler = WeightedRandomSampler([1.0] * 26, 26, generator=torch.Generator().manual_seed(5))
    loader = DataLoader(data, batch_size=4, sampler=sampler)
    expected = [batch[1].tolist() for batch in loader]
    sampler.generator.manual_seed(5)
    iterator = iter(loader)
    got = [next(iterator)[1].tolist()]
    Probe.from_dataloader(loader, 6)
    got += [batch[1].tolist() for batch in iterator]
    assert got == expected


def test_a_loader_gives_the_same_probe_as_its_dataset():
    data = Listed()
    loader = DataLoader(data, batch_size=3, shuffle=True)
    of_loader, of_data = Probe.from_dataloader(loader, 6), Probe.from_dataset(data, 6)
    assert of_loader.fingerprint == of_data.fingerprint


def test_the_collate_function_is_used_where_it_makes_the_tensors():
    arrays = [(f"file {i}", i % 2) for i in range(6)]

    def collate(items):
        images = torch.stack([numbered_image(int(name.split()[1])) for name, _ in items])
        return images, torch.tensor([label for _, label in items])

    probe = Probe.from_dataloader(DataLoader(arrays, batch_size=2, collate_fn=collate), 4)
    assert [i % 2 for i in indices_in(probe)] == probe.targets.tolist()


@pytest.mark.parametrize("loader", [5, "text", torch.zeros(2, 3)])
def test_what_cannot_be_iterated_is_no_loader(loader):
    with pytest.raises(TypeError, match="dataloader with a dataset"):
        Probe.from_dataloader(loader)


def test_a_loader_of_another_kind_is_iterated():
    pictures = torch.stack([numbered_image(i) for i in range(8)])
    batches = list(
        zip(pictures.split(4), torch.tensor([0, 0, 0, 1, 1, 1, 1, 1]).split(4), strict=True)
    )
    probe = Probe.from_dataloader(batches, 4)
    assert indices_in(probe) == [0, 1, 3, 4]
    assert probe.targets.tolist() == [0, 0, 1, 1]


class Module:
    """The part of a Lightning datamodule that probes are sampled from."""

    def train_dataloader(self):
        torch.rand(1)
        return DataLoader(Listed((0, 1) * 4), shuffle=True)

    def val_dataloader(self):
        return [DataLoader(Listed((2, 3) * 4)), DataLoader(Listed((4, 5) * 4))]

    def test_dataloader(self):
        return {"near": DataLoader(Listed((6, 7) * 4)), "far": DataLoader(Listed((8,) * 4))}


@pytest.mark.parametrize(
    ("split", "labels"), [("train", [0, 1]), ("val", [2, 3]), ("test", [6, 7])]
)
def test_each_split_of_a_datamodule_can_be_sampled(split, labels):
    before = streams()
    probe = Probe.from_datamodule(Module(), 2, split=split)
    assert sorted(probe.targets.tolist()) == labels
    assert streams() == before


def test_validation_data_of_a_datamodule_is_the_default():
    assert sorted(Probe.from_datamodule(Module(), 2).targets.tolist()) == [2, 3]


def test_an_unknown_split_is_rejected():
    with pytest.raises(ValueError, match="got 'valid'"):
        Probe.from_datamodule(Module(), split="valid")
