"""Rules: when a metric's values raise an alert.

A rule is a frozen description; what it has seen is kept in a `RuleState` of primitives, which goes
into checkpoints. NaN is no evidence: it neither triggers nor clears a rule.
"""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_cam.metrics.registry import BASELINES
from lightning_cam.runtime.messages import unknown_name

_LARGEST = 1 << 53  # of a count
_LARGEST_VALUE = 1e100  # of a metric: its square is a number still


@dataclass
class RuleState:
    """What a rule has seen.

    Attributes:
        seen: number of finite values so far.
        streak: how many of the last values in a row were beyond the limit.
        calm: how many in a row were well within it since the rule was triggered.
        active: triggered and not yet cleared.
        baseline: the first values, which a change is measured from.
        recent: the last values, whose movement says how much change is usual.
        statistic: of the control chart.
        limit: the limit of the last value, as alerts state it.
    """

    seen: int = 0
    streak: int = 0
    calm: int = 0
    active: bool = False
    baseline: list[float] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    statistic: float = 0.0
    limit: float = math.nan

    def state_dict(self) -> dict[str, Any]:
        """Return primitives and lists."""
        return {**vars(self), "baseline": list(self.baseline), "recent": list(self.recent)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> RuleState:
        """Return the state that `state_dict` returned; a `metric` beside it is left out.

        Raises:
            TypeError: anything but numbers, or a field that there is not.
            ValueError: a negative count, or a number that no metric can have.
        """
        values = {name: value for name, value in state.items() if name != "metric"}
        for name in {"seen", "streak", "calm"} & values.keys():
            if isinstance(values[name], bool) or not isinstance(values[name], int):
                raise TypeError(f"expected {name} as an integer, got {values[name]!r:.40}")
            if not 0 <= values[name] < _LARGEST:
                raise ValueError(f"expected {name} of 0 or more, got {values[name]!r:.40}")
        if not isinstance(values.get("active", False), bool):
            raise TypeError(f"expected active as a bool, got {values['active']!r:.40}")
        lists = {name: values.get(name, []) for name in ("baseline", "recent")}
        for name, numbers in lists.items():
            if not isinstance(numbers, list):
                raise TypeError(f"expected {name} as a list, got {numbers!r:.40}")
        _check_finite([*lists["baseline"], *lists["recent"], values.get("statistic", 0.0)])
        limit = values.get("limit", math.nan)  # unknown before the first value
        if isinstance(limit, bool) or not isinstance(limit, (int, float)):
            raise TypeError(f"expected limit as a number, got {limit!r:.40}")
        return cls(**{**values, **{name: list(numbers) for name, numbers in lists.items()}})


def _check_finite(numbers: Sequence[Any]) -> None:
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise TypeError(f"expected numbers, got {number!r:.40}")
        if not abs(number) < _LARGEST_VALUE:
            raise ValueError(f"expected finite numbers, got {number!r:.40}")


@dataclass(frozen=True)
class Rule(ABC):
    """Triggers when a metric is beyond a limit at several evaluations in a row.

    Attributes:
        metric: its plain name, without the tag, e.g. `enrichment`.
        patience: number of evaluations in a row that must be beyond the limit.
        warmup: number of first values that are ignored.
        clear_after: number of values in a row well within the limit after which the rule may
            trigger again.
        confirm: raise no alert while interventions contradict it, and run them again each time.
    """

    metric: str
    patience: int = field(default=2, kw_only=True)
    warmup: int = field(default=1, kw_only=True)
    clear_after: int = field(default=3, kw_only=True)
    confirm: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("patience", "clear_after"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        if self.warmup < 0:
            raise ValueError(f"expected warmup of 0 or more, got {self.warmup}")

    @property
    def unit(self) -> str | None:
        """The metric that limits are multiples of; None where they are absolute."""
        return None

    def update(self, state: RuleState, value: float, unit: float = 1.0) -> bool:
        """Take in a value and return whether it triggers the rule, once until the rule clears.

        Args:
            state: what the rule has seen.
            value: of `metric`.
            unit: value of the metric that the property `unit` names.
        """
        if not (math.isfinite(value) and math.isfinite(unit)):
            return False
        state.seen += 1
        if state.seen <= self.warmup:
            return False
        beyond, calm = self._judge(state, value, unit)
        state.streak = state.streak + 1 if beyond else 0
        if state.active:
            state.calm = state.calm + 1 if calm else 0
            state.active = state.calm < self.clear_after
            return False
        state.active, state.calm = state.streak >= self.patience, 0
        return state.active

    def may_have_seen(self, state: RuleState) -> bool:
        """Return whether a restored state can be this rule's, and not that of a changed one."""
        del state
        return True

    @abstractmethod
    def _judge(self, state: RuleState, value: float, unit: float) -> tuple[bool, bool]:
        """Return whether the value is beyond the limit, and whether it is well within it."""


@dataclass(frozen=True)
class Threshold(Rule):
    """A limit, absolute or in multiples of a baseline: give one of `below` and `above`.

    Attributes:
        below: trigger under this value.
        above: trigger over this value.
        margin: how far within the limit a value must be to clear the rule (hysteresis).
        of: `random`, `center` or `untrained`: limit and margin are multiples of the metric's value
            for such maps, e.g. `Threshold("relevance_mass", below=1.2, of="untrained")`.

    Raises:
        ValueError: both or none of `below` and `above`, a limit that is not finite, a negative
            margin, or an unknown baseline.
    """

    below: float | None = field(default=None, kw_only=True)
    above: float | None = field(default=None, kw_only=True)
    margin: float = field(default=0.1, kw_only=True)
    of: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.below is None) == (self.above is None):
            raise ValueError(f"expected one of below and above, got {self.below}, {self.above}")
        limit = self.below if self.below is not None else self.above
        if limit is None or not math.isfinite(limit):
            raise ValueError(f"expected a finite limit, got {limit}")
        if self.margin < 0:
            raise ValueError(f"expected margin of 0 or more, got {self.margin}")
        if self.of is not None and self.of not in BASELINES:
            raise ValueError(unknown_name("baseline", self.of, BASELINES))

    @property
    def unit(self) -> str | None:
        """The metric that limits are multiples of; None where they are absolute."""
        return f"{self.metric}_{self.of}" if self.of else None

    def _judge(self, state: RuleState, value: float, unit: float) -> tuple[bool, bool]:
        margin = self.margin * abs(unit)
        if self.below is not None:
            state.limit = self.below * unit
            return value < state.limit, value > state.limit + margin
        assert self.above is not None
        state.limit = self.above * unit
        return value > state.limit, value < state.limit - margin


# Of an EWMA chart by the number of baseline values: 5 % of stationary series of 100 values pass it
# where their autocorrelation is 0.95, fewer where it is less: `benchmarks.control_chart`.
_LIMITS = {5: 18.5, 10: 11.6, 20: 10.9}
_EWMA_WEIGHT = 0.2
_LONGEST_LAG = 8  # of the differences that say how much change is usual
_WINDOW = 100  # values that these are taken of
_MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, in standard deviations
_SMALLEST_CHANGE = 0.01  # of the baseline's mean, that is never unusual
_SMALLEST_MEAN = 0.1


@dataclass(frozen=True)
class ControlChart(Rule):
    """A change from the metric's own first values.

    An exponentially weighted mean (EWMA, weight 0.2, Roberts 1959) of the distance to the mean of
    the first values, in multiples of how much the metric usually changes within eight evaluations:
    the median absolute difference of values so far apart, over all values so far. Unlike a standard
    deviation of the first values that holds for metrics that wander slowly, and a step adds little
    to it. After a constant baseline a change of about 4 % of its mean counts.

    A shortcut that is learnt from the start leaves no clean baseline: use a `Threshold` beside it.

    Attributes:
        direction: `down` or `up`.
        baseline: number of values after the warm-up that are the reference: 5, 10 or 20. With 5
            only changes about half as large again are found.

    Raises:
        ValueError: any other direction or baseline.
    """

    direction: Literal["down", "up"] = field(default="down", kw_only=True)
    baseline: int = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in ("down", "up"):
            raise ValueError(f"expected direction 'down' or 'up', got {self.direction!r}")
        if self.baseline not in _LIMITS:
            raise ValueError(f"expected baseline of 5, 10 or 20 values, got {self.baseline}")

    def may_have_seen(self, state: RuleState) -> bool:
        """Return whether a restored state has no more values than the chart keeps."""
        return len(state.baseline) <= self.baseline and len(state.recent) <= _WINDOW

    def _judge(self, state: RuleState, value: float, unit: float) -> tuple[bool, bool]:
        del unit  # a change is measured in the metric's own movement
        state.recent = [*state.recent, value][-_WINDOW:]
        if len(state.baseline) < self.baseline:
            state.baseline.append(value)
            return False, False
        mean = math.fsum(state.baseline) / self.baseline
        lag = min(_LONGEST_LAG, self.baseline - 2)
        smallest = _SMALLEST_CHANGE * max(abs(mean), _SMALLEST_MEAN)
        scale = max(usual_change(state.recent, lag), smallest)
        state.statistic += _EWMA_WEIGHT * (value - mean - state.statistic)
        deviation = math.sqrt(_EWMA_WEIGHT / (2 - _EWMA_WEIGHT)) * scale
        sign = -1 if self.direction == "down" else 1
        limit = _LIMITS[self.baseline]
        state.limit = mean + sign * limit * deviation
        score = sign * state.statistic / deviation
        return score > limit, score < limit / 2


def usual_change(values: Sequence[float], lag: int) -> float:
    """Return the median absolute difference of values `lag` apart, as a standard deviation."""
    later, earlier = values[lag:], values[:-lag]
    return statistics.median(abs(a - b) for a, b in zip(later, earlier, strict=True)) / (
        _MEDIAN_OF_NORMAL
    )
