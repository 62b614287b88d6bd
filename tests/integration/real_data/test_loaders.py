"""Where samples come from: data sets, splits, samplers, streams, several loaders."""

import pytest
import torch
from helpers.real_data import (
    CLASSES,
    Classifier,
    Listed,
    check,
    data_of,
    labels_of,
    pairs,
    picture,
    run,
)
from helpers.training import QUIET
from lightning.pytorch.utilities import CombinedLoader
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    random_split,
)
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

pytestmark = QUIET

TO_TENSOR = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of PNG files by class."""
    root = tmp_path_factory.mktemp("images")
    for i, label in enumerate(labels_of(18)):
        pixels = (picture(i, label) * 255).round().byte().permute(1, 2, 0).numpy()
        (root / CLASSES[label]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / CLASSES[label] / f"{i:02d}.png")
    return root


def image_folder(root):
    return ImageFolder(root, transform=TO_TENSOR)


def test_image_folder(tmp_path, folder):
    done = run(tmp_path, Classifier(), DataLoader(image_folder(folder), batch_size=6))
    check(done)
    assert done.probe.class_names == ("cross", "disc", "ring")  # in the folder's order
    assert done.fact("class names") == "3, ImageFolder.classes"
    assert sorted(done.probe.targets.tolist()) == [0, 0, 1, 1, 2, 2]


def test_subset_of_an_image_folder(tmp_path, folder):
    data = Subset(image_folder(folder), range(1, 18, 2))
    done = run(tmp_path, Classifier(), DataLoader(data, batch_size=4))
    check(done)
    assert done.probe.class_names == ("cross", "disc", "ring")


def test_several_data_sets_joined(tmp_path, folder):
    whole = image_folder(folder)
    data = ConcatDataset([Subset(whole, range(9)), Subset(whole, range(9, 18))])
    done = run(tmp_path, Classifier(), DataLoader(data, batch_size=6))
    check(done)
    assert done.probe.class_names == ("cross", "disc", "ring")


def test_random_split(tmp_path):
    labels = labels_of(24)
    data = Listed(lambda i: (picture(i, labels[i]), labels[i]), 24)
    train, val = random_split(data, [0.5, 0.5], torch.Generator().manual_seed(3))
    loaders = [DataLoader(part, batch_size=6) for part in (train, val)]
    done = run(tmp_path, Classifier(), loaders[1], train=loaders[0])
    check(done)
    of_training = {bytes(data[i][0].numpy()) for i in train.indices}
    assert not any(bytes(image.numpy()) in of_training for image in done.probe.images)


def test_split_of_one_data_set_by_samplers(tmp_path):
    labels = labels_of(24)
    data = Listed(lambda i: (picture(i, labels[i]), labels[i]), 24)
    for_training, for_validation = list(range(0, 24, 2)), list(range(1, 24, 2))
    train = DataLoader(data, batch_size=6, sampler=SubsetRandomSampler(for_training))
    val = DataLoader(data, batch_size=6, sampler=SubsetRandomSampler(for_validation))
    done = run(tmp_path, Classifier(), val, train=train)
    check(done)
    of_training = {bytes(data[i][0].numpy()) for i in for_training}
    assert not any(bytes(image.numpy()) in of_training for image in done.probe.images)
    assert done.fact("images") == (
        "validation data, 6 of 12, 3×32×32 float, from SubsetRandomSampler"
    )


def test_weighted_sampler(tmp_path):
    weights = [0.0 if i < 9 else 1.0 for i in range(18)]
    data = pairs(sampler=WeightedRandomSampler(weights, 200))
    done = run(tmp_path, Classifier(), data)
    never = [picture(i, label) for i, label in enumerate(labels_of(9))]
    assert not any(torch.equal(a, b) for a in done.probe.images for b in never)
    assert "from WeightedRandomSampler" in done.fact("images")


def test_batch_sampler_of_ones_own(tmp_path):
    class EvenBatches:
        """Batches of even indices only."""

        def __iter__(self):
            return iter([[0, 2, 4], [6, 8, 10], [12, 14, 16]])

        def __len__(self):
            return 3

    labels = labels_of(18)
    data = Listed(lambda i: (picture(i, labels[i]), labels[i]))
    done = run(tmp_path, Classifier(), DataLoader(data, batch_sampler=EvenBatches()))
    check(done)
    assert "6 of 9" in done.fact("images")


def test_stream_sorted_by_class(tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            return ((picture(i, i // 8), i // 8) for i in range(24))

    done = run(tmp_path, Classifier(), DataLoader(Stream(), batch_size=6))
    check(done)
    assert sorted(done.probe.targets.tolist()) == [0, 0, 1, 1, 2, 2]


def test_whole_batches_from_the_data_set(tmp_path):
    class Batches(IterableDataset):
        def __iter__(self):
            labels = torch.tensor(labels_of(18))
            images = torch.stack([picture(i, int(label)) for i, label in enumerate(labels)])
            yield from zip(images.split(6), labels.split(6), strict=True)

    done = run(tmp_path, Classifier(), DataLoader(Batches(), batch_size=None))
    check(done)
    assert sorted(done.probe.targets.tolist()) == [0, 0, 1, 1, 2, 2]


def test_loader_of_another_kind(tmp_path):
    class Pipeline:
        """Like a loader of webdataset: an iterable of batches, without a data set."""

        def __iter__(self):
            for start in range(0, 18, 6):
                labels = labels_of(18)[start : start + 6]
                images = [picture(start + i, label) for i, label in enumerate(labels)]
                yield torch.stack(images), torch.tensor(labels)

    done = run(tmp_path, Classifier(), Pipeline(), train=pairs())
    check(done, notes=("chosen among the first batches",))
    assert sorted(done.probe.targets.tolist()) == [0, 0, 1, 1, 2, 2]


def test_several_validation_loaders(tmp_path):
    class Day(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx):
            if dataloader_idx == 0:
                super().validation_step(batch, batch_idx)

    night = data_of(lambda i, label: (picture(i + 100, label), label))
    done = run(tmp_path, Day(), [pairs(), night], train=pairs())
    check(done)
    assert done.fact("not monitored") == "loader 2 of the validation data"


@pytest.mark.parametrize("kind", ["dict", "sequential"])
def test_validation_loaders_by_name(tmp_path, kind):
    class Day(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx):
            if dataloader_idx == 0:
                super().validation_step(batch, batch_idx)

    night = data_of(lambda i, label: (picture(i + 100, label), label))
    loaders = {"day": pairs(), "night": night}
    val = loaders if kind == "dict" else CombinedLoader(loaders, "sequential")
    done = run(tmp_path, Day(), val, train=pairs())
    check(done)
    assert "not monitored" in done.said


def test_validation_loaders_whose_batches_come_together(tmp_path):
    class Both(Classifier):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch["day"], batch_idx)

    night = data_of(lambda i, label: (picture(i + 100, label), label))
    val = CombinedLoader({"day": pairs(), "night": night}, "min_size")
    done = run(tmp_path, Both(), val, train=pairs())
    check(done, notes=("chosen among the first batches",))
    assert done.fact("not monitored") == "loader 2 of the validation data"


def test_limited_validation_batches(tmp_path):
    done = run(tmp_path, Classifier(), pairs(), limit_val_batches=2)
    assert "6 of 18" in done.fact("images")


class Counted(Listed):
    """Counts what is read of it, also by other processes."""

    def __init__(self, count):
        labels = labels_of(count)
        super().__init__(lambda i: (picture(i, labels[i]), labels[i]), count)
        self.reads = torch.zeros(1, dtype=torch.int).share_memory_()

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


class CountsAtFirst(Classifier):
    """Notes how much of the validation data was read before the first validation batch."""

    before = None

    def on_validation_epoch_start(self):
        super().on_validation_epoch_start()
        if self.before is None:
            data = self.trainer.val_dataloaders.dataset
            self.before = int(data.reads)


def test_data_set_with_slow_items(tmp_path):
    data = Counted(600)  # at 50 ms each all of them would take half a minute
    module = CountsAtFirst()
    done = run(tmp_path, module, DataLoader(data, batch_size=6), train=pairs())
    check(done)
    assert 0 < module.before <= 18 + 6  # and the first batch


def test_data_set_with_slow_items_and_a_list_of_labels(tmp_path):
    data = Counted(600)
    data.targets = labels_of(600)
    module = CountsAtFirst()
    done = run(tmp_path, module, DataLoader(data, batch_size=6), train=pairs())
    check(done)
    assert 0 < module.before <= 6 + 6


def test_loader_with_workers(tmp_path):
    done = run(tmp_path, Classifier(), pairs(num_workers=1))
    check(done)


class ReaderOfNames:
    """As in timm: the data set holds a reader that knows the classes."""

    def __init__(self):
        self.class_to_idx = {name: number for number, name in enumerate(CLASSES)}


def test_class_names_of_a_reader(tmp_path):
    data = pairs()
    data.dataset.reader = ReaderOfNames()
    done = run(tmp_path, Classifier(), data)
    check(done)
    assert done.probe.class_names == CLASSES
    assert done.fact("class names") == "3, Listed.reader.class_to_idx"
