"""Habits of real code that are easy to trip over."""

import pytest
import torch
from helpers.real_data import (
    CLASSES,
    MEAN,
    SIDE,
    STD,
    Binary,
    ByKey,
    Classifier,
    Listed,
    Multi,
    bytes_of,
    callback,
    check,
    check_pictures,
    data_of,
    labels_of,
    network,
    normalised,
    object_mask,
    pairs,
    picture,
    run,
)
from helpers.training import QUIET
from lightning.pytorch.utilities import CombinedLoader
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate, get_worker_info
from torchvision.transforms import v2

pytestmark = QUIET


class TransformedSubset(Dataset):
    """A wrapper as in many code bases: one data set, other transforms for each of its parts."""

    def __init__(self, subset, tf):
        self.subset, self.tf = subset, tf

    def __len__(self):
        return len(self.subset)

    def __getitem__(self, index):
        image, label = self.subset[index]
        return self.tf(image), label


def test_wrapper_with_a_transform_of_its_own(tmp_path):
    inner = pairs().dataset
    inner.classes = list(CLASSES)
    data = TransformedSubset(inner, v2.Compose([v2.Normalize(MEAN, STD)]))
    done = run(tmp_path, Classifier(), DataLoader(data, batch_size=6))
    check(done)
    check_pictures(done)
    assert done.probe.class_names == CLASSES


def test_class_names_of_the_module(tmp_path):
    class Module(Classifier):
        def __init__(self, class_names):
            super().__init__()
            self.save_hyperparameters()

    done = run(tmp_path, Module(list(CLASSES)), pairs())
    check(done)
    assert done.probe.class_names == CLASSES


def test_unreadable_samples_that_the_collate_function_drops(tmp_path):
    def item(i, label):
        return None if i in (3, 7, 10) else (picture(i, label), label)

    def collate(items):
        return default_collate([item for item in items if item is not None])

    done = run(tmp_path, Classifier(), data_of(item, collate_fn=collate))
    check(done)
    assert len(done.probe) == 6


def test_unreadable_samples_of_a_data_set_that_lists_its_labels(tmp_path):
    def item(i, label):
        return None if i in (3, 7, 10) else (picture(i, label), label)

    def collate(items):
        return default_collate([item for item in items if item is not None])

    data = data_of(item, collate_fn=collate)
    data.dataset.targets = labels_of(18)
    done = run(tmp_path, Classifier(), data)
    check(done)
    assert sorted(done.probe.targets.tolist()) == [0, 0, 1, 1, 2, 2]


def test_sampler_that_yields_more_than_numbers(tmp_path):
    """As samplers of several scales do: (index, size)."""

    class Scales:
        def __iter__(self):
            return iter([(i, 32) for i in range(18)])

        def __len__(self):
            return 18

    class Scaled(Dataset):
        def __len__(self):
            return 18

        def __getitem__(self, key):
            index, side = key
            label = labels_of(18)[index]
            return picture(index, label)[:, :side, :side], label

    done = run(tmp_path, Classifier(), DataLoader(Scaled(), batch_size=6, sampler=Scales()))
    check(done)


def test_labels_that_are_ignored(tmp_path):
    """-100, as the loss ignores by default."""
    labels = [-100 if i % 3 == 0 else label for i, label in enumerate(labels_of(18))]
    done = run(tmp_path, Classifier(), data_of(lambda i, _: (picture(i, 0), labels[i])))
    check(done)


