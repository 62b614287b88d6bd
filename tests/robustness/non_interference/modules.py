"""Small Lightning modules, each with a property that an intrusive monitor would disturb."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from robustness.non_interference.data import CLASSES
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Net(pl.LightningModule):
    """Convolutions, a schedule per step, logged metrics, noise from all random streams."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = self.block(3, 8)
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.drop: nn.Module = nn.Identity()
        self.head = nn.Linear(8, CLASSES)

    def block(self, channels: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.ReLU())

    def features(self, images: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(images))
        return found

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(features.mean(dim=(2, 3))))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images))

    def loss(self, batch: Any) -> Tensor:
        noise = random.random() + float(np.random.rand()) + torch.rand((), device=self.device)  # noqa: NPY002
        loss = F.cross_entropy(self(batch[0] + 0.01 * noise).float(), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        right = self(batch[0]).argmax(1) == batch[1]
        self.log("accuracy", right.float().mean(), prog_bar=True)
        self.log("noise", torch.rand(()))

    def configure_optimizers(self) -> Any:
        wanted = [each for each in self.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(wanted, lr=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=40)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Normed(Net):
    """BatchNorm and dropout, which in training mode write buffers and draw random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def block(self, channels: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())


class WithDropout(Net):
    """Dropout without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)


class PartlyFrozen(Normed):
    """A frozen first part that stays in evaluation mode when `train` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.switched = 0
        self.first.requires_grad_(requires_grad=False)
        self.first.eval()

    def train(self, mode: bool = True) -> PartlyFrozen:
        super().train(mode)
        self.first.eval()
        self.switched = getattr(self, "switched", 0) + 1
        return self


class Frozen(Normed):
    """Only the last layer is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first.requires_grad_(requires_grad=False)
        self.second.requires_grad_(requires_grad=False)


class Shared(Normed):
    """A layer that runs twice, a module with two names, and a weight of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.again.weight = self.second[0].weight  # type: ignore[assignment]
        self.alias = self.first

    def features(self, images: Tensor) -> Tensor:
        once: Tensor = self.second(self.alias(images))
        return once + F.relu(self.again(self.first(images)))


class Checkpointed(Normed):
    """Activation checkpointing: parts are recomputed in the backward pass.

    Args:
        reentrant: the older variant, which `torch.autograd.grad` does not support.
        parts: those that are recomputed, of `first`, `second` and `classify`.
    """

    def __init__(self, parts: tuple[str, ...], *, reentrant: bool) -> None:
        super().__init__()
        self._parts = parts
        self._reentrant = reentrant

    def forward(self, images: Tensor) -> Tensor:
        images = images.clone().requires_grad_() if self.training else images
        for name in ("first", "second", "classify"):
            images = self._run(name, images)
        return images

    def _run(self, name: str, images: Tensor) -> Tensor:
        part: Callable[[Tensor], Tensor] = getattr(self, name)
        if name not in self._parts:
            return part(images)
        found: Tensor = checkpoint(part, images, use_reentrant=self._reentrant)
        return found


class WithoutGraph(PartlyFrozen):
    """Runs its frozen part without an autograd graph.

    Args:
        context: `torch.no_grad` or `torch.inference_mode`.
    """

    def __init__(self, context: Callable[[], Any]) -> None:
        super().__init__()
        self._context = context

    def features(self, images: Tensor) -> Tensor:
        with self._context():
            found = self.first(images)
        features: Tensor = self.second(found.clone())
        return features


class Buffered(Normed):
    """Writes, replaces and adds buffers in each forward pass, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * images.detach().mean().float()
        if "last" not in self._buffers:
            self.register_buffer("last", self.mean.clone(), persistent=False)
        return super().forward(images + 0 * self.mean)


class TwoOptimizers(Normed):
    """Manual optimization with two optimizers; gradients are accumulated over three batches."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch) / 3)
        if batch_idx % 3 == 2:
            for optimizer in self.optimizers():  # type: ignore[union-attr]
                self.clip_gradients(optimizer, 0.5, "norm")
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        body = [*self.first.parameters(), *self.second.parameters()]
        head = self.head.parameters()
        return [torch.optim.Adam(body, lr=0.01), torch.optim.SGD(head, lr=0.05, momentum=0.9)]


class Raising(Normed):
    """From the second epoch on, raises in the forward pass of the callback only."""

    def classify(self, features: Tensor) -> Tensor:
        ours = torch.is_grad_enabled() and not self.head.training
        if ours and self.current_epoch:
            raise RuntimeError("raised in the evaluation")
        return super().classify(features)
