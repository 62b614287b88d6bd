"""Which loggers of a `Trainer` take images, and the names of their runs' images."""

from types import SimpleNamespace

from torch.utils.tensorboard import SummaryWriter

from lightning_cam.integrations.transformers_loggers import loggers_of
from lightning_cam.output.loggers import sinks_for
from lightning_cam.output.loggers.base import prefixed


class TensorBoardCallback:
    tb_writer = None


class WandbCallback:
    def __init__(self, run):
        self._wandb = SimpleNamespace(run=run)


class MLflowCallback:
    _ml_flow = SimpleNamespace(active_run=lambda: None)


class Run:
    def __init__(self):
        self.rows = []

    def log(self, row):
        self.rows.append(row)


def test_callbacks_without_a_run_are_passed_over():
    assert loggers_of([TensorBoardCallback(), WandbCallback(None), MLflowCallback()]) == []


def test_a_writer_and_a_run_are_found_and_have_a_sink(tmp_path):
    board, run = TensorBoardCallback(), Run()
    board.tb_writer = SummaryWriter(tmp_path)
    loggers = loggers_of([object(), board, WandbCallback(run)])
    assert [type(each).__name__ for each in sinks_for(loggers, None)] == [
        "TensorBoardSink",
        "WandbSink",
    ]
    assert prefixed(loggers[0], "cam/timeline") == "eval/cam/timeline"
    loggers[1].log_metrics({"cam/timeline": "image"}, 7)
    assert run.rows == [{"eval/cam/timeline": "image", "train/global_step": 7}]
    for logger in loggers:
        logger.finish()
