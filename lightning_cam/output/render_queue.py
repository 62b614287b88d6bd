"""`RenderQueue`: images are drawn, and records written, in background threads, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_cam.output.picture import Picture

_MAX_PENDING = 3  # evaluations


@dataclass(frozen=True)
class RenderJob:
    """Images to draw, or a part of the record to write.

    Attributes:
        draw: returns images, or none; nothing that it reads may change later.
        formats: the encodings that loggers will ask for, such as `jpeg`, made in the background.
        step: under which the images are logged.
        what: is missing where it fails, for the warning.
    """

    draw: Callable[[], Sequence[Picture]]
    formats: frozenset[str]
    step: int
    what: str = "images"


@dataclass(frozen=True)
class RenderResult:
    """Drawn images, or the error that there are none because of.

    Attributes:
        step: under which they are logged.
        pictures: finished and encoded.
        error: why there are none.
        what: is missing then.
    """

    step: int
    pictures: Sequence[Picture] = ()
    error: Exception | None = None
    what: str = "images"


class RenderQueue:
    """Runs jobs beside the training, in order, a bounded number of evaluations behind.

    The jobs of an evaluation have a thread of their own, which waits for the one before and ends
    when they are done. A thread that stayed would slow the training down for good: what it computes
    on several cores leaves it with OpenMP workers, and with more workers than cores libgomp lets
    none of them, the training's included, stay awake between two operations (measured: training
    steps took 1.3 times as long).

    Loggers are not used here: they belong to the training's thread, which collects the results.

    Args:
        background: False draws at once, in the caller's thread.
    """

    def __init__(self, *, background: bool = True) -> None:
        self._background = background
        self._finished: deque[RenderResult] = deque()
        self._threads: list[threading.Thread] = []  # in the order of their jobs

    def submit(self, *jobs: RenderJob) -> None:
        """Run the jobs of an evaluation soon; wait while those of too many are unfinished."""
        self._wait_until(_MAX_PENDING - 1)
        if not self._background or not self._start(jobs):
            self._finished.extend(map(_render, jobs))

    def finished(self) -> list[RenderResult]:
        """Return the results since the last call, in order."""
        results = []
        while self._finished:
            results.append(self._finished.popleft())
        return results

    def close(self) -> list[RenderResult]:
        """Wait for all jobs and return the results since the last call."""
        self._wait_until(0)
        return self.finished()

    def _wait_until(self, pending: int) -> None:
        """Wait until at most this many threads are running; forget those that ended."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        while len(self._threads) > pending:
            self._threads[0].join()  # may be interrupted: the thread is forgotten only afterwards
            self._threads.pop(0)

    def _start(self, jobs: Sequence[RenderJob]) -> bool:
        """Run jobs in a new thread; return False when the system can start no more threads."""
        _import_ahead()
        previous = self._threads[-1] if self._threads else None
        # A daemon: a process that dies without `close` must not wait for images.
        thread = threading.Thread(
            target=self._work, args=(jobs, previous), name="lightning_cam", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._wait_until(0)
            return False
        self._threads.append(thread)
        return True

    def _work(self, jobs: Sequence[RenderJob], previous: threading.Thread | None) -> None:
        if previous is not None:
            previous.join()
        for job in jobs:
            try:
                result = _render(job)
            except BaseException as error:  # noqa: BLE001 - nothing above this would report it
                result = RenderResult(job.step, error=RuntimeError(repr(error)), what=job.what)
            self._finished.append(result)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy in another process: without unfinished jobs."""
        return {**vars(self), "_finished": deque(), "_threads": []}


def _import_ahead() -> None:
    """Import what drawing needs in this thread: a worker forked during an import would hang."""
    from PIL import Image

    import lightning_cam.render.encode  # noqa: F401 - imports OpenCV

    Image.preinit()


def _render(job: RenderJob) -> RenderResult:
    try:
        pictures = job.draw()
        for picture in pictures:
            picture.encode(job.formats)
    except Exception as error:  # noqa: BLE001 - reported by the thread that collects the results
        return RenderResult(job.step, error=error, what=job.what)
    return RenderResult(job.step, pictures)
