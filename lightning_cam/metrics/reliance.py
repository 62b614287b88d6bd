"""How much a model relies on an attribute: estimates of what exchanges of it did.

`lightning_cam.interventions` exchanges an attribute of an image, once with an image of the same
class and once with one of another class. What the second costs beyond the first, in units of what
exchanging the whole image costs, is the reliance on the attribute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

MIN_TRIPLES = 8  # that a standard error needs to mean anything
_DECAY = 0.7  # weight of what was seen at the evaluation before
_CHANGED = 2.0  # standard errors between two values, from which the model has changed
_LEAST_SKILL = 0.1
_SUMS = ("n", "v", "s", "vv", "vs", "ss")
_HELPFUL = 0.1  # reliance on the surroundings from which they are said to help

Answer: TypeAlias = Literal["shortcut", "context", "none", "unknown"]


def answer_of(metrics: Mapping[str, float | None]) -> Answer:
    """Return what metrics say: a shortcut, help from the surroundings, nothing, or too little.

    Args:
        metrics: plain name: value, of one evaluation; missing ones are unknown.
    """
    low = metrics.get("shortcut_score_low")
    if low is not None and low > 0:
        return "shortcut"
    score = metrics.get("shortcut_score")
    if score is None or not math.isfinite(score):
        return "unknown"
    context = metrics.get("context_reliance_low")
    return "context" if context is not None and context >= _HELPFUL else "none"


class RelianceEstimate:
    """An estimate of the present reliance, in which older evaluations count less.

    With v what an exchange costs, in probability of the label, and s what exchanging the whole
    image costs, both means over triples, the reliance is v / s. A model that knows little can rely
    on little, so s counts as 0.1 at least. The standard error is that of a ratio of means
    (Cochran 1977, eq. 2.46). Older evaluations together count little more than twice as much as the
    newest, however many triples they had, and are forgotten at once where it contradicts them: the
    model has changed.
    """

    def __init__(self) -> None:
        self._sums = dict.fromkeys(_SUMS, 0.0)
        self._squared_weights = 0.0
        self._triples = 0

    def update(self, values: NDArray[np.float64], skills: NDArray[np.float64]) -> None:
        """Take in one evaluation: what exchanges of the attribute and of all cost, (M,) each."""
        newest = RelianceEstimate()
        newest._sums = {
            "n": float(len(values)),
            "v": float(values.sum()),
            "s": float(skills.sum()),
            "vv": float((values**2).sum()),
            "vs": float((values * skills).sum()),
            "ss": float((skills**2).sum()),
        }
        newest._squared_weights, newest._triples = float(len(values)), len(values)
        decay = 0.0 if newest._contradicts(self) else self._decay(len(values))
        self._sums = {name: decay * self._sums[name] + newest._sums[name] for name in _SUMS}
        self._squared_weights = decay**2 * self._squared_weights + len(values)
        self._triples = len(values) + (self._triples if decay else 0)

    def _decay(self, newest: int) -> float:
        """Return the weight of what was seen, before an evaluation of so many triples."""
        most = _DECAY / (1 - _DECAY) * max(newest, MIN_TRIPLES)  # where all have equally many
        return min(_DECAY, most / self._sums["n"]) if self._triples else _DECAY

    def _contradicts(self, other: RelianceEstimate) -> bool:
        """Return whether two estimates are further apart than chance explains."""
        error = math.hypot(self.standard_error, other.standard_error)
        return abs(self.value - other.value) > _CHANGED * error  # never where one is unknown

    @property
    def value(self) -> float:
        """The reliance, 0 to 1; NaN without triples."""
        return math.nan if not self._triples else min(max(self._ratio, 0.0), 1.0)

    @property
    def standard_error(self) -> float:
        """Of the reliance; NaN with too few triples."""
        if self._triples < MIN_TRIPLES:
            return math.nan
        n, _, s, vv, vs, ss = (self._sums[name] for name in _SUMS)
        ratio = self._ratio
        variance = max((vv - 2 * ratio * vs + ratio**2 * ss) / n, 0.0)
        effective = n**2 / self._squared_weights
        return math.sqrt(variance / effective) / max(s / n, _LEAST_SKILL)

    @property
    def _ratio(self) -> float:
        return self._sums["v"] / max(self._sums["s"], _LEAST_SKILL * self._sums["n"])

    def state_dict(self) -> dict[str, Any]:
        """Return primitives."""
        return {**self._sums, "squared_weights": self._squared_weights, "triples": self._triples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: sums that no triples have.
        """
        numbers = {name: float(state[name]) for name in (*_SUMS, "squared_weights")}
        triples = int(state["triples"])
        least = [numbers[name] for name in ("n", "vv", "ss", "squared_weights")]
        some = [bool(each) for each in (triples, numbers["n"], numbers["squared_weights"])]
        if not all(map(math.isfinite, numbers.values())) or min(*least, triples) < 0:
            raise ValueError(f"expected finite sums, of squares not below 0, got {numbers}")
        if len(set(some)) > 1:
            raise ValueError(f"expected sums of {triples} triples, got {numbers}")
        self._triples = triples
        self._squared_weights = numbers.pop("squared_weights")
        self._sums = numbers
