"""`ReportWriter`: `report.html` of a run, written beside the training now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

EVERY = 60.0  # seconds between the start of the run or the end of a report, and the next report
_SHARE = 0.02  # of the time at most, where a report takes long


class ReportWriter:
    """Writes a report in a thread of its own, so that neither training nor images wait for it.

    A failure is kept until `error` asks for it, since warnings belong to the training's thread.

    Args:
        background: False writes at once, in the caller's thread.
    """

    def __init__(self, *, background: bool = True) -> None:
        self._background = background
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self.start_run()

    def start_run(self) -> None:
        """Count the time from now: what ends within a minute needs no report before its end."""
        self._next = time.monotonic() + EVERY

    def due(self) -> bool:
        """Return whether it is time for a report."""
        running = self._thread is not None and self._thread.is_alive()
        return not running and time.monotonic() >= self._next

    def start(self, write: Callable[[], object]) -> None:
        """Run `write` beside the training.

        Args:
            write: writes the report; nothing that it reads may change later.
        """
        self._next = float("inf")  # until this one is written
        if not self._background:
            self._run(write)
            return
        thread = threading.Thread(
            target=self._run, args=(write,), name="lightning_cam_report", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system can start no more threads: the last report is enough
            return
        self._thread = thread

    def _run(self, write: Callable[[], object]) -> None:
        started = time.monotonic()
        try:
            write()
        except Exception as error:  # noqa: BLE001 - reported by the thread that asks for it
            self._error = error
        except BaseException as error:  # noqa: BLE001 - nothing above this would report it
            self._error = RuntimeError(repr(error))
        ended = time.monotonic()
        self._next = ended + max(EVERY, (ended - started) / _SHARE)

    def error(self) -> Exception | None:
        """Return the failure since the last call, None where there was none."""
        error, self._error = self._error, None
        return error

    def wait(self) -> None:
        """Wait for the report that is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy in another process: without a report that is being written."""
        return {**vars(self), "_thread": None, "_error": None}
