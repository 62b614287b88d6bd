"""`CAMCallback()` as it is, with all that it does by default, on each kind of task."""

import numpy as np
import pytest
import torch
from helpers.real_data import (
    Binary,
    Classifier,
    Multi,
    Probabilities,
    bytes_of,
    check,
    data_of,
    features,
    network,
    object_mask,
    pairs,
    picture,
    run,
)
from helpers.training import QUIET
from torch import nn
from torch.nn import functional as F

from lightning_cam import CAMCallback

pytestmark = QUIET


class Masked(Classifier):
    def read(self, batch):
        return batch[:2]


class Bytes(Classifier):
    def forward(self, images):
        return self.net(images.float() / 255)


class PerPixel(Classifier):
    def __init__(self):
        super().__init__(nn.Sequential(features(), nn.Conv2d(8, 3, 1), nn.Upsample(scale_factor=2)))

    def validation_step(self, batch, batch_idx):
        self.record(batch[0], None, self(batch[0]).softmax(dim=1))


class PerPixelWithLabels(PerPixel):
    """Beside the classes of pixels the batch holds a class of the image."""

    def read(self, batch):
        return batch[0], batch[1]


def several(i, label):
    return picture(i, label), F.one_hot(torch.tensor([label, i % 4]), 4).amax(dim=0).float()


def binary(i, label):
    return picture(i, label), torch.tensor([float(label > 0)])


def classes_of_pixels(i):
    return object_mask(i).long() * (1 + i % 2)


KINDS = {
    "classes": (Classifier, pairs),
    "probabilities": (Probabilities, pairs),
    "masks": (Masked, lambda: data_of(lambda i, k: (picture(i, k), k, object_mask(i)))),
    "several labels": (lambda: Multi(network(4)), lambda: data_of(several)),
    "binary": (lambda: Binary(network(1)), lambda: data_of(binary)),
    "bytes": (Bytes, lambda: data_of(lambda i, k: (bytes_of(picture(i, k)), k))),
    "pixels": (PerPixel, lambda: data_of(lambda i, k: (picture(i, k), classes_of_pixels(i)))),
    "pixels and labels": (
        PerPixelWithLabels,
        lambda: data_of(
            lambda i, k: {0: picture(i, k), 1: classes_of_pixels(i), "label": 1 + i % 2}
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_by_default(tmp_path, kind):
    module, data = KINDS[kind]
    done = run(tmp_path, module(), data(), cam=CAMCallback(), max_epochs=2)
    assert len(done.probe) == 18
    tags = done.events.Tags()["images"]
    assert {"cam/timeline", "cam/worst"} <= set(tags)
    assert sum(tag.startswith("cam/overlay/") for tag in tags) >= 16
    assert np.isfinite(done.scalar("cam/entropy"))
    if "pixels" not in kind:
        notes = [note for note in done.notes if not note.startswith("classes balanced")]
        check(done, notes=notes)
        assert len(notes) == (kind == "several labels")
    assert next(tmp_path.rglob("report.html")).stat().st_size > 0
