"""Small trainings whose processes Lightning starts itself.

Run as `python -m helpers.launched_run FOLDER STRATEGY ...`; each trains in a folder of its name.
Those that fork come first, since a process that has trained cannot be forked any more.
"""

import json
import sys
from pathlib import Path

import torch
from lightning.pytorch.loggers import TensorBoardLogger

from helpers.training import Module, Squares, loader, make_trainer, squares_probe
from lightning_cam import CAMCallback


def main(folder, strategy):
    torch.set_num_threads(1)
    callback = CAMCallback(squares_probe(12), num_pictures=2)
    trainer = make_trainer(
        folder,
        [callback],
        devices=2,
        strategy=strategy,
        max_epochs=2,
        logger=TensorBoardLogger(folder, name="tb", version=0),
    )
    trainer.fit(Module(), loader(Squares()), loader(Squares(8, seed=2)))
    metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("cam/")}
    Path(folder, "metrics.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    for each in sys.argv[2:]:
        main(Path(sys.argv[1]) / each, each)
