"""`defer_signals`: delay handlers that may save a checkpoint while weights are swapped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_DEFERRED = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Run signal handlers after the body instead of during it.

    Lightning saves a checkpoint in the handler of the signal by which a cluster ends a job. While
    weights are swapped for others, it would save those. Ctrl-C is not deferred: it unwinds the
    stack, which restores the weights, before anything is saved.
    """
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # handlers run in the main thread only
        yield
        return
    received: list[int] = []

    def record(number: int, _: FrameType | None) -> None:
        received.append(number)

    numbers = [getattr(signal, name) for name in _DEFERRED if hasattr(signal, name)]
    handlers = {n: h for n in numbers if callable(h := signal.getsignal(n))}
    try:
        for number in handlers:
            signal.signal(number, record)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(received):
            os.kill(os.getpid(), number)
