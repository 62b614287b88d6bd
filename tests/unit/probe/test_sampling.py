import random
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision import datasets, tv_tensors
from torchvision.transforms import v2

from lightning_cam import Probe

H, W = 6, 8


def picture(index):
    """Return an image that tells which it is."""
    return torch.full((3, H, W), float(index))


class Listed(Dataset):
    """Lists its labels, nine of class 0 to one of class 2; counts what was loaded."""

    def __init__(self, labels=(0,) * 18 + (1,) * 6 + (2,) * 2, transform=None):
        self.targets = list(labels)
        self.transform = transform
        self.loaded = []

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        self.loaded.append(index)
        image = picture(index)
        return (self.transform(image) if self.transform else image), self.targets[index]


class Unlisted(Dataset):
    """Tells a label only with its image; each load draws from every global stream."""

    def __len__(self):
        return 26

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002
        return {"image": picture(index) + noise, "label": 0 if index < 18 else index % 3}


class Stream(IterableDataset):
    def __iter__(self):
        return ((picture(i), i % 2) for i in range(10))


class SizedStream(Stream):
    def __len__(self):
        return 10


def shown(probe):
    """Return the indices of the pictures in a probe of `picture`s."""
    return probe.images[:, 0, 0, 0].int().tolist()


def streams():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


# --- balance and seed ---


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
def test_as_many_of_each_class_as_there_are(size, counts, seed):
    probe = Probe.from_dataset(Listed(), size, seed=seed)
    assert Counter(probe.targets.tolist()) == counts
    assert len(set(shown(probe))) == len(probe)


def test_labels_belong_to_their_images():
    dataset = Listed()
    probe = Probe.from_dataset(dataset, 10)
    assert [dataset.targets[i] for i in shown(probe)] == probe.targets.tolist()
    assert [int(name.split("-")[-1]) for name in probe.ids] == shown(probe)


def test_balance_without_listed_labels():
    class Labelled(Unlisted):
        def __getitem__(self, index):
            return picture(index), 0 if index < 18 else 1 if index < 24 else 2

    probe = Probe.from_dataset(Labelled(), 6)
    assert Counter(probe.targets.tolist()) == {0: 2, 1: 2, 2: 2}


def test_listed_labels_spare_loading_the_rest():
    dataset = Listed()
    Probe.from_dataset(dataset, 5)
    assert len(dataset.loaded) == 5


@pytest.mark.parametrize("dataset", [Listed(), Unlisted()], ids=["listed", "unlisted"])
def test_the_seed_alone_decides(dataset):
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
def test_global_random_streams_go_on_as_if_nothing_was_drawn(dataset, how):
    before = streams()
    how(dataset, 5)
    assert streams() == before


def test_global_random_streams_survive_a_dataset_that_fails():
    class Failing(Unlisted):
        def __getitem__(self, index):
            super().__getitem__(index)
            raise OSError("disk")

    before = streams()
    with pytest.raises(OSError, match="disk"):
        Probe.from_dataset(Failing(), 4)
    assert streams() == before


# --- kinds of datasets ---


def test_subset_and_concatenation_keep_track_of_labels():
    parts = ConcatDataset([Listed((0,) * 6), Listed((1,) * 6)])
    subset = Subset(parts, [0, 1, 2, 3, 10, 11])
    probe = Probe.from_dataset(subset, 4)
    assert Counter(probe.targets.tolist()) == {0: 2, 1: 2}
    assert sum(len(part.loaded) for part in parts.datasets) == 4


def test_tensor_dataset():
    data = TensorDataset(torch.stack([picture(i) for i in range(8)]), torch.arange(8) % 4)
    probe = Probe.from_dataset(data, 4)
    assert sorted(probe.targets.tolist()) == [0, 1, 2, 3]
    assert [i % 4 for i in shown(probe)] == probe.targets.tolist()


def test_images_without_labels():
    probe = Probe.from_dataset(TensorDataset(torch.rand(8, 3, H, W)), 4)
    assert len(probe) == 4
    assert probe.targets is None


@pytest.mark.parametrize("stream", [Stream(), SizedStream()], ids=["plain", "with a length"])
def test_a_stream_gives_its_first(stream):
    probe = Probe.from_dataset(stream, 4)
    assert shown(probe) == [0, 1, 2, 3]
    assert probe.targets.tolist() == [0, 1, 0, 1]
    assert len(Probe.from_dataset(stream, 99)) == 10


def test_plain_lists_are_datasets():
    probe = Probe.from_dataset([(picture(i), i % 2) for i in range(6)], 2)
    assert sorted(probe.targets.tolist()) == [0, 1]


def test_an_image_folder_brings_its_class_names(tmp_path):
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


