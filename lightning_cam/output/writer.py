"""`OutputWriter`: one evaluation to loggers, files and record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_cam.output.loggers import attach_report, prepare, sinks_for
from lightning_cam.output.render_queue import RenderJob, RenderQueue, RenderResult
from lightning_cam.output.report_writer import ReportWriter
from lightning_cam.output.run_files import ProbeHeader, RunFiles

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_cam.output.loggers import PictureSink
    from lightning_cam.output.picture import Picture
    from lightning_cam.output.protocols import Alert, Evaluation
    from lightning_cam.runtime.errors import ErrorPolicy

_REPORT = "the report"


@dataclass(frozen=True)
class ProbeOutput:
    """What is written of one probe at one evaluation.

    Attributes:
        header: the probe and its settings, for the record.
        evaluation: what was measured.
        draw: returns the images; nothing that it reads may change later.
    """

    header: ProbeHeader
    evaluation: Evaluation
    draw: Callable[[], Sequence[Picture]]


class OutputWriter:
    """Writes on the one process that does; each step may fail by itself.

    Args:
        tag: of the monitor.
        errors: what to do about exceptions.
        background: draw images beside the training.
    """

    def __init__(self, tag: str, errors: ErrorPolicy, *, background: bool) -> None:
        self._tag = tag
        self._errors = errors
        self._queue = RenderQueue(background=background)
        self._report = ReportWriter(background=background)
        self._sinks: dict[int, list[PictureSink]] = {}  # by the step of unfinished images
        self._latest: tuple[list[PictureSink], int] = [], 0  # sinks and step, for the report
        self._files: RunFiles | None = None

    def start_run(self) -> None:
        """Forget the files of the run before."""
        self._files = None
        self._latest = [], 0
        self._report.start_run()

    def write(
        self,
        folder: Path | None,
        loggers: Sequence[Any],
        outputs: Sequence[ProbeOutput],
        alerts: Sequence[Alert],
        step: int,
        scalar_names: Sequence[str],
        *,
        record: bool,
        draw: bool = True,
        report: bool = False,
    ) -> None:
        """Write alerts, and start to write the record and to draw the images.

        Args:
            folder: of the run; None for no files.
            loggers: Lightning loggers.
            outputs: one per probe.
            alerts: of all probes and of the gap between them.
            step: under which the scalars of this evaluation are logged.
            scalar_names: full names of the scalars logged so far.
            record: whether the evaluation is part of the run, and not only of `validate()`.
            draw: whether images are drawn.
            report: whether `report.html` is written now and then.
        """
        jobs: list[RenderJob] = []
        if folder is not None:
            files = self._files_in(folder)
            for alert in alerts:
                with self._errors.suppress("a line in alerts.jsonl"):
                    files.add_alert(alert)
            if record:
                jobs = [_record_job(files, output, step) for output in outputs]
            if record and report and self._report.due():
                with self._errors.suppress(_REPORT):
                    jobs.append(self._report_job(files, step))
        sinks: list[PictureSink] = []
        with self._errors.suppress("images"):
            sinks = sinks_for(loggers, folder, lambda: self._errors.suppress("a logger"))
        for sink in sinks:
            with self._errors.suppress("the layout of a logger's charts"):
                prepare(sink, self._tag, scalar_names)
            for alert in alerts:
                with self._errors.suppress("an alert in a logger"):
                    sink.alert(f"{self._tag}/alerts", str(alert), step)
        self._sinks[step] = sinks
        self._latest = sinks, step
        formats = frozenset(name for sink in sinks for name in getattr(sink, "formats", ()))
        jobs += [RenderJob(output.draw, formats, step) for output in outputs if draw]
        # Last, since a thread that runs takes turns with this one.
        with self._errors.suppress("the record and the images of an evaluation"):
            if jobs:
                self._queue.submit(*jobs)
        self.flush()

    def _files_in(self, folder: Path) -> RunFiles:
        if self._files is None or self._files.folder != folder:
            self._files = RunFiles(folder)
        return self._files

    def _report_job(self, files: RunFiles, step: int) -> RenderJob:
        """Return the job that starts a report, to be run as soon as the record is written."""
        # Imported here: a worker process forked while a thread imports would hang.
        import lightning_cam.output.report  # noqa: F401

        def start() -> Sequence[Picture]:
            self._report.start(files.running_report())
            return ()

        return RenderJob(start, frozenset(), step, _REPORT)

    def flush(self) -> None:
        """Hand the images that are finished to the loggers."""
        self._log(self._queue.finished())
        error = self._report.error()
        if error is not None:
            self._errors.handle(_REPORT, error)

    def close(self, *, report: bool) -> Path | None:
        """Finish all images; then, if there was a run, write its report and return its path.

        Loggers that show pages get it too.
        """
        self._log(self._queue.close())
        self._sinks.clear()
        self._report.wait()  # of two that write one file the last counts
        self.flush()
        path = None
        if report and self._files is not None:
            with self._errors.suppress(_REPORT):
                path = self._files.write_report()
        if path is not None:
            sinks, step = self._latest
            for sink in sinks:
                with self._errors.suppress("the report in a logger"):
                    attach_report(sink, self._tag, path, step)
        return path

    def _log(self, results: Sequence[RenderResult]) -> None:
        for result in results:
            if result.error is not None:
                self._errors.handle(result.what, result.error)
            for sink in self._sinks.get(result.step, ()) if result.pictures else ():
                with self._errors.suppress("images in a logger"):
                    sink.write(result.pictures, result.step)
        if results:  # results come in order, so sinks of earlier steps are not needed any more
            last = results[-1].step
            self._sinks = {step: sinks for step, sinks in self._sinks.items() if step >= last}


def _record_job(files: RunFiles, output: ProbeOutput, step: int) -> RenderJob:
    """Return the job of writing the record beside the training: loggers have what is needed now."""

    def write() -> Sequence[Picture]:
        files.add_evaluation(output.header, output.evaluation)
        return ()

    return RenderJob(write, frozenset(), step, "the record of an evaluation")
