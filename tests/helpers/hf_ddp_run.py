"""A training of Hugging Face's `Trainer` on two processes: `python -m helpers.hf_ddp_run`.

In an empty folder, where each process writes what it knows.
"""

import json
import multiprocessing
import sys
from pathlib import Path

import torch

from helpers.ddp_run import become_rank, free_port
from helpers.hf_training import Classifier, make_trainer
from lightning_cam import CAMTrainerCallback, Threshold

WORLD = 2


def as_rank(rank, port):
    """Train on this process; both see their half of the data."""
    become_rank(rank, WORLD, port)
    torch.set_num_threads(1)
    rule = Threshold("entropy", above=0.01, patience=2, warmup=0)
    callback = CAMTrainerCallback(probe_size=12, alerts=[rule], on_alert="stop", num_pictures=2)
    trainer = make_trainer(
        "run", callback, model=Classifier(), num_train_epochs=4, ddp_backend="gloo"
    )
    trainer.train()
    probe = callback.probes["val"]
    content = {
        "metrics": callback.metrics,
        "probe": probe.fingerprint,
        "ids": list(probe.ids),
        "step": trainer.state.global_step,
        "world_size": trainer.args.world_size,
        "wrapper": type(trainer.model_wrapped).__name__,
    }
    Path(f"rank{rank}.json").write_text(json.dumps(content))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    port = free_port()
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=as_rank, args=(rank, port)) for rank in range(WORLD)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(100)
    sys.exit(max(1 if each.exitcode is None else abs(each.exitcode) for each in ranks))
