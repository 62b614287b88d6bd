"""Hold signals back while the model is not itself: their handlers may save a checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_HELD = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Let handlers written in Python run after the body instead of in the middle of it.

    Lightning saves a checkpoint in the handler by which a cluster announces the end of a job.
    While weights are swapped for others, it would save those. Ctrl-C is let through: it unwinds the
    stack, which puts the weights back, before anything is saved.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in that one only
        yield
        return
    got: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        got.append(number)

    numbers = [getattr(signal, name) for name in _HELD if hasattr(signal, name)]
    handlers = {n: h for n in numbers if callable(h := signal.getsignal(n))}
    try:
        for number in handlers:
            signal.signal(number, remember)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(got):
            os.kill(os.getpid(), number)
