"""`ScalarLog`: the one place where metrics get their full names and are logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lightning_cam.metrics.registry import GAP

if TYPE_CHECKING:
    from lightning_cam.runtime.errors import ErrorPolicy

LogScalars: TypeAlias = Callable[[Mapping[str, float]], None]


class ScalarLog:
    """Logs scalars, and remembers their names and last values.

    Args:
        tag: of the monitor.
        errors: what to do about exceptions of loggers.

    Attributes:
        last: the last finite value of each scalar, for callbacks that monitor it after a resume.
    """

    def __init__(self, tag: str, errors: ErrorPolicy) -> None:
        self._tag = tag
        self._errors = errors
        self._names: dict[str, None] = {}  # in order
        self.last: dict[str, float] = {}

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
        *,
        remember: bool = True,
    ) -> None:
        """Log scalars.

        Args:
            scalars: by full name.
            step: of the training.
            loggers: Lightning loggers.
            log_scalars: is called in place of the loggers where given.
            remember: whether these are the last values.
        """
        self._names |= dict.fromkeys(scalars)
        if remember:
            self.last |= _finite(scalars)
        if log_scalars is not None:
            log_scalars(scalars)
            return
        for logger in loggers:
            with self._errors.suppress("scalars in a logger"):
                logger.log_metrics(scalars, step)

    def forget(self, tag: str) -> bool:
        """Forget the last values of a probe and of its gap; return whether there were any."""
        gone = (f"{tag}/", f"{self._tag}/{GAP}/")
        kept = {name: each for name, each in self.last.items() if not name.startswith(gone)}
        forgotten, self.last = len(kept) < len(self.last), kept
        return forgotten

    def load_state_dict(self, last: object) -> None:
        """Restore the last values, as far as they are names and finite numbers."""
        self.last = _finite(last) if isinstance(last, Mapping) else {}


def _finite(scalars: Mapping[Any, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in scalars.items()
        if isinstance(name, str) and isinstance(value, (int, float)) and math.isfinite(value)
    }
