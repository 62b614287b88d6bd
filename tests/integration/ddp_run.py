"""One training on one or two processes; each process leaves its metrics as JSON.

Run as `python ddp_run.py FOLDER PROCESSES SCENARIO`. The processes are forked after the imports.
"""

import json
import math
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from toys import Module, Squares, loader, make_trainer, small, squares_probe

from lightning_cam import CAMCallback


class Diary(pl.Callback):
    """Writes one file a process: what it could monitor, and what it warned about."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.entries = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            values = {k: float(v) for k, v in trainer.callback_metrics.items() if k != "train_loss"}
            self.entries.append({k: v for k, v in values.items() if math.isfinite(v)})

    def on_fit_end(self, trainer, pl_module):
        path = self.folder / f"rank{trainer.global_rank}.json"
        path.write_text(json.dumps({"entries": self.entries, "world": trainer.world_size}))


class DownLogger(TensorBoardLogger):
    """Its scalars arrive, its pictures do not."""

    @property
    def experiment(self):
        writer = super().experiment
        if hasattr(writer, "_get_file_writer"):
            writer._get_file_writer = self._refuse
        return writer

    def _refuse(self):
        raise OSError("the server is down")

    def log_metrics(self, metrics, step=None):
        pass

    def save(self):
        pass

    def finalize(self, status):
        pass


def failing_on(rank, module):
    """Make the callback's forward fail on one rank only, in the second validation."""

    class FailsOnOneRank(type(module)):
        def forward(self, images):
            if self.trainer.current_epoch == 1 and self.trainer.global_rank == rank:
                raise RuntimeError("this rank is tired")
            return self.net(images)

    module.__class__ = FailsOnOneRank
    return module


def main(folder, processes, scenario):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logger, module, callback = (
        TensorBoardLogger(folder, name="tb"),
        Module(learning_rate=0.5),
        small(),
    )
    if scenario == "two probes, logger down":
        logger = DownLogger(folder, name="tb")
        callback = CAMCallback({"one": squares_probe(seed=1), "two": squares_probe(seed=2)})
    if scenario.startswith("fails on rank"):
        module = failing_on(int(scenario[-1]), module)
    trainer = make_trainer(
        folder,
        [callback, Diary(folder)],
        devices=processes,
        strategy="ddp_fork" if processes > 1 else "auto",
        max_epochs=3,
        logger=logger,
    )
    # One batch an epoch holds all the data, whoever gets which half: the gradients are the same.
    trainer.fit(module, loader(batch_size=16 // processes), loader(Squares(8, seed=2)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
