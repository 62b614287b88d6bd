"""`ScalarLog`: the one place where metrics get their full names and are logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lightning_cam.metrics.registry import GAP

if TYPE_CHECKING:
    from lightning_cam.runtime.errors import ErrorPolicy

LogScalars: TypeAlias = Callable[[Mapping[str, float]], None]


class ScalarLog:
    """Logs scalars and remembers their names.

    Args:
        tag: of the monitor.
        errors: what to do about exceptions of loggers.
    """

    def __init__(self, tag: str, errors: ErrorPolicy) -> None:
        self._tag = tag
        self._errors = errors
        self._names: dict[str, None] = {}  # in order

    @property
    def names(self) -> list[str]:
        """The full names of all scalars logged so far."""
        return list(self._names)

    def full_names(self, tag: str, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return metrics of one probe by full name; a gap has the monitor's tag.

        Args:
            tag: of the probe.
            metrics: by plain name.
        """
        return {
            f"{self._tag if name.startswith(f'{GAP}/') else tag}/{name}": value
            for name, value in metrics.items()
        }

    def log(
        self,
        scalars: Mapping[str, float],
        step: int,
        loggers: Sequence[Any],
        log_scalars: LogScalars | None,
    ) -> None:
        """Log scalars.

        Args:
            scalars: by full name.
            step: of the training.
            loggers: Lightning loggers.
            log_scalars: is called in place of the loggers where given.
        """
        self._names |= dict.fromkeys(scalars)
        if log_scalars is not None:
            log_scalars(scalars)
            return
        for logger in loggers:
            with self._errors.suppress("scalars in a logger"):
                logger.log_metrics(scalars, step)
