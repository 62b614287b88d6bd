"""The loggers of Hugging Face's `Trainer`, as the sinks of `output/loggers` need them.

Each class has what its sink reads of Lightning's logger, by whose name the sink is found. Scalars
do not pass through these: the `Trainer` logs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

PREFIX = "eval"  # TensorBoard's and W&B's callbacks show `eval_x` as `eval/x`


class _Logger:
    """A run of one logger.

    Args:
        experiment: what the logger's own package calls writer, run or client.
    """

    LOGGER_JOIN_CHAR = "/"
    _prefix = PREFIX
    save_dir = None

    def __init__(self, experiment: Any) -> None:
        self.experiment = experiment

    def finish(self) -> None:
        """Write what the logger still holds."""


class TensorBoardLogger(_Logger):
    """The event file of a `TensorBoardCallback`."""

    def finish(self) -> None:
        """Close the event file, which the last images have opened again."""
        self.experiment.close()


class WandbLogger(_Logger):
    """The run of a `WandbCallback`."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Log media under the step that the `Trainer` logs beside its scalars."""
        named = {f"{PREFIX}/{name}": value for name, value in metrics.items()}
        self.experiment.log({**named, "train/global_step": step})


class MLFlowLogger(_Logger):
    """The run of an `MLflowCallback`, which keeps the names of scalars as they are.

    Args:
        run: MLflow's active run.
    """

    LOGGER_JOIN_CHAR = "_"

    def __init__(self, run: Any) -> None:
        from mlflow.tracking import MlflowClient

        super().__init__(MlflowClient())
        self.run_id = run.info.run_id
        self._tracking_uri = self.experiment.tracking_uri


def loggers_of(callbacks: Iterable[Any]) -> list[Any]:
    """Return the loggers among a `Trainer`'s callbacks that take images and have a run."""
    found: list[Any] = []
    for callback in callbacks:
        names = {kind.__name__ for kind in type(callback).__mro__}
        if "TensorBoardCallback" in names and callback.tb_writer is not None:
            found.append(TensorBoardLogger(callback.tb_writer))
        if "WandbCallback" in names and callback._wandb.run is not None:  # noqa: SLF001
            found.append(WandbLogger(callback._wandb.run))  # noqa: SLF001
        if "MLflowCallback" in names and callback._ml_flow.active_run() is not None:  # noqa: SLF001
            found.append(MLFlowLogger(callback._ml_flow.active_run()))  # noqa: SLF001
    return found
