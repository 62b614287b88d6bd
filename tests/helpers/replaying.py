"""Trainings with a checkpoint at every validation, and comparisons with their replay."""

import math

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_cam.output.record import read_run


class LoggedMetrics(Callback):
    """Keeps epoch, step and metrics of each evaluation, by Lightning's own counters."""

    def __init__(self):
        self.evaluations = []

    def _add(self, trainer, step):
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("cam")}
        self.evaluations.append((trainer.current_epoch, step, logged))

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self._add(trainer, trainer.fit_loop.epoch_loop._batches_that_stepped)

    def on_train_epoch_end(self, trainer, pl_module):
        if not trainer.fit_loop.epoch_loop.val_loop._data_source.is_defined():
            self._add(trainer, trainer.fit_loop.epoch_loop._batches_that_stepped - 1)


def train(folder, module, *callbacks, train, val, checkpoint=None, **settings):
    """Train with a checkpoint at every validation; return what was logged at each."""
    log = LoggedMetrics()
    checkpoint = checkpoint or ModelCheckpoint(dirpath=folder / "checkpoints", save_top_k=-1)
    trainer = Trainer(
        **{
            "max_epochs": 3,
            "callbacks": [*callbacks, log, checkpoint],
            "logger": False,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": folder,
            "log_every_n_steps": 1,
            **settings,
        }
    )
    trainer.fit(module, train, val)
    return log.evaluations


def assert_same_metrics(folder, live):
    """Compare the record of a replay with what the live training logged."""
    (record,) = read_run(folder)
    assert [(each.epoch, each.step) for each in record.evaluations] == [(e, s) for e, s, _ in live]
    for evaluation, (_, _, logged) in zip(record.evaluations, live, strict=True):
        assert len(evaluation.metrics) > 10
        for name, value in evaluation.metrics.items():
            assert math.isclose(value, logged[f"cam/{name}"], abs_tol=1e-5) or (
                math.isnan(value) and math.isnan(logged[f"cam/{name}"])
            ), (evaluation.index, name, value, logged[f"cam/{name}"])
