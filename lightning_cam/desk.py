"""Where a run's results are written: files at once, pictures when they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_cam.loggers import prepare, sinks_for
from lightning_cam.paperwork import Paperwork
from lightning_cam.scribe import Delivery, Order, Scribe

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_cam.faults import Faults
    from lightning_cam.loggers import PictureSink
    from lightning_cam.monitor import Alert
    from lightning_cam.watch import Look, Watch


class Desk:
    """Writes for the one process that does; every step by itself may fail.

    Args:
        tag: of the callback.
        faults: what to do about errors.
        settings: what the callback was told beside its options, for the report.
        background: draw pictures beside the training.
    """

    def __init__(
        self, tag: str, faults: Faults, settings: dict[str, Any], *, background: bool
    ) -> None:
        self._tag = tag
        self._faults = faults
        self._settings = settings
        self._scribe = Scribe(background=background)
        self._sinks: dict[int, list[PictureSink]] = {}  # by the step of pictures on their way
        self._paperwork: Paperwork | None = None

    def start(self) -> None:
        """Begin a new training: its files may lie elsewhere."""
        self._paperwork = None

    def write(
        self,
        folder: Path,
        loggers: Sequence[Any],
        looks: Sequence[tuple[Watch, Look]],
        alerts: Sequence[Alert],
        step: int,
        metric_names: Sequence[str],
        device: Any,
        *,
        record: bool,
    ) -> None:
        """Write alerts and the record, and order the pictures.

        Args:
            folder: the run's.
            loggers: the trainer's.
            looks: of one validation.
            alerts: that they raised.
            step: of the trainer's scalars.
            metric_names: of the callback's scalars logged so far.
            device: where the network runs.
            record: whether the looks are part of the run, and not only of `validate()`.
        """
        if self._paperwork is None or self._paperwork.folder != folder:
            self._paperwork = Paperwork(folder, self._settings)
        for alert in alerts:
            with self._faults.forgiven("an alert's line"):
                self._paperwork.alert(alert)
        for watch, look in looks if record else ():
            with self._faults.forgiven("the record of a look"):
                self._paperwork.look(watch, look, alerts, device)
        sinks: list[PictureSink] = []
        with self._faults.forgiven("pictures"):
            sinks = sinks_for(loggers, folder, lambda: self._faults.forgiven("a logger"))
        for sink in sinks:
            with self._faults.forgiven("a logger's curves"):
                prepare(sink, self._tag, metric_names)
            for alert in alerts:
                with self._faults.forgiven("a logger's alert"):
                    sink.alert(f"{self._tag}/alerts", str(alert), step)
        self._sinks[step] = sinks
        encodings = frozenset(name for sink in sinks for name in getattr(sink, "encodings", ()))
        for watch, look in looks:
            with self._faults.forgiven("pictures"):
                self._scribe.order(Order(watch.drawing(look), encodings, step))
        self.deliver()

    def deliver(self) -> None:
        """Hand what is drawn to the loggers."""
        self._hand_over(self._scribe.take())

    def finish(self, *, report: bool) -> None:
        """Draw, hand over and write what is left; then, if there was a training, its report."""
        self._hand_over(self._scribe.close())
        self._sinks.clear()
        if report and self._paperwork is not None:
            with self._faults.forgiven("the report"):
                self._paperwork.report()

    def _hand_over(self, deliveries: Sequence[Delivery]) -> None:
        for each in deliveries:
            if each.error is not None:
                self._faults.tell("pictures", each.error)
            for sink in self._sinks.get(each.step, ()) if each.pictures else ():
                with self._faults.forgiven("a logger's pictures"):
                    sink.write(each.pictures, each.step)
        if deliveries:  # older ones will not come any more
            last = deliveries[-1].step
            self._sinks = {step: sinks for step, sinks in self._sinks.items() if step >= last}
