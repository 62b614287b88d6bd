"""How much of the training's time the looks may take."""

from __future__ import annotations

import time


def checked_share(most: float | None) -> float | None:
    """Return a share of the time, or raise ValueError unless it is above 0 and below 1."""
    if most is not None and not 0 < most < 1:
        raise ValueError(f"expected max_overhead between 0 and 1, such as 0.02, came {most!r}")
    return most


class Budget:
    """Thins the looks so that their time stays a given share of the run's.

    The cost of the next look is taken to be that of the last one. Only what the training waits for
    is counted, not what is drawn beside it.

    Args:
        most: largest share of the time that the looks may take, such as 0.02; None for any.
    """

    def __init__(self, most: float | None) -> None:
        self.most = most
        self._started = time.perf_counter()
        self._spent = 0.0
        self._last = 0.0

    def start(self) -> None:
        """Begin to measure, at the start of a training."""
        self._started, self._spent = time.perf_counter(), 0.0

    def allows(self) -> bool:
        """Tell whether there is room for a look now; the first always has some."""
        if self.most is None or not self._spent:
            return True
        return self._spent + self._last <= self.most * (self._elapsed() + self._last)

    def spend(self, seconds: float) -> None:
        """Count a look."""
        self._last = seconds
        self._spent += seconds

    @property
    def share(self) -> float:
        """The looks' share of the time so far, 0 to 1."""
        return self._spent / max(self._elapsed(), 1e-9)

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started
