"""Unusual modules: graphs, side effects, outputs and batches."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from helpers.training import Module, convnet, loader
from robustness.unusual.data import Items
from robustness.unusual.training import Training
from torch import nn
from torch.nn import functional as F


class Calling(Module):
    """Its steps call `forward`, which subclasses change."""

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))


# --- graphs --------------------------------------------------------------------------------------


class Frozen(Module):
    """Nothing is trained but a scale of the loss."""

    def __init__(self):
        super().__init__()
        self.net.requires_grad_(requires_grad=False)
        self.scale = nn.Parameter(torch.ones(()))

    def training_step(self, batch, batch_idx):
        return self.scale * F.cross_entropy(self.net(batch[0]), batch[1])


class WithoutGraph(Calling):
    """No gradient in evaluation mode, which it checks itself."""

    context: Any = torch.no_grad

    def forward(self, images):
        if self.training:
            return self.net(images)
        with self.context():
            return self.net(images)


class Inference(WithoutGraph):
    context = torch.inference_mode


class Detaching(Calling):
    def forward(self, images):
        return self.net[6](self.net[:6](images).detach())


class LossInTraining(Module):
    def forward(self, images, labels=None):
        logits = self.net(images)
        return logits if labels is None else F.cross_entropy(logits, labels)

    def training_step(self, batch, batch_idx):
        return self(*batch)

    def validation_step(self, batch, batch_idx):
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())


class DropoutInEvaluation(Calling):
    def forward(self, images):
        return self.net[6](F.dropout(self.net[:6](images), 0.5, training=True))


class Mutating(Calling):
    def forward(self, images):
        images.sub_(0.5).div_(0.5)
        return self.net(images)


class Hooked(Calling):
    def __init__(self):
        super().__init__()
        self.net[2].register_forward_hook(lambda module, args, output: output * 1.5)
        self.net[2].register_forward_pre_hook(lambda module, args: (args[0] + 0.1,))
        self.net[0].register_full_backward_hook(lambda module, grads, _: grads)


class LoggingForward(Calling):
    def forward(self, images):
        logits = self.net(images)
        self.log("mean_logit", logits.mean())
        return logits


class Branching(Calling):
    def forward(self, images):
        features = self.net[:4](images)
        if features.mean() > 0.05:
            features = features * 0.5
        for _ in range(int(images.mean() * 4) + 1):
            features = F.relu(features)
        return self.net[4:](features)


class Remembering(Calling):
    """Counts its calls and keeps features of each."""

    def __init__(self):
        super().__init__()
        self.calls, self.kept = 0, []

    def forward(self, images):
        self.calls += 1
        features = self.net[:6](images)
        self.kept.append(features.detach().mean(0))
        return self.net[6](features)


class Lazy(Calling):
    """Initialises its layers by a pass of its own."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), *convnet()[4:6], nn.LazyLinear(4))

    def configure_optimizers(self):
        self.net(torch.zeros(1, 3, 16, 16))
        return super().configure_optimizers()


