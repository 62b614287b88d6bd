"""Fields of a batch that are easily taken for something else."""

import pytest
import torch
from helpers.real_data import (
    SIDE,
    ByKey,
    Classifier,
    Recorded,
    check,
    data_of,
    features,
    labels_of,
    network,
    object_mask,
    picture,
    run,
)
from helpers.training import QUIET
from torch import nn
from torch.nn import functional as F

pytestmark = QUIET


class HuggingFace(ByKey):
    image, label = "pixel_values", "labels"


def test_mask_of_padding(tmp_path):
    """As for detection transformers: it says which pixels are no padding, not where objects are."""

    def item(i, label):
        valid = torch.ones(SIDE, SIDE, dtype=torch.long)
        valid[SIDE - i % 4 :] = 0
        return {"pixel_values": picture(i, label), "pixel_mask": valid, "labels": label}

    done = run(tmp_path, HuggingFace(), data_of(item))
    check(done)
    assert done.probe.foreground is None


def test_mask_that_is_full_everywhere(tmp_path):
    def item(i, label):
        valid = torch.ones(1, SIDE, SIDE)
        return {"image": picture(i, label), "valid": valid, "label": label}

    done = run(tmp_path, ByKey(), data_of(item))
    check(done)
    assert done.probe.foreground is None


class SmallMaps(Recorded):
    """A segmentation as of transformers: `labels` are pixels, logits are a quarter of the size."""

    def __init__(self):
        super().__init__()
        self.body, self.head = features(), nn.Conv2d(8, 3, 2, stride=2)

    def forward(self, pixel_values, labels=None):
        logits = self.head(self.body(pixel_values))
        return {"logits": logits}

    def training_step(self, batch, batch_idx):
        logits = F.interpolate(self(**batch)["logits"], size=batch["labels"].shape[-2:])
        return F.cross_entropy(logits, batch["labels"])

    def validation_step(self, batch, batch_idx):
        self.record(batch["pixel_values"], None, self(**batch)["logits"].softmax(dim=1))


def test_segmentation_with_labels_as_pixels_and_small_logits(tmp_path):
    def item(i, label):
        return {"pixel_values": picture(i, label), "labels": object_mask(i).long() * (1 + i % 2)}

    done = run(tmp_path, SmallMaps(), data_of(item))
    assert sorted(done.probe.targets.tolist()) == [1, 1, 1, 2, 2, 2]
    for row, mask in enumerate(done.probe.foreground):
        assert torch.equal(mask, object_mask(int(done.probe.ids[row].split("-")[-1])))


def test_masks_of_another_size(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            return batch[:2]

    def item(i, label):
        return picture(i, label), label, object_mask(i)[::2, ::2].long()

    done = run(tmp_path, Module(), data_of(item))
    check(done)


def test_masks_by_key_of_another_size(tmp_path):
    def item(i, label):
        return {"image": picture(i, label), "label": label, "mask": object_mask(i)[::2, ::2]}

    done = run(tmp_path, ByKey(), data_of(item))
    check(done, notes=("masks in batch[mask] have another size",))


def as_lists(items):
    return tuple(zip(*items, strict=True))


class OfTargets(Recorded):
    """Several labels per image, of its boxes."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, targets = batch
        labels = torch.stack([F.one_hot(t["labels"], 3).sum(dim=0).clamp(max=1) for t in targets])
        return F.binary_cross_entropy_with_logits(self(torch.stack(images)), labels.float())

    def validation_step(self, batch, batch_idx):
        images = torch.stack(batch[0])
        self.record(images, None, self(images).softmax(dim=1))


def test_images_without_boxes(tmp_path):
    def item(i, label):
        count = i % 3
        boxes = torch.tensor([[4.0, 4.0, 20.0, 20.0]]).expand(count, 4)
        return picture(i, label), {"boxes": boxes, "labels": torch.full((count,), label)}

    done = run(tmp_path, OfTargets(), data_of(item, count=5, collate_fn=as_lists))
    check(done, labels=False, notes=("some samples have no label", "masks are empty", "no labels"))


def test_masks_of_instances(tmp_path):
    def item(i, label):
        count = 1 + i % 3
        boxes = torch.tensor([[4.0, 4.0, 20.0, 20.0]]).expand(count, 4)
        masks = torch.stack([object_mask(i + n) for n in range(count)]).to(torch.uint8)
        labels = torch.full((count,), label)
        return picture(i, label), {"boxes": boxes, "labels": labels, "masks": masks}

    class Module(OfTargets):
        def validation_step(self, batch, batch_idx):
            images = torch.stack(batch[0])
            labels = torch.stack([t["labels"][0] for t in batch[1]])
            self.record(images, labels, self(images).softmax(dim=1))

    done = run(tmp_path, Module(), data_of(item, collate_fn=as_lists))
    check(done)
    for row, mask in enumerate(done.probe.foreground):
        index = int(done.probe.ids[row].split("-")[-1])
        parts = [object_mask(index + n) for n in range(1 + index % 3)]
        assert torch.equal(mask, torch.stack(parts).any(dim=0))


def test_crops_of_several_sizes(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            (large, _), labels = batch
            return large, labels

    def item(i, label):
        return (picture(i, label), picture(i, label)[:, :16, :16]), label

    check(run(tmp_path, Module(), data_of(item)))


def test_images_without_a_channel_axis(tmp_path):
    class Module(Classifier):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            images, labels = batch
            return images.unsqueeze(1), labels

    data = data_of(lambda i, label: (picture(i, label, channels=1)[0], label))
    check(run(tmp_path, Module(network(channels=1)), data))


def test_images_without_a_channel_axis_in_the_batch(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            return self.net(images.unsqueeze(1))

    data = data_of(lambda i, label: (picture(i, label, channels=1)[0], label))
    with pytest.raises(ValueError, match=r"images as tensors \(B, C, H, W\).*\[0\]: shape"):
        run(tmp_path, Module(network(channels=1)), data)


def test_depth_beside_the_image(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            return batch["colours"], batch["label"]

    def item(i, label):
        return {"depth": picture(i, 0, channels=1), "colours": picture(i, label), "label": label}

    done = run(tmp_path, Module(), data_of(item))
    check(done)


def test_label_under_a_rare_name_among_other_numbers(tmp_path):
    """Of several whole numbers the one with a name for labels counts."""

    class Module(ByKey):
        label = "diagnosis"

    def item(i, label):
        return {"image": picture(i, label), "diagnosis": label, "hospital": i % 4, "age": 40 + i}

    done = run(tmp_path, Module(), data_of(item))
    check(done)


def test_labels_of_one_class_only(tmp_path):
    done = run(tmp_path, Classifier(), data_of(lambda i, _: (picture(i, 1), 1)))
    check(done, notes=("images of one class only",))
    assert labels_of(1) == [0]
