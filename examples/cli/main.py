"""The demo's digits by LightningCLI: all settings in YAML, those of the callback included.

In this folder: ``python main.py fit --config config.yaml``. Arguments after it change settings,
e.g. ``--trainer.max_epochs 3``; ``--trainer.callbacks.help lightning_cam.CAMCallback`` lists those
of the callback. It needs ``pip install "jsonargparse[signatures]"``.

For your own data, change these lines: replace ``Digits`` by your ``LightningDataModule`` and
``DigitsModule`` by your ``LightningModule``, and the names under ``init_args`` in ``config.yaml``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # of ``digits.py``; not for your own code

from digits import DigitsModule, Sample, make_loaders
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import DataLoader


class Digits(LightningDataModule):
    """Digits on photographs.

    Args:
        correlation: probability that the background is of the region of the class.
        seed: of the split, the places and the backgrounds.
    """

    def __init__(self, correlation: float = 0.95, seed: int = 0) -> None:
        super().__init__()
        self.loaders = make_loaders(correlation, seed)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the training digits."""
        return self.loaders.train

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the validation digits."""
        return self.loaders.val


if __name__ == "__main__":
    LightningCLI(DigitsModule, Digits)
