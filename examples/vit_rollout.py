"""A vision transformer: attention rollout beside Grad-CAM, during training.

Rollout multiplies the attention matrices of all blocks and does not depend on the class. Grad-CAM
at the last block's tokens explains the label. Run it with ``python examples/vit_rollout.py``; the
digits on photographs are those of the demo, see ``digits.py``.

For your own data, change these lines:

- ``Transformer.__init__``: your network, e.g. ``torchvision.models.vit_b_16(weights="DEFAULT")``
  or ``timm.create_model("vit_tiny_patch16_224", pretrained=True, num_classes=...)``.
- ``make_loaders``: your loaders of (image, label) or (image, label, mask).
- ``METHODS``: leave ``"rollout"`` out where the network is no plain transformer, such as Swin.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from digits import IMAGE_SIZE, make_loaders
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional
from torchvision.models import VisionTransformer

from lightning_cam import CAMCallback

METHODS = ("gradcam", "rollout", "gradient_attention")


class Transformer(LightningModule):
    """A small vision transformer with patches of 8 pixels: 8x8 tokens and a class token."""

    def __init__(self, classes: int = 10, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.net = VisionTransformer(
            image_size=IMAGE_SIZE,
            patch_size=8,
            num_layers=4,
            num_heads=4,
            hidden_dim=96,
            mlp_dim=192,
            num_classes=classes,
        )
        # torchvision initialises the head with zeros: the first gradients and maps would be flat.
        torch.nn.init.trunc_normal_(self.net.heads[-1].weight, std=0.02)
        self.learning_rate = learning_rate

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy of a batch; the mask is not used."""
        images, labels, _ = batch
        return functional.cross_entropy(self(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Log the accuracy of a batch."""
        images, labels, _ = batch
        accuracy = (self(images).argmax(dim=1) == labels).float().mean()
        self.log("val_acc", accuracy, prog_bar=True, batch_size=len(labels))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a one-cycle schedule that steps after every batch."""
        rate, steps = self.learning_rate, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main() -> None:
    """Train and print the metrics of the three methods."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=8, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and order")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="run a few steps only")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data in memory
    torch.manual_seed(options.seed)
    loaders = make_loaders(correlation=0.0, seed=options.seed)
    trainer = Trainer(
        callbacks=[CAMCallback(method=METHODS, alerts=())],
        logger=TensorBoardLogger(options.out, name="vit_rollout"),
        max_epochs=1 if options.quick else options.epochs,
        limit_train_batches=2 if options.quick else None,
        accelerator="cpu",
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(Transformer(), loaders.train, loaders.val)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    print(f"\nval_acc {metrics['val_acc']:.2f}\n\n{'':46}{'enrichment':>12}{'entropy':>10}")
    for name in [name for name in metrics if name.startswith("cam/entropy")]:
        title = name.removeprefix("cam/entropy/") if name != "cam/entropy" else METHODS[0]
        enrichment = metrics[name.replace("entropy", "enrichment")]
        print(f"{title:46}{enrichment:12.2f}{metrics[name]:10.2f}")
    print(
        "\nenrichment  attention on the digit, relative to its area: 1 is spread evenly"
        "\nentropy     0 for one patch, 1 where all patches are equal: rollout averages over heads"
        "\n            and blocks, so its maps are spread out; they do not depend on the label"
        f"\nimages      tensorboard --logdir {options.out}"
    )


if __name__ == "__main__":
    main()
