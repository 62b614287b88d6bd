"""Pictures are drawn and encoded beside the training, and handed over in its own thread."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_cam.loggers.base import Picture

_WAITING = 2  # validations whose pictures may wait to be drawn; the next one waits for room
_PATIENCE = 1.0  # seconds from one look at whether the thread still lives to the next


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
    """Draws in a thread of its own, in order, a bounded number of validations behind.

    Loggers are not touched here: they belong to the training's thread, which takes what is done.

    Args:
        background: False draws at once, in the caller's thread.
    """

    def __init__(self, *, background: bool = True) -> None:
        self._background = background
        self._orders: queue.Queue[Order | None] | None = None  # made with the thread
        self._finished: deque[Delivery] = deque()
        self._thread: threading.Thread | None = None

    def order(self, order: Order) -> None:
        """Draw soon; waits while too many orders do."""
        if self._background and not self._alive():
            self._start()
        if not self._put(order):
            self._finished.append(_drawn(order))

    def take(self) -> list[Delivery]:
        """Return what is finished, in order, each once."""
        found = []
        while self._finished:
            found.append(self._finished.popleft())
        return found

    def close(self) -> list[Delivery]:
        """Finish everything, end the thread and return what is left. A later order starts anew."""
        if self._thread is not None and self._put(None):
            self._thread.join()
        self._orders = self._thread = None
        return self.take()

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _start(self) -> None:
        """Start a thread, the first or in place of one that is gone with what it had to draw."""
        _import_ahead()
        self._orders = queue.Queue(maxsize=_WAITING)
        # A daemon: a process that dies without `close` must not wait for pictures.
        self._thread = threading.Thread(
            target=self._work, args=(self._orders,), name="lightning_cam", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # the system has no more threads
            self._orders = self._thread = None

    def _put(self, order: Order | None) -> bool:
        """Hand an order to the thread; return False when there is none that will take it."""
        while self._orders is not None and self._alive():
            with contextlib.suppress(queue.Full):
                self._orders.put(order, timeout=_PATIENCE)
                return True
        return False

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy in another process starts with: nothing on its way."""
        return {**vars(self), "_orders": None, "_finished": deque(), "_thread": None}

    def _work(self, orders: queue.Queue[Order | None]) -> None:
        while (order := orders.get()) is not None:
            try:
                found = _drawn(order)
            except BaseException as error:  # noqa: BLE001 - nothing above this would hear of it
                found = Delivery(order.step, error=RuntimeError(repr(error)))
            self._finished.append(found)


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
