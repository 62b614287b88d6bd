"""`ScalarLog`: the one place where metrics get their full names and are logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lightning_cam.metrics.registry import GAP

if TYPE_CHECKING:
    from lightning_cam.metrics.selection import MetricSelection
    from lightning_cam.runtime.errors import ErrorPolicy

LogScalars: TypeAlias = Callable[[Mapping[str, float]], None]


class ScalarLog:
    """Logs scalars, and remembers their names and last values.

    Args:
        tag: of the monitor.
        selection: which metrics go to the loggers.
        errors: what to do about exceptions of loggers.

    Attributes:
        selection: see above.
        required: full names of further metrics that go to the loggers, such as those that a
            callback of the trainer reads.
        latest: all metrics of the latest evaluation by full name, NaN included.
        last: the last finite value of each metric, for callbacks that monitor it after a resume.
    """

    def __init__(self, tag: str, selection: MetricSelection, errors: ErrorPolicy) -> None:
        self._tag = tag
        self.selection = selection
        self._errors = errors
        self._names: dict[str, None] = {}  # in order
        self.required: Collection[str] = ()
        self.latest: dict[str, float] = {}
        self.last: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        """The full names of all scalars that went to the loggers so far."""
        return list(self._names)

    def log(
        self,
        metrics: Iterable[tuple[str, Mapping[str, float]]],
        step: int,
        loggers: Sequence[Any],
        log_scalars: LogScalars | None,
        *,
        of_rules: Collection[str] = (),
        remember: bool = True,
    ) -> None:
        """Log the selected metrics, by one call for each logger.

        Args:
            metrics: tags, and the metrics of each by plain name.
            step: of the training.
            loggers: Lightning loggers.
            log_scalars: is called in place of the loggers where given.
            of_rules: plain names of metrics that rules are about, which are logged too.
            remember: whether these are the last values.
        """
        self.latest, scalars = {}, {}
        for tag, some in metrics:
            for name, value in some.items():
                # A gap is of no single probe, so it has the monitor's tag.
                full = f"{self._tag if name.startswith(f'{GAP}/') else tag}/{name}"
                self.latest[full] = value
                if self.selection.includes(name) or name in of_rules or full in self.required:
                    scalars[full] = value
        self._names |= dict.fromkeys(scalars)
        if remember:
            self.last |= {n: each for n, each in self.latest.items() if math.isfinite(each)}
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
        scalars = last if isinstance(last, Mapping) else {}
        self.last = {
            name: float(value)
            for name, value in scalars.items()
            if isinstance(name, str) and isinstance(value, (int, float)) and math.isfinite(value)
        }
