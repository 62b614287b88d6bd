"""Data and models that look like something else, and what is said of them."""

import pytest
import torch
from helpers.real_data import (
    Binary,
    ByKey,
    Classifier,
    callback,
    check,
    data_of,
    network,
    picture,
    run,
)
from torch import nn
from torch.nn import functional as F


class Ages(Classifier):
    def __init__(self):
        super().__init__(network(1))

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self(batch[0])[:, 0], batch[1].float())

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("val_loss", self.training_step(batch, batch_idx))


def first_output(output):
    return output[:, 0]


@pytest.mark.parametrize("target", ["label", first_output], ids=["default", "as the note says"])
def test_regression_of_whole_numbers(tmp_path, target):
    ages = data_of(lambda i, label: (picture(i, label), 20 + 3 * i))
    done = run(tmp_path, Ages(), ages, cam=callback(target=target))
    assert done.probe.targets is None
    assert "taken for a regression, which target=lambda output: output[:, 0]" in done.notes[0]
    assert "one value per image" in done.fact("output")


def test_labels_of_minus_one_and_one(tmp_path):
    class Hinge(Binary):
        def __init__(self):
            super().__init__(network(1))

        def read(self, batch):
            return batch[0], ((batch[1] + 1) // 2)[:, None]

    signs = data_of(lambda i, label: (picture(i, label), 1 if label else -1))
    done = run(tmp_path, Hinge(), signs)
    check(done)
    assert set(done.probe.targets.tolist()) == {0, 1}
    assert "labels -1 and 1, taken for classes 0 and 1" in done.fact("labels")


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.uint16])
def test_images_of_other_integers(tmp_path, dtype):
    class Module(Classifier):
        def forward(self, images):
            return self.net(images.float() / 4095)

    def item(i, label):
        return (picture(i, label) * 4095).round().to(torch.int32).to(dtype), label

    done = run(tmp_path, Module(), data_of(item))
    assert done.probe.integer_dtype is dtype
    seen = {image.float().sum().item(): p for image, _, p in done.module.seen}
    own = [
        seen[image.sum().item()][label]
        for image, label in zip(done.probe.images, done.probe.targets, strict=True)
    ]
    assert abs(done.scalar() - float(torch.stack(own).mean())) < 1e-5


class Body(Classifier):
    """Features of eight numbers and a head of three classes."""

    def __init__(self):
        super().__init__()
        self.body, self.head = network(8), nn.Linear(8, 3)


def test_features_beside_the_scores_in_a_dict(tmp_path):
    class Module(Body):
        def forward(self, images):
            found = self.body(images)
            return {"features": found, "pred": self.head(found)}

        def logits(self, images):
            return self(images)["pred"]

    done = run(tmp_path, Module(), data_of(lambda i, label: (picture(i, label), label)))
    check(done)
    assert "3 classes in output[pred]" in done.fact("output")


class Embedding(Body):
    def forward(self, images):
        return self.body(images)

    def logits(self, images):
        return self.head(self(images))


def test_features_and_a_classifier_in_the_step(tmp_path):
    done = run(tmp_path, Embedding(), data_of(lambda i, label: (picture(i, label), label)))
    assert "labels 0 to 2, but 8 outputs" in done.notes[-1]
    assert "forward=lambda module, images: module.classifier(module(images))" in done.notes[-1]


def test_features_and_a_classifier_with_forward(tmp_path):
    cam = callback(forward=lambda module, images: module.head(module(images)))
    data = data_of(lambda i, label: (picture(i, label), label))
    check(run(tmp_path, Embedding(), data, cam=cam))


def test_scores_of_one_pixel(tmp_path):
    class Module(Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(*network()[0], nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 3, 1))

        def logits(self, images):
            return self(images).flatten(1)

    done = run(tmp_path, Module(), data_of(lambda i, label: (picture(i, label), label)))
    check(done)
    assert done.fact("output") == "3 classes"


def test_boxes_within_0_and_1(tmp_path):
    def item(i, label):
        box = torch.tensor([0.5, 0.5, 0.4, 0.4])
        return {"image": picture(i, label), "label": label, "bbox": box}

    done = run(tmp_path, ByKey(), data_of(item))
    check(done, notes=("boxes lie within 0 and 1, not in pixels, and are not used",))
    assert done.probe.boxes is None


def test_labels_from_one_up(tmp_path):
    class Module(Classifier):
        def __init__(self):
            super().__init__(network(4))

    done = run(tmp_path, Module(), data_of(lambda i, label: (picture(i, label), label + 1)))
    check(done, notes=("where labels start at 1 give Probe(images, targets - 1)",))


def test_labels_from_one_up_to_the_number_of_classes(tmp_path):
    class Module(Classifier):
        def read(self, batch):
            return batch[0], batch[1] - 1

    data = data_of(lambda i, label: (picture(i, label), label + 1))
    with pytest.raises(ValueError, match=r"got 1 to 3. Where they start at 1 give probe=Probe"):
        run(tmp_path, Module(), data)


def test_scores_that_are_said_to_be_probabilities(tmp_path):
    data = data_of(lambda i, label: (picture(i, label), label))
    module = Classifier()
    nn.init.constant_(module.net[-1].bias, -3.0)
    with pytest.raises(ValueError, match=r"within 0 and 1 as scores='probabilities' says, got -"):
        run(tmp_path, module, data, cam=callback(scores="probabilities"))


def raising(output):
    return output["nope"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"forward": lambda images: images}, r"forward= as a function of the module and images"),
        ({"output": raising}, r"output= as a function of the model's output \(tensor: shape"),
    ],
    ids=["forward", "output"],
)
def test_a_function_that_raises(tmp_path, options, match):
    data = data_of(lambda i, label: (picture(i, label), label))
    with pytest.raises(ValueError, match=match):
        run(tmp_path, Classifier(), data, cam=callback(**options))
