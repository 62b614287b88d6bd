"""When: at which validations to evaluate, to run interventions, to measure the noise floor."""

from __future__ import annotations

import time

_EARLY = 5
_FIRST_LATER = 10  # evaluation; then at twice, four times, ... as many
_NOISE_FLOOR_EVERY = 5


def interventions_due(count: int, every: int | None) -> bool:
    """Return whether interventions are due at an evaluation.

    At each of the first five, since a shortcut is learnt with the first rise of the accuracy, and
    ever more rarely after that.

    Args:
        count: evaluations that came before.
        every: n for every n-th after the first five; None for the 10th, 20th, 40th, ...; 0 for
            never.
    """
    if every == 0:
        return False
    if count < _EARLY:
        return True
    if every is not None:
        return count % every == 0
    times, rest = divmod(count, _FIRST_LATER)
    return not rest and not times & (times - 1)


def noise_floor_due(count: int, every: int | None) -> bool:
    """Return whether to measure the noise floor.

    At each of the first five evaluations, between which it may change tenfold, since a network that
    knows nothing yet has other maps; then between two interventions. See `interventions_due`.
    """
    every = _NOISE_FLOOR_EVERY if every is None else every
    return every > 0 and (count < _EARLY or count % every == every // 2)


class Budget:
    """Limits evaluations to a share of the training's time.

    The next evaluation is assumed to cost what the last one did. Only the time that the training
    waits is counted, not what runs beside it.

    Args:
        max_overhead: largest share of the time, such as 0.02; None for no limit.
    """

    def __init__(self, max_overhead: float | None) -> None:
        self.max_overhead = max_overhead
        self.start()

    def start(self) -> None:
        """Start to measure, at the beginning of a training."""
        self._started = time.perf_counter()
        self._spent = 0.0
        self._last = 0.0
        self._running: float | None = None  # since when, while there is an evaluation

    def allows(self) -> bool:
        """Return whether there is time for an evaluation now; for the first there always is."""
        if self.max_overhead is None or not self._spent:
            return True
        return self._spent + self._last <= self.max_overhead * (self._elapsed() + self._last)

    def begin(self) -> None:
        """Count the time from now as an evaluation's, until `end`."""
        self._running = time.perf_counter()

    def end(self) -> None:
        """Count the evaluation that began, if there is one."""
        if self._running is not None:
            self._last = time.perf_counter() - self._running
            self._spent += self._last
            self._running = None

    @property
    def share(self) -> float:
        """The evaluations' share of the time so far, 0 to 1, that of the running one included."""
        now = time.perf_counter()
        running = 0.0 if self._running is None else now - self._running
        return (self._spent + running) / max(now - self._started, 1e-9)

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


class Schedule:
    """Decides at which validations to evaluate.

    Args:
        every_n_validations: evaluate at every n-th validation only.
        max_overhead: largest share of the training's time; None for no limit.
    """

    def __init__(self, every_n_validations: int, max_overhead: float | None) -> None:
        self._every = every_n_validations
        self.budget = Budget(max_overhead)
        self.validations = 0

    def is_due(self) -> bool:
        """Count a validation and return whether to evaluate at it, as far as the count says."""
        due = self.validations % self._every == 0
        self.validations += 1
        return due
