"""Kinds of labels: binary, one hot, several per image, several tasks."""

import torch
from helpers.real_data import Binary, Classifier, Multi, check, data_of, network, picture, run
from helpers.training import QUIET
from torch import nn
from torch.nn import functional as F

pytestmark = QUIET


def test_binary_labels_as_columns_of_floats(tmp_path):
    data = data_of(lambda i, label: (picture(i, label), torch.tensor([float(label > 0)])))
    done = run(tmp_path, Binary(network(1)), data)
    check(done)
    assert done.fact("output") == "one logit of two classes"
    assert "class indices, given as floats" in done.fact("labels")


def test_binary_logits_without_a_class_axis(tmp_path):
    class Module(Binary):
        def forward(self, images):
            return self.net(images)[:, 0]

    data = data_of(lambda i, label: (picture(i, label), float(label > 0)))
    check(run(tmp_path, Module(network(1)), data))


def test_binary_labels_as_integers(tmp_path):
    class Module(Binary):
        def forward(self, images):
            return self.net(images)[:, 0]

    check(run(tmp_path, Module(network(1)), data_of(lambda i, _: (picture(i, i % 2), i % 2))))


def test_one_hot_labels_and_a_softmax(tmp_path):
    class Module(Classifier):
        def forward(self, images):
            return self.net(images).softmax(dim=1)

        def training_step(self, batch, batch_idx):
            images, labels = batch
            return -(self(images).log() * labels).sum(dim=1).mean()

        def validation_step(self, batch, batch_idx):
            images, labels = batch
            self.record(images, labels.argmax(dim=1), self(images))

    def item(i, label):
        return picture(i, label), F.one_hot(torch.tensor(label), 3).float()

    done = run(tmp_path, Module(), data_of(item))
    check(done)
    assert "one-hot vectors" in done.fact("labels")


FINDINGS = [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0]]
SEVERAL = ("several labels per image: reliance on attributes is not measured",)


def several(first=()):
    rows = [*first, *FINDINGS]

    def item(i, label):
        return picture(i, label), torch.tensor(rows[i % len(rows)], dtype=torch.float32)

    return data_of(item)


def test_several_labels(tmp_path):
    done = run(tmp_path, Multi(network(4)), several())
    check(done, notes=SEVERAL)
    assert "4 labels per image" in done.fact("labels")


def test_several_labels_where_the_first_image_has_none(tmp_path):
    done = run(tmp_path, Multi(network(4)), several(first=[[0, 0, 0, 0]]))
    check(done, notes=SEVERAL)


def test_several_labels_of_which_most_samples_have_one(tmp_path):
    """Not one hot, although a small probe might look so: other samples say otherwise."""
    rows = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]

    def item(i, label):
        return picture(i, label), torch.tensor(rows[i % len(rows)], dtype=torch.float32)

    done = run(tmp_path, Multi(network(3)), data_of(item))
    check(done, notes=SEVERAL)


def test_several_labels_as_sigmoids(tmp_path):
    class Module(Multi):
        def forward(self, images):
            return self.net(images).sigmoid()

        def training_step(self, batch, batch_idx):
            images, labels = batch
            return F.binary_cross_entropy(self(images), labels)

        def validation_step(self, batch, batch_idx):
            images, labels = batch
            self.record(images, labels, self(images))

    done = run(tmp_path, Module(network(4)), several())
    check(done, notes=SEVERAL)
    assert "sigmoid" in done.fact("scores")


class TwoTasks(Classifier):
    """Colours and shapes of one image by two heads; the colour's labels come first."""

    def __init__(self):
        super().__init__()
        self.body, self.colour, self.shape = network(8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, images):
        found = self.body(images)
        return {"colour": self.colour(found), "shape": self.shape(found)}

    def training_step(self, batch, batch_idx):
        images, labels = batch
        out = self(images)
        shape = F.cross_entropy(out["shape"], labels[:, 1])
        return F.cross_entropy(out["colour"], labels[:, 0]) + shape

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.record(images, labels[:, 0], self(images)["colour"].softmax(dim=1))


def test_two_tasks_in_one_tensor_of_labels(tmp_path):
    data = data_of(lambda i, label: (picture(i, label), torch.tensor([label, i % 2])))
    done = run(tmp_path, TwoTasks(), data)
    check(done, notes=("each image has 2 integer labels: the first is taken",))
    assert "[colour]" in done.fact("output")


def test_two_tasks_by_name(tmp_path):
    class Module(TwoTasks):
        def training_step(self, batch, batch_idx):
            labels = torch.stack([batch["colour"], batch["shape"]], dim=1)
            return super().training_step((batch["image"], labels), batch_idx)

        def validation_step(self, batch, batch_idx):
            self.record(
                batch["image"], batch["colour"], self(batch["image"])["colour"].softmax(dim=1)
            )

    data = data_of(lambda i, c: {"image": picture(i, c), "colour": c, "shape": i % 2})
    done = run(tmp_path, Module(), data)
    check(done, notes=("batch[shape] might be labels too",))


def test_two_binary_tasks_and_the_head_of_the_second(tmp_path):
    """Two columns of 0 and 1 and a head of two classes: tasks, not several labels per image."""

    class Module(Classifier):
        def __init__(self):
            super().__init__()
            self.body, self.sick, self.old = network(8), nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, images):
            found = self.body(images)
            return {"sick": self.sick(found), "old": self.old(found)}

        def training_step(self, batch, batch_idx):
            images, labels = batch["image"], batch["labels"]
            out = self(images)
            old = F.cross_entropy(out["old"], labels["old"])
            return F.cross_entropy(out["sick"], labels["sick"]) + old

        def validation_step(self, batch, batch_idx):
            out = self(batch["image"])["sick"].softmax(dim=1)
            self.record(batch["image"], batch["labels"]["sick"], out)

    def item(i, label):
        return {"image": picture(i, label), "labels": {"sick": i % 2, "old": (i // 2) % 2}}

    done = run(tmp_path, Module(), data_of(item))
    check(done, notes=("batch[labels][old] might be labels too",))


def test_soft_labels(tmp_path):
    class Module(Classifier):
        def validation_step(self, batch, batch_idx):
            images, labels = batch
            self.record(images, labels.argmax(dim=1), self(images).softmax(dim=1))

    def item(i, label):
        return picture(i, label), F.one_hot(torch.tensor(label), 3) * 0.85 + 0.05

    done = run(tmp_path, Module(), data_of(item))
    check(done, notes=("labels are probabilities",))