def test_labels_as_a_list_of_numbers(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            images, labels = batch
            return images, torch.tensor(labels)

    def collate(items):
        images, labels = zip(*items, strict=True)
        return torch.stack(images), list(labels)

    check(run(tmp_path, Module(), pairs(collate_fn=collate)))


def test_regression(tmp_path):
    class Module(Classifier):
        def training_step(self, batch, batch_idx):
            images, ages = batch
            return F.mse_loss(self(images)[:, 0], ages.float())

        def validation_step(self, batch, batch_idx):
            images, _ = batch
            self.record(images, None, self(images))

    data = data_of(lambda i, label: (picture(i, label), 20.5 + i))
    cam = callback(target=lambda output: output[:, 0])
    done = run(tmp_path / "a", Module(network(1)), data, cam=cam)
    assert done.probe.targets is None
    done = run(tmp_path / "b", Module(network(1)), data)
    assert done.probe.targets is None
    assert any("target=" in note for note in done.notes), done.said


def beside_a_number(items):
    images, labels = default_collate(items)
    return {"temperature": torch.tensor(0.5), "image": images, "label": labels}


def test_numbers_of_the_whole_batch_beside_its_samples(tmp_path):
    check(run(tmp_path, ByKey(), pairs(collate_fn=beside_a_number)))


class Own:
    """An iterable of batches that is no DataLoader."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)


def test_own_loader_with_numbers_of_the_whole_batch(tmp_path):
    data = pairs(collate_fn=beside_a_number)
    check(run(tmp_path, ByKey(), Own(data), train=data), notes=("chosen among the first",))


def as_lists(items):
    return tuple(zip(*items, strict=True))


class OfLists(Classifier):
    def read(self, batch):
        images, labels = batch
        return torch.stack(list(images)), torch.tensor(labels)


def test_lists_of_images(tmp_path):
    check(run(tmp_path, OfLists(), pairs(collate_fn=as_lists)))


def test_own_loader_with_lists_of_images(tmp_path):
    data = pairs(collate_fn=as_lists)
    check(run(tmp_path, OfLists(), Own(data), train=data), notes=("chosen among the first",))


def test_own_loader_with_lists_of_items(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            images, labels = zip(*batch, strict=True)
            return torch.stack(images), torch.tensor(labels)

    data = pairs(collate_fn=list)
    check(run(tmp_path, Module(), Own(data), train=data), notes=("chosen among the first",))


def test_hooks_of_batches_that_come_together(tmp_path):
    class Both(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            if not isinstance(batch, dict):  # of the training
                return batch
            return {name: (normalised(each[0]), each[1]) for name, each in batch.items()}

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            assert isinstance(batch, dict)
            super().validation_step(batch["day"], batch_idx)

    night = data_of(lambda i, label: (picture(i + 100, label), label))
    val = CombinedLoader({"day": pairs(), "night": night}, "min_size")
    check(run(tmp_path, Both(), val, train=pairs()), notes=("chosen among the first",))


def test_stream_shared_by_workers(tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            info = get_worker_info()
            first, step = (0, 1) if info is None else (info.id, info.num_workers)
            labels = labels_of(18)
            return ((picture(i, labels[i]), labels[i]) for i in range(first, 18, step))

    check(run(tmp_path, Classifier(), DataLoader(Stream(), batch_size=6, num_workers=2)))


def test_endless_stream(tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            i = 0
            while True:
                yield picture(i, i % 3), i % 3
                i += 1

    settings = {"limit_val_batches": 20, "limit_train_batches": 3, "num_sanity_val_steps": 0}
    check(run(tmp_path, Classifier(), DataLoader(Stream(), batch_size=6), **settings))


@pytest.mark.filterwarnings("ignore:.*has shuffling enabled")
def test_random_order_of_the_validation_data(tmp_path):
    check(run(tmp_path, Classifier(), pairs(shuffle=True), train=pairs()))


def test_channels_last(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            return self.net(images.permute(0, 3, 1, 2))

    data = data_of(lambda i, label: (picture(i, label).permute(1, 2, 0).contiguous(), label))
    with pytest.raises(ValueError, match="Give forward="):
        run(tmp_path, Module(), data)
    forward = lambda module, images: module(images.permute(0, 2, 3, 1))
    done = run(tmp_path, Module(), data, cam=callback(forward=forward))
    assert done.probe.images.shape == (6, 3, SIDE, SIDE)
    for _, (image, label, probabilities) in enumerate(list(done.module.seen)):
        done.module.seen.append((image.permute(2, 0, 1), label, probabilities))
    check(done, notes=("images come as height × width × channels",))
    check_pictures(done)


def test_videos_are_refused(tmp_path):
    class Module(Classifier):
        def forward(self, clips):
            return self.net(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).mean(dim=1)

    data = data_of(lambda i, label: (torch.stack([picture(i, label)] * 2), label))
    with pytest.raises(ValueError, match=r"images as tensors \(B, C, H, W\).*Probe\(images"):
        run(tmp_path, Module(), data)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_precision(tmp_path, precision):
    done = run(tmp_path, Classifier(), pairs(), precision=precision)
    if precision == "64-true":
        check(done)
    assert done.probe.images.dtype == torch.float32
    own = [probabilities[label] for _, label, probabilities in done.module.seen]
    assert abs(done.scalar() - float(torch.stack(own).float().mean())) < 0.05


def test_two_views_of_each_image(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            (first, _), labels = batch
            return first, labels

    def item(i, label):
        return [picture(i, label), picture(i, label).flip(-1)], label

    for size in (6, 2):  # with two samples a batch looks like a list of two items
        done = run(tmp_path / str(size), Module(), data_of(item, batch_size=size))
        check(done)


def test_batches_of_one(tmp_path):
    check(run(tmp_path, Classifier(), pairs(batch_size=1)))


def test_module_with_a_model_that_detaches_its_input(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            with torch.no_grad():
                images = (images - images.mean()) / images.std()
            return self.net(images)

        def validation_step(self, batch, batch_idx):
            images, labels = batch
            each = [self(image[None]) for image in images]
            self.record(images, labels, torch.cat(each).softmax(dim=1))

    done = run(tmp_path, Module(), pairs(), cam=callback(chunk_size=1))
    check(done)


def test_masks_and_images_of_bytes_with_interventions(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            return self.net(images.float() / 255)

        def read(self, batch):
            return batch[:2]

    def item(i, label):
        return bytes_of(picture(i, label)), label, object_mask(i)

    cam = callback(interventions_every=1, probe_size=12)
    done = run(tmp_path, Module(), data_of(item), cam=cam, max_epochs=2)
    check(done)
    assert -1 <= done.scalar("cam/background_reliance") <= 2


def test_listed_labels_that_a_target_transform_changes(tmp_path):
    labels = labels_of(18)
    data = Listed(lambda i: (picture(i, labels[i]), 2 - labels[i]))
    data.targets = labels
    done = run(tmp_path, Classifier(), DataLoader(data, batch_size=6))
    check(done, notes=("labels in the batch differ from the data set's own list",))


def test_two_streams_of_a_siamese_network(tmp_path):
    class Module(Classifier):
        def forward(self, left, right):
            return self.net(left) - self.net(right)

        def read(self, batch):
            left, right, labels = batch
            return (left, right), labels

        def logits(self, images):
            return self(*images)

        def validation_step(self, batch, batch_idx):
            left, _, labels = batch
            self.record(left, labels, self(left, left * 0).softmax(dim=1))

    data = data_of(lambda i, label: (picture(i, label), picture(i + 50, label), label))
    with pytest.raises(ValueError, match="Give forward="):
        run(tmp_path, Module(), data)
    forward = lambda module, images: module(images, images * 0)
    done = run(tmp_path, Module(), data, cam=callback(forward=forward))
    check(done)


@pytest.mark.parametrize("unknown", [-1.0, float("nan")])
def test_several_labels_of_which_some_are_not_known(tmp_path, unknown):
    class Module(Multi):
        def training_step(self, batch, batch_idx):
            images, labels = batch
            known = labels >= 0
            return F.binary_cross_entropy_with_logits(self(images)[known], labels[known])

        def validation_step(self, batch, batch_idx):
            images, labels = batch
            self.record(images, labels == 1, self(images).sigmoid())

    rows = [[0, unknown, 1, 0], [1, 0, 0, 0], [0, 0, 1, unknown], [1, 1, 1, 1], [0, 1, 0, 0]]
    data = data_of(lambda i, label: (picture(i, label), torch.tensor(rows[i % 5])))
    done = run(tmp_path, Module(network(4)), data)
    check(done, notes=("taken for not known", "several labels per image"))


def test_missing_labels_as_nan(tmp_path):
    class Module(Binary):
        def training_step(self, batch, batch_idx):
            images, labels = batch
            known = ~labels.isnan()
            return F.binary_cross_entropy_with_logits(self(images)[known, 0], labels[known])

    def item(i, _):
        return picture(i, 0), torch.tensor(float("nan") if i % 3 == 0 else float(i % 2))

    check(run(tmp_path, Module(network(1)), data_of(item)))
