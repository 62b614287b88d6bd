"""Train on two processes that read one file, and write what each of them sees.

Run as `python -m robustness.non_interference.two_processes FOLDER`, in tests/.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from helpers.ddp_run import become_rank, free_port
from helpers.training import make_trainer, small
from lightning.pytorch.strategies import DDPStrategy
from robustness.non_interference.modules import Normed
from robustness.non_interference.stranger_data import OneDataset, Records, write_files

WORLD = 2


class Seen(pl.Callback):
    """Keeps batches, weights and random streams."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def on_train_batch_end(self, _: Any, module: Any, __: Any, batch: Any, ___: int) -> None:
        streams = random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        self.found.append([[each.clone() for each in batch], weights, streams])

    def on_validation_batch_end(self, *args: Any, **_: Any) -> None:
        self.found.append([each.clone() for each in args[3]])


def train(folder: Path, *, monitored: bool) -> None:
    torch.set_num_threads(1)
    pl.seed_everything(7, verbose=False)
    seen = Seen()
    ours = [small(panels=(), report=False)] if monitored else []
    trainer = make_trainer(
        folder, [*ours, seen], devices=WORLD, strategy=DDPStrategy(process_group_backend="gloo")
    )
    loading = {"num_workers": 2, "multiprocessing_context": "fork"}
    trainer.fit(Normed(), OneDataset(partial(Records, folder), **loading))
    assert ("cam/entropy" in trainer.callback_metrics) == monitored
    torch.save(seen.found, folder / f"{monitored}-{trainer.global_rank}.pt")


def as_rank(rank: int, port: int, folder: Path, monitored: bool) -> None:
    become_rank(rank, WORLD, port)
    with contextlib.redirect_stdout(io.StringIO()):
        train(folder, monitored=monitored)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    write_files(place)
    fork = multiprocessing.get_context("fork")
    for with_callback in (False, True):
        free = free_port()
        ranks = [
            fork.Process(target=as_rank, args=(n, free, place, with_callback)) for n in range(WORLD)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(120)
            process.kill()