class LazyWithDropout(Calling):
    """Its layers are initialised by the first training batch."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), *convnet()[4:6], nn.LazyLinear(4))

    def forward(self, images):
        return self.net(F.dropout(images, 0.1, self.training))


def lazy_until_the_first_batch():
    return Training(LazyWithDropout(), trainer={"num_sanity_val_steps": 0})


class LateHead(Calling):
    """Creates its head in the first forward pass of the training, not before."""

    def __init__(self):
        super().__init__()
        self.head = None

    def forward(self, images):
        features = self.net[:6](images)
        if self.head is None:
            self.head = nn.Linear(features.shape[1], 4)
        return self.head(features)


class LateHeadAndDropout(LateHead):
    """The same; what is drawn for the head shifts all that is drawn later."""

    def forward(self, images):
        return super().forward(F.dropout(images, 0.1, self.training))


class NaNWeights(Calling):
    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            with torch.no_grad():
                self.net[2].weight.fill_(float("nan"))


class NaNLoss(Calling):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * float("nan")


class PatchTransformer(Calling):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Linear(3 * 16, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, images):
        patches = F.unfold(images, 4, stride=4).transpose(1, 2)
        return self.head(self.encoder(self.net(patches)).mean(1))


class CompiledPart(Calling):
    def __init__(self):
        super().__init__()
        self.body = torch.compile(self.net[:4], backend="eager")

    def forward(self, images):
        return self.net[4:](self.body(images))


class TwoInputs(Module):
    def forward(self, images, sizes):
        return self.net(images) + sizes[:, None]

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0], batch[2]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))


def two_inputs():
    data = Items(lambda image, label, index: (image, label, torch.rand(())))
    return Training(TwoInputs(), loader(data), loader(data))


def two_inputs_with_forward():
    def forward(module, images):
        return module(images, torch.zeros(len(images)))

    training = two_inputs()
    training.callback = {"forward": forward}
    return training


# --- no classifier -------------------------------------------------------------------------------


class GAN(pl.LightningModule):
    """Manual optimization; forward makes images from noise."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(8, 3 * 16 * 16), nn.Unflatten(1, (3, 16, 16)))
        self.critic = nn.Sequential(*convnet()[:6], nn.Linear(12, 1))

    def forward(self, noise):
        return self.generator(noise)

    def training_step(self, batch, batch_idx):
        images = batch[0]
        for optimizer, parts in zip(self.optimizers(), ("generator", "critic"), strict=True):
            fake = self(torch.randn(len(images), 8))
            sign = 1 if parts == "critic" else -1
            loss = sign * (self.critic(fake).mean() - self.critic(images).mean())
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.critic(batch[0]).mean())

    def configure_optimizers(self):
        return [torch.optim.SGD(m.parameters(), lr=0.01) for m in (self.generator, self.critic)]


class AutoEncoder(Module):
    """Images in, images out, no labels."""

    def __init__(self):
        super().__init__(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 2, 2))
        )

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self(batch), batch)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.mse_loss(self(batch), batch))


def autoencoder():
    data = Items(lambda image, label, index: image)
    return Training(AutoEncoder(), loader(data), loader(data))


class Contrastive(Module):
    def __init__(self):
        super().__init__()
        self.net[6] = nn.Linear(12, 6)

    def training_step(self, batch, batch_idx):
        (one, two), _ = batch
        return -F.cosine_similarity(self(one), self(two)).mean()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))


def two_views():
    data = Items(lambda image, label, index: ((image, image.flip(2)), label))
    return Training(Contrastive(), loader(data), loader(data))


class Video(Calling):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
            nn.Linear(8, 4),
        )  # fmt: skip


def video():
    data = Items(lambda image, label, index: (torch.stack([image] * 5, dim=1), label))
    return Training(Video(), loader(data), loader(data))


class TextModel(Calling):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.EmbeddingBag(50, 8), nn.Linear(8, 4))


def text():
    data = Items(lambda image, label, index: (torch.arange(10) + label, label))
    return Training(TextModel(), loader(data), loader(data))


# --- trainers ------------------------------------------------------------------------------------


def late_head_without_sanity_check():
    return Training(LateHeadAndDropout(), trainer={"num_sanity_val_steps": 0})


def overfitting():
    return Training(trainer={"overfit_batches": 1})


def limited():
    return Training(trainer={"limit_val_batches": 1})


def fast():
    return Training(trainer={"fast_dev_run": True})


def stopped_in_an_epoch():
    return Training(trainer={"max_steps": 2, "max_epochs": -1, "val_check_interval": 2})


def barebones():
    off = {"logger": None, "enable_progress_bar": None, "enable_model_summary": None}
    return Training(
        trainer={**off, "barebones": True, "log_every_n_steps": None, "enable_checkpointing": None}
    )
