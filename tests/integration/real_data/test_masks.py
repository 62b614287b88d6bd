"""Masks, segmentation, boxes and detectors."""

import numpy as np
import pytest
import torch
import torchvision
from helpers.real_data import (
    SIDE,
    ByKey,
    Classifier,
    Listed,
    Recorded,
    callback,
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
from torch.utils.data import DataLoader
from torchvision import tv_tensors

pytestmark = QUIET


class WithMasks(Classifier):
    def read(self, batch):
        images, labels, _ = batch
        return images, labels


def index_of(probe, row):
    return int(probe.ids[row].split("-")[-1])


def check_masks(done, mask=object_mask):
    assert done.probe.foreground is not None
    for row, found in enumerate(done.probe.foreground):
        assert torch.equal(found, mask(index_of(done.probe, row)))


KINDS = {
    "bool": object_mask,
    "bool with a channel": lambda i: object_mask(i)[None],
    "0 and 1": lambda i: object_mask(i).long(),
    "0 and 255": lambda i: object_mask(i).to(torch.uint8) * 255,
    "floats": lambda i: object_mask(i).float(),
    "tv_tensors.Mask": lambda i: tv_tensors.Mask(object_mask(i)),
    "tv_tensors.Mask of 0 and 1": lambda i: tv_tensors.Mask(object_mask(i).to(torch.uint8)),
    "array": lambda i: object_mask(i).numpy().astype(np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_masks_beside_labels(tmp_path, kind):
    data = data_of(lambda i, label: (picture(i, label), label, KINDS[kind](i)))
    done = run(tmp_path, WithMasks(), data)
    check(done)
    check_masks(done)
    assert done.fact("masks") == "batch[2]"


def test_masks_by_key(tmp_path):
    def item(i, label):
        return {"mask": object_mask(i).float(), "image": picture(i, label), "label": label}

    done = run(tmp_path, ByKey(), data_of(item))
    check(done)
    check_masks(done)


def ignored(i):
    mask = object_mask(i).long()
    mask[:3] = 255
    return mask


def test_masks_with_ignored_pixels(tmp_path):
    data = data_of(lambda i, label: (picture(i, label), label, ignored(i)))
    done = run(tmp_path, WithMasks(), data)
    check(done, notes=("mask value 255 is ignored",))
    check_masks(done)


def test_masks_that_hold_the_images_class(tmp_path):
    """Class k of the labels is value k + 1 of the pixels: that cannot be known, and is said."""
    data = data_of(lambda i, label: (picture(i, label), label, object_mask(i).long() * (label + 1)))
    done = run(tmp_path, WithMasks(), data)
    check(done, notes=("not the images' labels, and are not used",))
    assert done.probe.foreground is None


# --- segmentation --------------------------------------------------------------------------------


class Segmentation(Recorded):
    """Three classes per pixel: background and two kinds of objects."""

    classes = 3

    def __init__(self):
        super().__init__()
        self.encoder = features(out=12)
        self.head = nn.Conv2d(12, self.classes, 1)
        nn.init.uniform_(self.head.weight, 0, 0.2)  # so that maps are above 0 from the start

    def forward(self, images):
        small = self.head(self.encoder(images))
        return F.interpolate(small, size=images.shape[-2:], mode="bilinear")

    def pixels(self, images):
        return self(images)

    def training_step(self, batch, batch_idx):
        images, masks = batch
        return F.cross_entropy(self.pixels(images), masks.long(), ignore_index=255)

    def validation_step(self, batch, batch_idx):
        images, _ = batch
        self.record(images, None, self.pixels(images).softmax(dim=1))


def class_mask(i):
    return object_mask(i).long() * (1 + i % 2)


def check_segmentation(done):
    """Check that each image's own class is explained, on its own pixels."""
    for row, image in enumerate(done.probe.images):
        assert any(torch.equal(image, fed) for fed, *_ in done.module.seen)
        assert int(done.probe.targets[row]) == 1 + index_of(done.probe, row) % 2
    assert sorted(done.probe.targets.tolist()) == [1, 1, 1, 2, 2, 2]
    check_masks(done)
    assert np.isfinite(done.scalar("cam/enrichment"))
    assert "3 classes per pixel" in done.fact("output")


@pytest.mark.parametrize("kind", ["plain", "tv_tensors.Mask"])
def test_segmentation(tmp_path, kind):
    as_mask = tv_tensors.Mask if kind != "plain" else torch.as_tensor
    data = data_of(lambda i, _: (picture(i, 1 + i % 2), as_mask(class_mask(i))))
    done = run(tmp_path, Segmentation(), data)
    check_segmentation(done)
    assert any("masks hold classes" in note for note in done.notes)


def test_segmentation_with_an_output_as_of_torchvision(tmp_path):
    class Module(Segmentation):
        def forward(self, images):
            scores = super().forward(images)
            return {"out": scores, "aux": scores * 0.5}

        def pixels(self, images):
            return self(images)["out"]

    data = data_of(lambda i, _: (picture(i, 1 + i % 2), class_mask(i)))
    done = run(tmp_path, Module(), data)
    check_segmentation(done)
    assert "output[out]" in done.fact("output")


class BinarySegmentation(Segmentation):
    classes = 1

    def training_step(self, batch, batch_idx):
        images, masks = batch
        return F.binary_cross_entropy_with_logits(self(images), masks.float())

    def validation_step(self, batch, batch_idx):
        images, _ = batch
        self.record(images, None, self(images).sigmoid())


@pytest.mark.parametrize("kind", ["floats", "0 and 1", "tv_tensors.Mask"])
def test_binary_segmentation(tmp_path, kind):
    def item(i, _):
        mask = object_mask(i)[None]
        as_mask = {"floats": mask.float(), "0 and 1": mask.long()}
        return picture(i, 0), as_mask.get(kind, tv_tensors.Mask(mask))

    done = run(tmp_path, BinarySegmentation(), data_of(item))
    check_masks(done)
    assert "one logit of two classes per pixel" in done.fact("output")
    assert np.isfinite(done.scalar("cam/enrichment"))
    snapshot = done.callback._monitor.probe_set.monitors["val"].history.previous
    assert snapshot.classes.tolist() == [1] * len(done.probe)  # the object, not the background


# --- boxes and detectors -------------------------------------------------------------------------

CORNERS = torch.tensor([[4.0, 6.0, 20.0, 18.0], [10.0, 12.0, 30.0, 28.0]])


def boxes_of_format(name):
    form = tv_tensors.BoundingBoxFormat[name]
    boxes = torchvision.ops.box_convert(CORNERS, "xyxy", name.lower())
    return tv_tensors.BoundingBoxes(boxes, format=form, canvas_size=(SIDE, SIDE))


class Listing(Recorded):
    """Classifies images of a list beside their targets, as detectors are fed."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, targets = batch
        labels = torch.stack([target["labels"][0] for target in targets])
        return F.cross_entropy(self(torch.stack(list(images))), labels)

    def validation_step(self, batch, batch_idx):
        images, targets = batch
        images = torch.stack(list(images))
        labels = torch.stack([target["labels"][0] for target in targets])
        self.record(images, labels, self(images).softmax(dim=1))


def as_lists(items):
    return tuple(zip(*items, strict=True))


@pytest.mark.parametrize("form", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_of_any_format(tmp_path, form):
    def item(i, label):
        boxes = {"boxes": boxes_of_format(form), "labels": torch.tensor([label, 2])}
        return picture(i, label), boxes

    done = run(tmp_path, Listing(), data_of(item, collate_fn=as_lists))
    check(done)
    for boxes in done.probe.boxes:
        assert torch.allclose(boxes, CORNERS)


class Detection(Recorded):
    def __init__(self):
        super().__init__()
        self.detector = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=3,
            min_size=64,
            max_size=96,
            box_score_thresh=0.0,
        )

    def forward(self, images, targets=None):
        return self.detector(images, targets)

    def training_step(self, batch, batch_idx):
        return sum(self(*batch).values())

    def validation_step(self, batch, batch_idx):
        images, _ = batch
        self.seen += [(image, None, None) for image in images]
        self(images)


def detection_item(i, label):
    height, width = (64, 96) if i % 2 else (80, 64)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [20.0, 10.0, 60.0, 50.0]])
    image = F.interpolate(picture(i, label)[None], size=(height, width))[0]
    return image, {"boxes": boxes, "labels": torch.tensor([1, 2]), "image_id": i}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["label", "box"])
def test_detector_with_images_of_different_sizes(tmp_path, target):
    loader = data_of(detection_item, count=4, batch_size=2, collate_fn=as_lists)
    cam = callback(target=target, probe_size=4)
    done = run(tmp_path, Detection(), loader, cam=cam)
    assert done.fact("output") == "detections"
    assert done.probe.images.shape[1:] == (3, 80, 96)
    for row, image in enumerate(done.probe.images):
        own, _ = detection_item(index_of(done.probe, row), labels_of(4)[index_of(done.probe, row)])
        assert torch.equal(image[:, : own.shape[1], : own.shape[2]], own)
        assert any(torch.equal(own, fed) for fed, *_ in done.module.seen)
    assert any("padded with zeros" in note for note in done.notes)
    assert all(torch.equal(boxes, detection_item(0, 0)[1]["boxes"]) for boxes in done.probe.boxes)
    snapshot = done.callback._monitor.probe_set.monitors["val"].history.previous
    assert len(snapshot.rows) == (8 if target == "box" else 4)


def test_listed_data_set_of_masks(tmp_path):
    labels = labels_of(12)
    data = Listed(lambda i: (picture(i, labels[i]), labels[i], object_mask(i)), 12)
    data.targets = labels
    done = run(tmp_path, WithMasks(), DataLoader(data, batch_size=5))
    check(done)
    check_masks(done)