def test_one_mean_serves_every_channel_and_another_number_of_them_none():
    one = Probe.from_dataset(Listed(transform=v2.Normalize([0.5], [0.1])), 2)
    assert one.mean == (0.5, 0.5, 0.5)
    grey = [(torch.rand(1, H, W), 0)]

    class Grey(Listed):
        def __getitem__(self, index):
            return grey[0]

    assert Probe.from_dataset(Grey(transform=v2.Normalize([0.5] * 3, [0.1] * 3)), 2).mean is None


# --- masks and boxes ---


class Annotated(Dataset):
    def __init__(self, describe):
        self.describe = describe

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.describe(index)


def a_mask(index):
    mask = torch.zeros(H, W, dtype=torch.bool)
    mask[index] = True
    return mask


@pytest.mark.parametrize(
    "describe",
    [
        lambda i: (picture(i), i % 2, a_mask(i)),
        lambda i: {"image": picture(i), "label": i % 2, "mask": a_mask(i)},
        lambda i: (picture(i), {"label": i % 2, "mask": tv_tensors.Mask(a_mask(i).long())}),
        lambda i: (picture(i), i % 2, {"boxes": torch.tensor([[0.0, i, W, i + 1.0]])}),
        lambda i: {
            "image": tv_tensors.Image(picture(i)),
            "label": i % 2,
            "where": tv_tensors.BoundingBoxes([[0, i, W, 1]], format="XYWH", canvas_size=(H, W)),
        },
    ],
    ids=["tuple", "dict", "tv mask", "boxes", "tv boxes"],
)
def test_masks_and_boxes_become_the_foreground_of_their_image(describe):
    probe = Probe.from_dataset(Annotated(describe), 4)
    assert sorted(probe.targets.tolist()) == [0, 0, 1, 1]
    for index, foreground in zip(shown(probe), probe.foreground, strict=True):
        assert torch.equal(foreground, a_mask(index))


def test_a_mask_that_only_some_images_have_is_left_out():
    probe = Probe.from_dataset(
        Annotated(lambda i: (picture(i), 0, a_mask(i)) if i else (picture(i), 0)), 6
    )
    assert probe.masks is None


def test_arguments_replace_what_the_dataset_shows():
    data = Listed(transform=v2.Normalize([0.5], [0.1]))
    probe = Probe.from_dataset(
        data, 2, ids=["x", "y"], mean=0.0, std=1.0, class_names=["a", "b", "c"]
    )
    assert probe.ids == ("x", "y")
    assert probe.mean == (0, 0, 0)
    assert probe.class_names == ("a", "b", "c")


# --- loaders and datamodules ---


def test_a_loaders_own_iteration_is_not_touched():
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


def test_the_collate_function_may_be_what_makes_tensors():
    arrays = [(f"file {i}", i % 2) for i in range(6)]

    def collate(items):
        images = torch.stack([picture(int(name.split()[1])) for name, _ in items])
        return images, torch.tensor([label for _, label in items])

    probe = Probe.from_dataloader(DataLoader(arrays, batch_size=2, collate_fn=collate), 4)
    assert [i % 2 for i in shown(probe)] == probe.targets.tolist()


def test_a_loader_without_a_dataset_is_a_type_error():
    with pytest.raises(TypeError, match="dataloader with a dataset"):
        Probe.from_dataloader([1, 2])


class Module:
    """What Lightning's datamodules offer."""

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
def test_a_datamodules_splits(split, labels):
    before = streams()
    probe = Probe.from_datamodule(Module(), 2, split=split)
    assert sorted(probe.targets.tolist()) == labels
    assert streams() == before


def test_a_datamodules_validation_data_is_the_default():
    assert sorted(Probe.from_datamodule(Module(), 2).targets.tolist()) == [2, 3]


def test_an_unknown_split():
    with pytest.raises(ValueError, match="got 'valid'"):
        Probe.from_datamodule(Module(), split="valid")


# --- what cannot be used ---


def test_images_of_different_sizes():
    data = [(torch.rand(3, 4 + i, 8), 0) for i in range(3)]
    with pytest.raises(ValueError, match=r"one size, got \(3, 4, 8\), \(3, 5, 8\).*Resize"):
        Probe.from_dataset(data, 3)


@pytest.mark.parametrize(
    "item", [(1, 2), ("path.png", 0), (torch.zeros(3, H, W, dtype=torch.uint8), 0)]
)
def test_items_without_a_floating_point_image(item):
    with pytest.raises(ValueError, match=r"floating point tensor.*found none"):
        Probe.from_dataset([item] * 4, 2)


@pytest.mark.parametrize(
    "empty", [[], Subset(Listed(), []), TensorDataset(torch.zeros(0, 3, H, W))]
)
def test_an_empty_dataset(empty):
    with pytest.raises(ValueError, match="empty"):
        Probe.from_dataset(empty, 2)


@pytest.mark.parametrize("size", [0, -1])
def test_no_size(size):
    with pytest.raises(ValueError, match=f"at least 1 image, got {size}"):
        Probe.from_dataset(Listed(), size)
