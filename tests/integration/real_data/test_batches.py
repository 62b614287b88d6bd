"""Shapes of batches: tuples, dicts, named tuples, data classes, text and numbers beside labels."""

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.real_data import (
    CLASSES,
    ByKey,
    Classifier,
    callback,
    check,
    check_pictures,
    data_of,
    labels_of,
    network,
    pairs,
    picture,
    run,
)
from helpers.training import QUIET
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchvision.transforms import v2

pytestmark = QUIET

Pair = namedtuple("Pair", ["image", "label"])  # noqa: PYI024


def test_tuple(tmp_path):
    done = run(tmp_path, Classifier(), pairs())
    check(done)
    check_pictures(done)
    assert done.fact("labels") == "class indices in batch[1]"


def test_dict(tmp_path):
    data = data_of(lambda i, label: {"image": picture(i, label), "label": label})
    check(run(tmp_path, ByKey(), data))


def test_nested_dict(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            return batch["inputs"]["photo"], batch["annotations"]["class"]

    data = data_of(
        lambda i, label: {
            "inputs": {"photo": picture(i, label), "name": f"photo {i}"},
            "annotations": {"class": label},
        }
    )
    check(run(tmp_path, Module(), data))


def test_named_tuple(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            return batch.image, batch.label

    check(run(tmp_path, Module(), data_of(lambda i, label: Pair(picture(i, label), label))))


@dataclass
class Batch:
    pixels: torch.Tensor
    label: torch.Tensor


def test_data_class(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            return batch.pixels, batch.label

    def collate(items):
        return Batch(*default_collate(items))

    check(run(tmp_path, Module(), pairs(collate_fn=collate)))


@dataclass
class ModelOutput:
    loss: torch.Tensor | None
    logits: torch.Tensor


class HuggingFaceLike(nn.Module):
    """A model with `config.id2label` and an output with `.logits`, as transformers has them."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(id2label=dict(enumerate(CLASSES)))
        self.body = network()

    def forward(self, pixel_values, labels=None):
        logits = self.body(pixel_values)
        return ModelOutput(None if labels is None else F.cross_entropy(logits, labels), logits)


class FineTuning(Classifier):
    def __init__(self):
        super().__init__()
        self.model = HuggingFaceLike()

    def forward(self, pixel_values, labels=None):
        return self.model(pixel_values, labels)

    def training_step(self, batch, batch_idx):
        return self(**batch).loss

    def validation_step(self, batch, batch_idx):
        logits = self(**batch).logits
        self.record(batch["pixel_values"], batch["labels"], logits.softmax(dim=1))


def test_hugging_face_batch_and_output(tmp_path):
    data = data_of(lambda i, label: {"labels": label, "pixel_values": picture(i, label)})
    done = run(tmp_path, FineTuning(), data)
    check(done)
    assert done.probe.class_names == CLASSES
    assert "id2label" in done.fact("class names")


def test_label_before_the_image(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            label, image = batch
            return image, label

    check(run(tmp_path, Module(), data_of(lambda i, label: (label, picture(i, label)))))


def test_index_image_and_label(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            _, image, label = batch
            return image, label

    check(run(tmp_path, Module(), data_of(lambda i, label: (i, picture(i, label), label))))


def test_patient_ids_beside_the_labels(tmp_path):
    def item(i, label):
        return {"patient": 100 + i // 2, "age": 60 + i, "image": picture(i, label), "label": label}

    done = run(tmp_path, ByKey(), data_of(item))
    check(done)
    assert done.fact("labels") == "class indices in batch[label]"


def test_patient_ids_before_the_labels_in_a_tuple(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            image, _, label = batch
            return image, label

    data = data_of(lambda i, label: (picture(i, label), 5000 + i, label))
    check(run(tmp_path, Module(), data))


def test_text_in_the_batch(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            image, _, label, _ = batch
            return image, label

    def item(i, label):
        return picture(i, label), f"/data/{i}.png", label, CLASSES[label]

    check(run(tmp_path, Module(), data_of(item)))


def test_labels_as_arrays_of_one_number(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            image, label = batch
            return image, label[:, 0]

    data = data_of(lambda i, label: (picture(i, label), np.array([label])))
    check(run(tmp_path, Module(), data))


def test_images_alone(tmp_path):
    class Module(Classifier):
        def training_step(self, batch, batch_idx):
            return self(batch).logsumexp(dim=1).mean()

        def validation_step(self, batch, batch_idx):
            self.record(batch, None, self(batch).softmax(dim=1))

    done = run(tmp_path, Module(), data_of(picture))
    check(done, labels=False, notes=("no labels: reliance on attributes is not measured",))
    assert "balanced" not in done.said


def test_unlabelled_samples(tmp_path):
    class Module(Classifier):
        def training_step(self, batch, batch_idx):
            images, labels = batch
            return F.cross_entropy(self(images), labels, ignore_index=-1)

    labels = [-1 if i % 3 == 0 else label for i, label in enumerate(labels_of(18))]
    data = data_of(lambda i, _: (picture(i, 0), labels[i]))
    done = run(tmp_path, Module(), data)
    assert (done.probe.targets >= 0).all()  # those with labels are preferred
    check(done)


def test_few_samples_of_which_some_are_unlabelled(tmp_path):
    class Module(Classifier):
        def training_step(self, batch, batch_idx):
            images, labels = batch
            return F.cross_entropy(self(images), labels, ignore_index=-1)

    data = data_of(lambda i, label: (picture(i, label), -1 if i == 2 else label), count=5)
    done = run(tmp_path, Module(), data)
    check(done, labels=False, notes=("some samples have no label", "no labels"))


def test_pil_images_that_the_collate_function_converts(tmp_path):
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def collate(items):
        images, labels = zip(*items, strict=True)
        return torch.stack([to_tensor(image) for image in images]), torch.tensor(labels)

    def item(i, label):
        pixels = (picture(i, label) * 255).round().byte().permute(1, 2, 0).numpy()
        return Image.fromarray(pixels), label

    done = run(tmp_path, Classifier(), data_of(item, collate_fn=collate))
    check(done)
    check_pictures(done)


def test_batch_as_a_list_of_items(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            images, labels = zip(*batch, strict=True)
            return torch.stack(images), torch.tensor(labels)

    check(run(tmp_path, Module(), pairs(collate_fn=list)))


def test_tensor_data_set(tmp_path):
    labels = torch.tensor(labels_of(18))
    images = torch.stack([picture(i, int(label)) for i, label in enumerate(labels)])
    done = run(tmp_path, Classifier(), DataLoader(TensorDataset(images, labels), batch_size=6))
    check(done)
    assert sorted(done.probe.targets.tolist()) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("names", [CLASSES, list(CLASSES)])
def test_class_names_as_given(tmp_path, names):
    done = run(tmp_path, Classifier(), pairs(), cam=callback(class_names=names))
    check(done)
    assert done.probe.class_names == CLASSES
    assert done.fact("class names") == "3, as given"
    assert any("disc-" in tag for tag in done.drawn())


def test_images_of_different_sizes_one_by_one(tmp_path):
    def item(i, label):
        image = picture(i, label)
        return (image if i % 2 else image[:, :24]), label

    done = run(tmp_path, Classifier(), data_of(item, count=6, batch_size=1))
    assert done.probe.images.shape == (6, 3, 32, 32)
    (note,) = (note for note in done.notes if "size" in note)
    assert "padded with zeros to 32×32" in note
