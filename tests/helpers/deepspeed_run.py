"""Trainings under DeepSpeed, with a `CAMCallback` and without; each process writes what it saw.

Run by `torchrun` as `helpers.deepspeed_run FOLDER STAGE ...`. DeepSpeed runs on a CPU too; of
Lightning's strategy, which admits GPUs only, the checks of the device are left out.
"""

import json
import os
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"  # read when it is imported

import torch
from deepspeed.runtime.engine import DeepSpeedEngine
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, deepspeed

from helpers.training import MetricsLog, Module, Squares, loader, make_trainer, squares_probe
from lightning_cam import CAMCallback


def allow_cpu():
    """Take the CPU for the device that DeepSpeed's strategy asks for."""
    deepspeed.CUDAAccelerator = object
    deepspeed._validate_device_index_selection = lambda _: None
    set_up = DeepSpeedEngine._set_distributed_vars

    def without_index(engine, args):
        args.device_rank = -1  # of a CPU, Lightning gives None
        set_up(engine, args)

    DeepSpeedEngine._set_distributed_vars = without_index


class Adapted(Module):
    """Trains with an optimizer that keeps a state, which is what the stages shard."""

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main(folder, stage, monitored):
    strategy = DDPStrategy(process_group_backend="gloo")
    if stage != "ddp":
        strategy = DeepSpeedStrategy(
            stage=int(stage), process_group_backend="gloo", logging_batch_size_per_gpu=4
        )
    module, log = Adapted(), MetricsLog()
    cam = [CAMCallback(squares_probe(8), num_pictures=2)] if monitored else []
    trainer = make_trainer(folder, [*cam, log], devices=2, strategy=strategy, max_epochs=3)
    trainer.fit(module, loader(Squares()), loader(Squares(8, seed=2)))
    found = {
        "metrics": log.metrics,
        "weights": [each.tolist() for each in module.parameters()],
        "random": torch.get_rng_state().tolist(),
    }
    name = f"{stage}-{'with' if monitored else 'without'}-{trainer.global_rank}.json"
    Path(folder, name).write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    allow_cpu()
    for each in sys.argv[2:]:
        for with_callback in (False, True):
            main(sys.argv[1], each, with_callback)
