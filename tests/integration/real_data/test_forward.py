"""How models are called: `forward(batch)`, by keyword, with a table, not at all; `forward=`."""

import pytest
import torch
from helpers.real_data import Classifier, callback, check, data_of, network, pairs, picture, run
from helpers.training import QUIET
from torch import nn
from torch.nn import functional as F

pytestmark = QUIET


class OfBatch(Classifier):
    def forward(self, batch):
        return self.net(batch["image"])

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch), batch["label"])

    def validation_step(self, batch, batch_idx):
        self.record(batch["image"], batch["label"], self(batch).softmax(dim=1))


class OfTuple(Classifier):
    def forward(self, batch):
        images, _ = batch
        return self.net(images)

    def logits(self, images):
        return self((images, None))


class ByKeyword(Classifier):
    def forward(self, *, pixels):
        return self.net(pixels)

    def logits(self, images):
        return self(pixels=images)


class WithoutForward(Classifier):
    forward = None

    def __init__(self):
        super().__init__()
        del self.net
        self.encoder, self.head = network(8), nn.Linear(8, 3)

    def logits(self, images):
        return self.head(self.encoder(images))


# A module that defines no forward at all, as in many tutorials.
del WithoutForward.forward
WithoutForward.forward = nn.Module.forward


class WithTable(Classifier):
    """Image and a row of a table."""

    def __init__(self):
        super().__init__()
        self.body, self.head = network(8), nn.Linear(8 + 2, 3)

    def forward(self, images, table):
        return self.head(torch.cat([self.body(images), table], dim=1))

    def training_step(self, batch, batch_idx):
        images, table, labels = batch
        return F.cross_entropy(self(images, table), labels)

    def validation_step(self, batch, batch_idx):
        images, table, labels = batch
        # The probe holds no table: its mean stands for each row.
        logits = self(images, torch.zeros_like(table))
        self.record(images, labels, logits.softmax(dim=1))


def by_key():
    return data_of(lambda i, label: {"image": picture(i, label), "label": label})


def with_table():
    return data_of(lambda i, label: (picture(i, label), torch.tensor([i / 9, -i / 7]), label))


CASES = {
    "batch": (OfBatch, by_key, lambda module, images: module({"image": images})),
    "tuple": (OfTuple, pairs, lambda module, images: module((images, None))),
    "keyword": (ByKeyword, pairs, lambda module, images: module(pixels=images)),
    "none": (WithoutForward, pairs, lambda module, images: module.logits(images)),
    "table": (
        WithTable,
        with_table,
        lambda module, images: module(images, images.new_zeros(len(images), 2)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_forward_as_a_function(tmp_path, case):
    module, data, forward = CASES[case]
    done = run(tmp_path, module(), data(), cam=callback(forward=forward))
    check(done)


@pytest.mark.parametrize("case", CASES)
def test_without_the_function_there_is_one_clear_error(tmp_path, case):
    module, data, _ = CASES[case]
    trained = module()
    trained.on_train_batch_start = lambda *_: pytest.fail("an error after training began")
    with pytest.raises(ValueError, match=r"Give forward=, a function that calls it, for example"):
        run(tmp_path, trained, data())


def test_the_error_names_the_module_that_could_be_called(tmp_path):
    with pytest.raises(ValueError, match=r"forward=lambda module, images: module\.encoder\(images"):
        run(tmp_path, WithoutForward(), pairs())


def test_forward_with_optional_arguments(tmp_path):
    class Module(Classifier):
        def forward(self, images, labels=None, *, return_features=False):
            return self.net(images)

    check(run(tmp_path, Module(), pairs()))


def test_forward_that_returns_the_loss_too(tmp_path):
    class Module(Classifier):
        def forward(self, images, labels=None):
            logits = self.net(images)
            loss = None if labels is None else F.cross_entropy(logits, labels)
            return loss, logits

        def training_step(self, batch, batch_idx):
            return self(*batch)[0]

        def logits(self, images):
            return self(images)[1]

    check(run(tmp_path, Module(), pairs()))
