"""A run's files: the alerts' lines, the record of every look, the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.loggers.files import append_line
from lightning_cam.record import Recorder, settings_of

if TYPE_CHECKING:
    from lightning_cam.monitor import Alert
    from lightning_cam.watch import Look, Watch

ALERTS = "alerts.jsonl"
_SHOWN = 32  # images in the report: cheaper there than as pictures of every validation


class Paperwork:
    """Writes the files of one run into its folder.

    Args:
        folder: of the run.
        settings: what the callback was told beside its options, for the report.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._settings = settings
        self._recorders: dict[str, Recorder] = {}

    def alert(self, alert: Alert) -> None:
        """Add an alert's line to `alerts.jsonl`."""
        append_line(self.folder / ALERTS, json.dumps(alert.as_dict()))

    def look(self, watch: Watch, look: Look, alerts: Sequence[Alert], device: Any) -> None:
        """Add a look, and the alerts that it raised, to its probe's record."""
        recorder = self._recorders.get(watch.tag)
        if recorder is None or not recorder.path.exists():  # somebody removed the folder
            recorder = Recorder(self.folder, watch.tag)
            settings = settings_of(watch.options, rules=watch.book.rules, **self._settings)
            shown = watch.options.num_pictures and max(watch.options.num_pictures, _SHOWN)
            recorder.begin(watch.probe, shown, settings, device)
            self._recorders[watch.tag] = recorder
        recorder.add(look, watch.tag, [alert for alert in alerts if alert.probe == watch.tag])

    def report(self) -> Path | None:
        """Write `report.html` of what was recorded; None where nothing was."""
        if not self._recorders:
            return None
        from lightning_cam.report import write_report

        return write_report([self.folder])
