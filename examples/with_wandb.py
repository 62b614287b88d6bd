"""The demo's shortcut in Weights & Biases: curves, images and alerts, offline by default.

Run it with ``python examples/with_wandb.py``; nothing leaves the machine and no account is needed.
``--online`` sends the run to your account, and ``wandb sync`` sends an offline one later.

For your own data, change these lines:

- ``make_loaders`` and ``DigitsModule``: your loaders and your module.
- ``WandbLogger(...)``: your project's name; other loggers of the trainer get the images too.
- ``CAMCallback()``: its arguments do not depend on the logger.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import torch
from digits import DigitsModule, make_loaders
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger

from lightning_cam import CAMCallback


def main() -> None:
    """Train once and print the folder of the run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--online", action="store_true", help="send the run to your account")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and order")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="run a few steps only")
    options = parser.parse_args()
    if not options.online:
        os.environ["WANDB_MODE"] = "offline"
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data in memory
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    loaders = make_loaders(correlation=0.95, seed=options.seed)
    logger = WandbLogger(project="lightning-cam", name="shortcut", save_dir=options.out)
    trainer = Trainer(
        callbacks=[CAMCallback()],
        logger=logger,
        max_epochs=1 if options.quick else options.epochs,
        limit_train_batches=2 if options.quick else None,
        accelerator="cpu",
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(DigitsModule(), loaders.train, loaders.val)
    run = logger.experiment
    folder = Path(run.dir).parent
    run.finish()
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    images = list((folder / "files" / "media" / "images" / "cam").rglob("*.*"))
    print(f"\nval_acc {metrics['val_acc']:.2f}  cam/enrichment {metrics['cam/enrichment']:.2f}")
    print(f"{len(images)} images and the curves are in {folder}")
    print(
        f"to see them {'open the run in a browser' if options.online else f'wandb sync {folder}'}"
    )


if __name__ == "__main__":
    main()
