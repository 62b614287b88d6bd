"""`RunFiles`: `alerts.jsonl`, the record of every evaluation, and the report of one run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.output.record import Recorder
from lightning_cam.output.record.format import record_paths
from lightning_cam.output.record.reader import read_record
from lightning_cam.runtime.files import append_line

if TYPE_CHECKING:
    import torch

    from lightning_cam.output.protocols import Alert, Evaluation
    from lightning_cam.probe import Probe

ALERTS = "alerts.jsonl"
_LARGEST_RUNNING = 64 << 20  # bytes of records; beyond, the report is written at the end only
_MIN_RECORDED = 32  # images in the report; cheaper there than as images of every evaluation
# Several callbacks of a training write into one folder, each in a thread of its own, and the report
# of each shows the records of all: none is read while a line of it is being written.
_writing = threading.Lock()


@dataclass(frozen=True)
class ProbeHeader:
    """What a record says once about a probe.

    Attributes:
        tag: what its metrics' names start with.
        probe: the images, labels and masks.
        num_pictures: how many images are drawn; none are recorded where it is 0.
        settings: returns the monitor's configuration, for the report.
        device: where the network runs.
    """

    tag: str
    probe: Probe
    num_pictures: int
    settings: Callable[[], Mapping[str, Any]]
    device: torch.device | str


class RunFiles:
    """Writes the files of one run.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._recorders: dict[str, Recorder] = {}

    def add_alert(self, alert: Alert) -> None:
        """Append an alert to `alerts.jsonl`."""
        append_line(self.folder / ALERTS, json.dumps(alert.as_dict()))

    def add_evaluation(self, header: ProbeHeader, evaluation: Evaluation) -> None:
        """Append an evaluation, with the alerts that it raised, to the probe's record."""
        with _writing:
            recorder = self._recorders.get(header.tag)
            if recorder is None or not recorder.path.exists():  # the folder may have been deleted
                recorder = Recorder(self.folder, header.tag)
                recorded = header.num_pictures and max(header.num_pictures, _MIN_RECORDED)
                recorder.begin(header.probe, recorded, header.settings(), header.device)
                self._recorders[header.tag] = recorder
            recorder.add(evaluation)

    def running_report(self) -> Callable[[], None]:
        """Return a function that writes `report.html` of what has been recorded so far.

        It may run while more is recorded.
        """
        with _writing:
            sizes = {path: path.stat().st_size for path in record_paths(self.folder)}
        folder = self.folder

        def write() -> None:
            if not 0 < sum(sizes.values()) <= _LARGEST_RUNNING:
                return
            from lightning_cam.output.report.page import REPORT, run_names, write_page

            records = [read_record(path, size) for path, size in sizes.items()]
            records.sort(key=lambda record: record.tag)
            write_page(folder / REPORT, [(run_names([folder])[0], records)])

        return write

    def write_report(self) -> Path | None:
        """Write `report.html` of what was recorded; return its path, None where nothing was."""
        if not self._recorders:
            return None
        from lightning_cam.output.report import write_report

        with _writing:
            return write_report([self.folder])


def run_folder(log_dir: str | Path | None, loggers: Sequence[Any]) -> Path | None:
    """Return the run's folder: as given, else that of the first logger that has one."""
    if log_dir is not None:
        return Path(log_dir)
    folders = (getattr(logger, "log_dir", None) or logger.save_dir for logger in loggers)
    return next((Path(folder) for folder in folders if folder), None)
