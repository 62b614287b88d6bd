"""`Probe.from_dataset`: a class-balanced sample of any dataset, by the seed alone."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.datasets import H, Listed, W, indices_in, numbered_image, streams
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)
from torchvision import datasets, tv_tensors
from torchvision.transforms import v2

from lightning_cam import Probe
from lightning_cam.probe.sample_reader import read_samples


class Unlisted(Dataset):
    """Gives a label only together with its image; each load draws from all global streams."""

    def __len__(self):
        return 26

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002
        return {"image": numbered_image(index) + noise, "label": 0 if index < 18 else index % 3}


class Stream(IterableDataset):
    def __iter__(self):
        return ((numbered_image(i), i % 2) for i in range(10))


class SizedStream(Stream):
    def __len__(self):
        return 10


# --- balance and seed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        (3, {0: 1, 1: 1, 2: 1}),
        (6, {0: 2, 1: 2, 2: 2}),
        (10, {0: 4, 1: 4, 2: 2}),
        (16, {0: 8, 1: 6, 2: 2}),
        (26, {0: 18, 1: 6, 2: 2}),
        (99, {0: 18, 1: 6, 2: 2}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_classes_are_balanced_as_far_as_there_are_samples(size, counts, seed):
    probe = Probe.from_dataset(Listed(), size, seed=seed)
    assert Counter(probe.targets.tolist()) == counts
    assert len(set(indices_in(probe))) == len(probe)


@pytest.mark.parametrize(
    ("size", "per_class", "counts"),
    [
        (8, 2, [2] * 4),  # interventions need two images of a class
        (8, 1, [1] * 8),  # there are no pairs
        (7, 2, [1] * 7),  # a small probe shows as many classes as it can
    ],
)
def test_of_many_classes_few_are_taken_in_pairs(size, per_class, counts):
    probe = Probe.from_dataset(Listed(tuple(range(20)) * per_class), size)
    assert list(Counter(probe.targets.tolist()).values()) == counts


def test_labels_and_ids_are_those_of_their_images():
    dataset = Listed()
    probe = Probe.from_dataset(dataset, 10)
    assert [dataset.targets[i] for i in indices_in(probe)] == probe.targets.tolist()
    assert [int(name.split("-")[-1]) for name in probe.ids] == indices_in(probe)


def test_classes_are_balanced_where_the_dataset_lists_no_labels():
    class Labelled(Unlisted):
        def __getitem__(self, index):
            return numbered_image(index), 0 if index < 18 else 1 if index < 24 else 2

    probe = Probe.from_dataset(Labelled(), 6)
    assert Counter(probe.targets.tolist()) == {0: 2, 1: 2, 2: 2}


def test_only_the_sampled_items_are_loaded_where_labels_are_listed():
    loader = DataLoader(Listed(), 5)
    read_samples(loader, 5, 0, progress=lambda *_: None)
    assert len(loader.dataset.loaded) == 5


def test_nothing_is_loaded_in_this_process():
    dataset = Listed()
    Probe.from_dataset(dataset, 5)
    assert dataset.loaded == []


@pytest.mark.parametrize("dataset", [Listed(), Unlisted()], ids=["listed", "unlisted"])
def test_the_choice_depends_on_the_seed_alone(dataset):
    first = Probe.from_dataset(dataset, 6, seed=3)
    torch.rand(5)
    np.random.rand(5)  # noqa: NPY002
    random.random()
    again, other = (Probe.from_dataset(dataset, 6, seed=seed) for seed in (3, 4))
    assert first.fingerprint == again.fingerprint
    assert first.ids == again.ids
    assert first.ids != other.ids


@pytest.mark.parametrize("dataset", [Listed(), Unlisted(), Stream()], ids=["a", "b", "c"])
@pytest.mark.parametrize(
    "how",
    [Probe.from_dataset, lambda d, n: Probe.from_dataloader(DataLoader(d, batch_size=2), n)],
    ids=["dataset", "loader"],
)
def test_global_random_streams_are_unchanged(dataset, how):
    before = streams()
    how(dataset, 5)
    assert streams() == before


def test_global_random_streams_are_unchanged_after_a_dataset_that_raises():
    class Failing(Unlisted):
        def __getitem__(self, index):
            super().__getitem__(index)
            raise OSError("disk")

    before = streams()
    with pytest.raises(OSError, match="disk"):
        Probe.from_dataset(Failing(), 4)
    assert streams() == before


# --- kinds of datasets ----------------------------------------------------------------------------


def test_labels_of_subsets_and_concatenations_are_found():
    parts = ConcatDataset([Listed((0,) * 6), Listed((1,) * 6)])
    subset = Subset(parts, [0, 1, 2, 3, 10, 11])
    probe = Probe.from_dataset(subset, 4)
    assert Counter(probe.targets.tolist()) == {0: 2, 1: 2}


def test_labels_of_a_tensor_dataset_are_found():
    data = TensorDataset(torch.stack([numbered_image(i) for i in range(8)]), torch.arange(8) % 4)
    probe = Probe.from_dataset(data, 4)
    assert sorted(probe.targets.tolist()) == [0, 1, 2, 3]
    assert [i % 4 for i in indices_in(probe)] == probe.targets.tolist()


def test_a_dataset_without_labels_gives_a_probe_without_targets():
    probe = Probe.from_dataset(TensorDataset(torch.rand(8, 3, H, W)), 4)
    assert len(probe) == 4
    assert probe.targets is None


@pytest.mark.parametrize("stream", [Stream(), SizedStream()], ids=["plain", "with a length"])
def test_of_an_iterable_dataset_the_first_samples_are_taken(stream):
    probe = Probe.from_dataset(stream, 4)
    assert indices_in(probe) == [0, 1, 2, 3]
    assert probe.targets.tolist() == [0, 1, 0, 1]
    assert len(Probe.from_dataset(stream, 99)) == 10


def test_a_plain_list_is_a_dataset():
    probe = Probe.from_dataset([(numbered_image(i), i % 2) for i in range(6)], 2)
    assert sorted(probe.targets.tolist()) == [0, 1]


def test_class_names_and_normalisation_of_an_image_folder_are_found(tmp_path):
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (W, H), (40 * i, 0, 0)).save(tmp_path / name / f"{i}.png")
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Compose([v2.Normalize([0.5, 0.4, 0.3], [0.2, 0.25, 0.5])]),
        ]
    )
    folder = datasets.ImageFolder(tmp_path, transform)
    for dataset in (folder, Subset(folder, [0, 1, 3, 4]), ConcatDataset([folder, folder])):
        probe = Probe.from_dataset(dataset, 4)
        assert probe.class_names == ("cat", "dog")
        assert probe.targets.tolist() == [0, 1, 0, 1]
        assert probe.mean == pytest.approx((0.5, 0.4, 0.3))
        assert probe.std == pytest.approx((0.2, 0.25, 0.5))
        assert probe.images.shape == (4, 3, H, W)


class Normalize(v2.Normalize):
    """Of a numbered image in 0 to 1."""

    def forward(self, image):
        return super().forward(image / 26)


def test_one_mean_is_used_for_all_channels_and_a_wrong_number_of_means_for_none():
    one = Probe.from_dataset(Listed(transform=Normalize([0.5], [0.1])), 2)
    assert one.mean == (0.5, 0.5, 0.5)
    grey = [(torch.rand(1, H, W), 0)]

    class Grey(Listed):
        def __getitem__(self, index):
            return grey[0]

    assert Probe.from_dataset(Grey(transform=v2.Normalize([0.5] * 3, [0.1] * 3)), 2).mean is None


# --- masks and boxes ------------------------------------------------------------------------------


class Annotated(Dataset):
    def __init__(self, item_of):
        self.item_of = item_of

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.item_of(index)


def row_mask(index):
    mask = torch.zeros(H, W, dtype=torch.bool)
    mask[index] = True
    return mask


@pytest.mark.parametrize(
    "item_of",
    [
        lambda i: (numbered_image(i), i % 2, row_mask(i)),
        lambda i: {"image": numbered_image(i), "label": i % 2, "mask": row_mask(i)},
        lambda i: (
            numbered_image(i),
            {"label": i % 2, "mask": tv_tensors.Mask(row_mask(i).long())},
        ),
        lambda i: (numbered_image(i), i % 2, {"boxes": torch.tensor([[0.0, i, W, i + 1.0]])}),
        lambda i: {
            "image": tv_tensors.Image(numbered_image(i)),
            "label": i % 2,
            "where": tv_tensors.BoundingBoxes([[0, i, W, 1]], format="XYWH", canvas_size=(H, W)),
        },
    ],
    ids=["tuple", "dict", "tv mask", "boxes", "tv boxes"],
)
def test_masks_and_boxes_become_the_foreground_of_their_image(item_of):
    probe = Probe.from_dataset(Annotated(item_of), 4)
    assert sorted(probe.targets.tolist()) == [0, 0, 1, 1]
    for index, foreground in zip(indices_in(probe), probe.foreground, strict=True):
        assert torch.equal(foreground, row_mask(index))


def test_a_mask_that_only_some_images_have_is_left_out():
    probe = Probe.from_dataset(
        Annotated(lambda i: (numbered_image(i), 0, row_mask(i)) if i else (numbered_image(i), 0)), 6
    )
    assert probe.masks is None


def test_arguments_replace_what_the_dataset_holds():
    data = Listed(transform=v2.Normalize([0.5], [0.1]))
    probe = Probe.from_dataset(
        data, 2, ids=["x", "y"], mean=0.0, std=1.0, class_names=["a", "b", "c"]
    )
    assert probe.ids == ("x", "y")
    assert probe.mean == (0, 0, 0)
    assert probe.class_names == ("a", "b", "c")


# --- what is rejected -----------------------------------------------------------------------------


@pytest.mark.parametrize("item", [(1, 2), ("path.png", 0)])
def test_items_without_an_image_are_rejected(item):
    with pytest.raises(ValueError, match="expected batches that hold images as tensors"):
        Probe.from_dataset([item] * 4, 2)


@pytest.mark.parametrize(
    "empty", [[], Subset(Listed(), []), TensorDataset(torch.zeros(0, 3, H, W))]
)
def test_an_empty_dataset_is_rejected(empty):
    with pytest.raises(ValueError, match="empty"):
        Probe.from_dataset(empty, 2)


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_rejected(size):
    with pytest.raises(ValueError, match=f"at least 1 image, got {size}"):
        Probe.from_dataset(Listed(), size)
