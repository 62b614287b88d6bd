"""`LowerBound`: how large a ratio was at least, however often one looks.

A training is evaluated again and again, and an alert that is raised at the first value beyond a
limit would come by chance sooner or later. The bound here holds at all evaluations at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 20  # steps of the bound between 0 and 1
_STAKES = (0.2, 0.5, 0.9)  # of what can be staked at most
_LARGEST = 1e100  # of a wealth: it is far beyond any threshold
_TOLERANCE = 1e-9


class LowerBound:
    """A lower bound of a ratio of two means, by betting against smaller ratios.

    For each level m of a grid a gambler stakes on `value - m * unit - slack` being above zero on
    average. If it never is, whatever the stakes, the gambler's wealth exceeds 1/α at any time with
    probability α at most (Ville's inequality); so where it does, m is excluded from below.
    Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting". The
    gambler holds a mixture of three stakes, and keeps a part of the money to start again at each
    evaluation, since a network that knows nothing yet says nothing about what it will rely on.

    Args:
        alpha: probability with which the bound may ever be too high.
        slack: how much a value must exceed `m * unit` on average to count.

    Attributes:
        low: the bound, a multiple of 1 / `LEVELS`; 0 before there is evidence. Never falls: it is
            about the largest ratio of all evaluations so far.
    """

    def __init__(self, alpha: float, slack: float = 0.0) -> None:
        self._alpha, self._slack = alpha, slack
        self._levels = np.arange(LEVELS) / LEVELS
        self._wealth: NDArray[np.float64] = np.zeros((len(_STAKES), LEVELS))
        self._evaluations = 0
        self.low = 0.0

    def update(
        self, values: NDArray[np.float64], units: NDArray[np.float64], offset: float = 0.0
    ) -> None:
        """Take in the values of one evaluation.

        Args:
            values: (M,), between -1 and 1, independent of each other given what was seen before.
            units: (M,), between -1 and 1.
            offset: what does not count of each value, 0 or more, known before they were drawn.
        """
        self._evaluations += 1
        n = self._evaluations
        self._wealth += 1 / (n * (n + 1))  # what is kept for later is 1 / (n + 1)
        gains = values[:, None] - offset - self._levels * units[:, None] - self._slack
        most = 1 / (1 + offset + self._levels + self._slack)  # no loss is larger: nobody goes broke
        for i, stake in enumerate(_STAKES):
            factors = np.prod(1 + stake * most * gains, axis=0)
            self._wealth[i] = np.minimum(self._wealth[i] * factors, _LARGEST)
        excluded = self.wealth * self._alpha >= 1
        if excluded.any():
            highest = int(np.flatnonzero(excluded).max())
            self.low = max(self.low, float(self._levels[highest]))

    @property
    def wealth(self) -> NDArray[np.float64]:
        """What has become of a stake of 1 against each level, (LEVELS,)."""
        wealth: NDArray[np.float64] = self._wealth.mean(axis=0) + 1 / (self._evaluations + 1)
        return wealth

    def exceeds(self, limit: float) -> bool:
        """Return whether the ratio was above a limit."""
        return self.low > limit - _TOLERANCE and self.low > 0

    def state_dict(self) -> dict[str, Any]:
        """Return primitives."""
        return {
            "wealth": self._wealth.tolist(),
            "evaluations": self._evaluations,
            "low": self.low,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: anything else.
        """
        wealth = np.asarray(state["wealth"], dtype=np.float64)
        evaluations, low = int(state["evaluations"]), float(state["low"])
        fits = wealth.shape == self._wealth.shape and bool((wealth >= 0).all())
        if not fits or evaluations < 0 or not 0 <= low <= 1:
            raise ValueError(f"expected the state of a lower bound, got {state!r:.80}")
        self._wealth, self._evaluations, self.low = wealth, evaluations, low
