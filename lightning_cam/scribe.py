"""Pictures are drawn and encoded beside the training, and handed over in its own thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_cam.loggers.base import Picture

_AHEAD = 3  # looks whose pictures may be on their way: one being drawn, two waiting


@dataclass(frozen=True)
class Order:
    """Pictures to draw.

    Attributes:
        draw: returns them; everything that it reads stays as it is.
        encodings: the forms that loggers will ask for, such as `jpeg`: made here, found there.
        step: under which they are logged.
    """

    draw: Callable[[], Sequence[Picture]]
    encodings: frozenset[str]
    step: int


@dataclass(frozen=True)
class Delivery:
    """Drawn pictures, or what went wrong.

    Attributes:
        step: under which they are logged.
        pictures: finished and encoded.
        error: why there are none.
    """

    step: int
    pictures: Sequence[Picture] = ()
    error: Exception | None = None


class Scribe:
    """Draws beside the training, in order, a bounded number of validations behind.

    Each order has a thread of its own, which waits for the one before and ends when it is done. One
    that stayed would slow the training down for good: what it computes on several cores leaves it
    with OpenMP workers, and with more workers than cores none of them, the training's included,
    stays awake between two operations (measured: steps 1.3 times as long).

    Loggers are not touched here: they belong to the training's thread, which takes what is done.

    Args:
        background: False draws at once, in the caller's thread.
    """

    def __init__(self, *, background: bool = True) -> None:
        self._background = background
        self._finished: deque[Delivery] = deque()
        self._threads: list[threading.Thread] = []  # in the order of what they draw

    def order(self, order: Order) -> None:
        """Draw soon; waits while too many orders do."""
        self._wait_until(_AHEAD - 1)
        if not self._background or not self._start(order):
            self._finished.append(_drawn(order))

    def take(self) -> list[Delivery]:
        """Return what is finished, in order, each once."""
        found = []
        while self._finished:
            found.append(self._finished.popleft())
        return found

    def close(self) -> list[Delivery]:
        """Finish everything and return what is left."""
        self._wait_until(0)
        return self.take()

    def _wait_until(self, left: int) -> None:
        """Wait until at most so many threads are at work; forget those that ended."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        while len(self._threads) > left:
            self._threads[0].join()  # an interrupt may come here: it is forgotten only afterwards
            self._threads.pop(0)

    def _start(self, order: Order) -> bool:
        """Give the order to a new thread; return False when the system has no more of them."""
        _import_ahead()
        before = self._threads[-1] if self._threads else None
        # A daemon: a process that dies without `close` must not wait for pictures.
        thread = threading.Thread(
            target=self._work, args=(order, before), name="lightning_cam", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._wait_until(0)
            return False
        self._threads.append(thread)
        return True

    def _work(self, order: Order, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        try:
            found = _drawn(order)
        except BaseException as error:  # noqa: BLE001 - nothing above this would hear of it
            found = Delivery(order.step, error=RuntimeError(repr(error)))
        self._finished.append(found)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process starts with: nothing on its way."""
        return {**vars(self), "_finished": deque(), "_threads": []}


def _import_ahead() -> None:
    """Import here what drawing needs: a worker that is forked in mid-import waits for ever."""
    from PIL import Image

    import lightning_cam.loggers.animation
    import lightning_cam.render.encode  # noqa: F401 - OpenCV with it

    Image.preinit()


def _drawn(order: Order) -> Delivery:
    try:
        pictures = order.draw()
        for picture in pictures:
            picture.encode(order.encodings)
    except Exception as error:  # noqa: BLE001 - told by the thread that takes the delivery
        return Delivery(order.step, error=error)
    return Delivery(order.step, pictures)
