"""The first evaluation compares its outputs with those inside `validation_step`."""

import warnings

import pytest
import torch
from helpers.training import QUIET
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import CAMCallback

pytestmark = QUIET


def loader():
    torch.manual_seed(0)
    images, labels = torch.rand(24, 3, 16, 16), torch.arange(24) % 2
    images[labels == 1, 0] /= 2
    return DataLoader(TensorDataset(images, labels), 6)


class Module(LightningModule):
    """What people write; subclasses differ in `validation_step`."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 2),
        )
        self.hooks_left = []

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch):
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch):
        self.log("val_loss", self.training_step(batch))

    def on_validation_epoch_end(self):
        self.hooks_left.append(sum(len(m._forward_hooks) for m in self.modules()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Normalizing(Module):
    def validation_step(self, batch):
        self.log("val_loss", functional.cross_entropy(self((batch[0] - 0.4) / 0.2), batch[1]))


class Smaller(Module):
    def validation_step(self, batch):
        self.log("val_loss", functional.cross_entropy(self(batch[0][..., ::2, ::2]), batch[1]))


class WithDropout(Module):
    def forward(self, images):
        return self.net(functional.dropout(images, 0.5))


class CallingTheNet(Module):
    def validation_step(self, batch):
        self.log("val_loss", functional.cross_entropy(self.net(batch[0]), batch[1]))


class CallingTwice(Module):
    """The second time on mirrored images, which are not the probe's."""

    def validation_step(self, batch):
        logits = self(batch[0]) + self(batch[0].flip(-1))
        self.log("val_loss", functional.cross_entropy(logits, batch[1]))


class CallingNothingOfOurs(Module):
    def validation_step(self, batch):
        features = self.net[:4]((batch[0] - 0.4) / 0.2)
        weight, bias = self.net[4].weight, self.net[4].bias
        logits = functional.linear(features, weight, bias)
        self.log("val_loss", functional.cross_entropy(logits, batch[1]))


def messages_of(module, folder, **arguments):
    """Train and return the warnings about the comparison."""
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[CAMCallback(alerts=(), report=False, **arguments)],
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, loader(), loader())
    found = [str(each.message) for each in caught]
    return [text for text in found if text.startswith("lightning_cam: cam: on ")]


@pytest.mark.parametrize("kind", [Module, CallingTheNet, CallingTwice, CallingNothingOfOurs])
def test_nothing_is_said_where_the_outputs_are_the_same_or_unknown(tmp_path, kind):
    module = kind()
    assert messages_of(module, tmp_path) == []
    assert set(module.hooks_left) == {0}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Normalizing, ["changes the images", "values -", "forward=lambda module, images:"]),
        (Smaller, ["changes the images", "shape 3×8×8", "on_after_batch_transfer"]),
        (WithDropout, ["called in another way or in another state", "dropout", "forward="]),
    ],
)
def test_one_warning_says_what_differs_and_which_argument_mends_it(tmp_path, kind, words):
    module = kind()
    (message,) = messages_of(module, tmp_path)
    assert "the mean probability of the label is" in message
    assert [word for word in words if word not in message] == []
    assert set(module.hooks_left) == {0}


def test_the_argument_mends_it(tmp_path):
    mended = {"forward": lambda module, images: module((images - 0.4) / 0.2)}
    assert messages_of(Normalizing(), tmp_path, **mended) == []


class Failing(Module):
    def validation_step(self, batch):
        if not self.trainer.sanity_checking:
            raise RuntimeError("of the user")
        return super().validation_step(batch)


def test_no_hook_is_left_where_validation_fails(tmp_path):
    module = Failing()
    with pytest.raises(RuntimeError, match="of the user"):
        messages_of(module, tmp_path)
    assert sum(len(m._forward_hooks) for m in module.modules()) == 0
