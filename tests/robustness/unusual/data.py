"""Unusual data: items, streams, labels, pixels and loaders."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time

import torch
from helpers.training import Module, Squares, loader
from robustness.unusual.training import Training, images_and_labels
from torch import nn
from torch.nn import functional as F
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
)


class Items(Dataset):
    """Images and labels, changed by a function of image, label and index."""

    def __init__(self, change=lambda image, label, index: (image, label), count=12, side=16):
        self.squares, self.change = Squares(count, side=side), change

    def __len__(self):
        return len(self.squares)

    def __getitem__(self, index):
        image, label, _ = self.squares[index]
        return self.change(image, label, index)


class Pooled(Module):
    """A network for images of any size, with a loss that ignores labels below 0 and 255."""

    ignored = -100

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch[0]), batch[1], ignore_index=self.ignored)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))


# --- items ---------------------------------------------------------------------------------------


def raising_item():
    def change(image, label, index):
        if index == 5:
            raise OSError("file 5 is damaged")
        return image, label

    return Training(val=loader(Items(change)))


def raising_item_that_is_not_validated():
    def change(image, label, index):
        if index >= 8:
            raise OSError(f"file {index} is damaged")
        return image, label

    return Training(val=loader(Items(change)), trainer={"limit_val_batches": 2})


def missing_items_that_collate_drops():
    def change(image, label, index):
        return None if index % 3 == 1 else (image, label)

    def collate(items):
        return default_collate([item for item in items if item is not None])

    data = Items(change)
    return Training(train=loader(data, collate_fn=collate), val=loader(data, collate_fn=collate))


def items_of_which_some_lack_a_field():
    def change(image, label, index):
        return {"image": image, "label": label} | ({"note": "blurred"} if index % 2 else {})

    def collate(items):
        return [torch.stack([i["image"] for i in items]), torch.tensor([i["label"] for i in items])]

    return Training(val=loader(Items(change), collate_fn=collate))


class Stream(IterableDataset):
    def __init__(self, count=None):
        self.count = count

    def __iter__(self):
        items = images_and_labels()
        endless = itertools.cycle(items)
        return endless if self.count is None else itertools.islice(endless, self.count)


def infinite_stream():
    limits = {"limit_train_batches": 3, "limit_val_batches": 2}
    return Training(train=loader(Stream()), val=loader(Stream()), trainer=limits)


def stream_of_three():
    return Training(val=loader(Stream(3)))


def no_validation_images():
    return Training(val=loader([]))


def one_validation_image():
    return Training(val=loader(images_and_labels(1)))


def batches_of_one():
    data = images_and_labels()
    return Training(train=loader(data, 1), val=loader(data, 1))


# --- labels --------------------------------------------------------------------------------------


def one_class_only():
    return Training(val=loader(Items(lambda image, label, index: (image, 2))))


def _ignoring(ignored):
    module = Pooled()
    module.ignored = ignored
    data = Items(lambda image, label, index: (image, ignored if index % 3 == 0 else label))
    return Training(module, loader(data), loader(data))


def labels_of_which_some_are_minus_one():
    return _ignoring(-1)


def labels_of_which_some_are_255():
    return _ignoring(255)


def mixup_in_the_training_only():
    def mixed(items):
        images, labels = default_collate(items)
        targets = F.one_hot(labels, 4).float()
        return 0.7 * images + 0.3 * images.flip(0), 0.7 * targets + 0.3 * targets.flip(0)

    return Training(train=loader(images_and_labels(), collate_fn=mixed))


class Segmenter(Module):
    def __init__(self):
        super().__init__(
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))
        )


def masks_of_class_indices():
    def change(image, label, index):
        mask = torch.zeros(16, 16, dtype=torch.long)
        mask[4:9, 4:9] = label + 1
        mask[0] = 255
        return image, mask

    class Ignoring(Segmenter):
        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self.net(batch[0]), batch[1], ignore_index=255)

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.training_step(batch, batch_idx))

    data = Items(change)
    return Training(Ignoring(), loader(data), loader(data))


# --- pixels --------------------------------------------------------------------------------------


def nan_images():
    def change(image, label, index):
        return (image * float("nan") if index == 1 else image), label

    return Training(val=loader(Items(change)))


def constant_images():
    return Training(
        val=loader(Items(lambda image, label, index: (torch.full_like(image, 0.5), label)))
    )


def large_images():
    def change(image, label, index):
        return F.interpolate(image[None], (600, 800))[0], label

    class Shrinking(Module):
        def forward(self, images):
            return self.net(F.interpolate(images, (64, 64)))

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.training_step(batch, batch_idx))

    data = loader(Items(change, count=4), 2)
    return Training(Shrinking(), val=data, trainer={"max_epochs": 1}, callback={"layers": "net.3"})


def images_of_different_sizes():
    def change(image, label, index):
        return F.interpolate(image[None], 12 + 2 * (index % 3))[0], label

    def collate(items):
        images, labels = zip(*items, strict=True)
        padded = [F.pad(i, (0, 16 - i.shape[2], 0, 16 - i.shape[1])) for i in images]
        return torch.stack(padded), torch.tensor(labels)

    data = Items(change)
    return Training(train=loader(data, collate_fn=collate), val=loader(data, collate_fn=collate))


def images_of_different_sizes_one_by_one():
    def change(image, label, index):
        return F.interpolate(image[None], 12 + 2 * (index % 3))[0], label

    return Training(val=loader(Items(change), 1))


def images_in_double_precision():
    data = Items(lambda image, label, index: (image.double(), label))
    return Training(Module().double(), loader(data), loader(data), {"precision": "64-true"})


def images_that_require_gradients():
    data = Items(lambda image, label, index: (image.clone().requires_grad_(), label))
    return Training(train=loader(data), val=loader(data))


def bytes_that_forward_scales():
    class Scaling(Pooled):
        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self(batch[0]), batch[1])

        def forward(self, images):
            return self.net(images.float() / 255)

    data = Items(lambda image, label, index: ((image * 255).byte(), label))
    return Training(Scaling(), loader(data), loader(data))


# --- loaders -------------------------------------------------------------------------------------

WORKERS = {"num_workers": 1, "multiprocessing_context": "fork"}


def loader_with_every_option():
    options = {"timeout": 60, "prefetch_factor": 2, "persistent_workers": True, "drop_last": True}
    data = images_and_labels()
    return Training(
        train=loader(data, shuffle=True, pin_memory=True, **options, **WORKERS),
        val=loader(data, pin_memory=True, **options, **WORKERS),
    )


class OpenedByWorkers(Items):
    opened = None

    def __getitem__(self, index):
        return self.opened[index]


def _open(_):
    data = get_worker_info().dataset
    data.opened = images_and_labels()


def opened_by_worker_init():
    data = OpenedByWorkers()
    return Training(
        train=loader(data, worker_init_fn=_open, **WORKERS),
        val=loader(data, worker_init_fn=_open, **WORKERS),
    )


class OnDevice(DataLoader):
    """Changes each batch on its way, as loaders that normalise on the GPU do."""

    def __iter__(self):
        for images, labels in super().__iter__():
            yield images * 2 - 1, labels


def loader_with_its_own_iteration():
    return Training(train=OnDevice(images_and_labels(), 4), val=OnDevice(images_and_labels(), 4))


class NoLoader:
    """No `DataLoader` at all."""

    def __iter__(self):
        return iter(DataLoader(images_and_labels(), 4))

    def __len__(self):
        return 3


def iterable_without_a_dataset():
    return Training(train=NoLoader(), val=NoLoader())


def sampler_with_replacement():
    def sampler():
        return WeightedRandomSampler([1.0] * 3 + [9.0] * 9, 12)

    data = images_and_labels()
    return Training(train=loader(data, sampler=sampler()), val=loader(data, sampler=sampler()))


class Locked(Items):
    """Cannot be pickled."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def __getitem__(self, index):
        with self.lock:
            return super().__getitem__(index)


def dataset_that_cannot_be_pickled():
    return Training(train=loader(Locked()), val=loader(Locked()))


def dataset_that_spawned_workers_cannot_get():
    spawned = {"num_workers": 1, "multiprocessing_context": "spawn"}
    return Training(val=loader(Locked(), **spawned))


def _double(image, sender):
    sender.send(image * 2)


class Parallel(Items):
    """Starts processes itself, which a worker may not."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        fork = multiprocessing.get_context("fork")
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=_double, args=(image.numpy(), sender))
        process.start()
        doubled = receiver.recv()
        process.join()
        return torch.from_numpy(doubled), label


def dataset_that_starts_processes():
    return Training(val=loader(Parallel(count=4)), trainer={"max_epochs": 1})


class Interrupting(Items):
    """Ctrl-C while the probe is read."""

    def __init__(self):
        super().__init__()
        self.main = os.getpid()

    def __getitem__(self, index):
        if os.getpid() != self.main:
            os.kill(self.main, signal.SIGINT)
            time.sleep(60)
        return super().__getitem__(index)


def interrupted_while_the_probe_is_read():
    return Training(val=loader(Interrupting()))
