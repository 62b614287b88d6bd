"""`RuleSet`: rules and what they have seen, for one probe; `Judgement`: what follows from that."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_cam.monitor.rules import Rule, RuleState
from lightning_cam.output.protocols import Verdict
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from lightning_cam.monitor.alerts import Alert


class Triggered(NamedTuple):
    """A rule that an evaluation triggered, with the metric's value and the limit."""

    rule: Rule
    value: float
    limit: float


class RuleSet:
    """Rules and what they have seen.

    Args:
        rules: in the order in which they raise alerts.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._states = [RuleState() for _ in self.rules]

    def check(self, known: Iterable[str], explain: Callable[[str, str], str] | None = None) -> None:
        """Raise ValueError where a rule is about a metric that is never measured.

        Args:
            known: names of the metrics that are measured.
            explain: returns the message for the kind of use and the name of any other metric.
        """
        names = list(known)
        for rule in self.rules:
            for metric in filter(None, (rule.metric, rule.unit)):
                if metric not in names:
                    kind = "metric in a rule"
                    raise ValueError(
                        explain(kind, metric) if explain else unknown_name(kind, metric, names)
                    )

    def update(
        self, metrics: Mapping[str, float], verdict: Verdict = "saliency only"
    ) -> list[Triggered]:
        """Take in the metrics of an evaluation and return the rules that they trigger.

        Args:
            metrics: by plain name.
            verdict: what interventions say at this evaluation.
        """
        triggered = []
        for rule, state in zip(self.rules, self._states, strict=True):
            value = metrics.get(rule.metric, math.nan)
            unit = metrics.get(rule.unit, math.nan) if rule.unit else 1.0
            if not rule.update(state, value, unit):
                continue
            if rule.confirm and verdict == "contradicted":
                state.active = False  # the streak stays, so that the next value triggers again
            else:
                triggered.append(Triggered(rule, value, state.limit))
        return triggered

    def is_suspicious(self) -> bool:
        """Return whether a rule has values beyond its limit, but not yet enough of them."""
        return any(state.streak and not state.active for state in self._states)

    def would_trigger(self, metrics: Mapping[str, float]) -> bool:
        """Return whether `update` would trigger a rule, without taking the metrics in."""
        return bool(copy.deepcopy(self).update(metrics))

    def state_dict(self) -> list[dict[str, Any]]:
        """Return each rule's metric and state as primitives."""
        pairs = zip(self.rules, self._states, strict=True)
        return [{"metric": rule.metric, **state.state_dict()} for rule, state in pairs]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore the state of the same rules; other rules start afresh.

        Raises:
            TypeError: anything but numbers in a state, or a field that there is not.
            ValueError: a number out of range.
        """
        restored = [(state["metric"], RuleState.restored(state)) for state in states]
        if [metric for metric, _ in restored] == [rule.metric for rule in self.rules]:
            pairs = zip(self.rules, restored, strict=True)
            if all(rule.may_have_seen(state) for rule, (_, state) in pairs):
                self._states = [state for _, state in restored]

    def reset(self) -> None:
        """Forget what the rules have seen."""
        self._states = [RuleState() for _ in self.rules]


@dataclass(frozen=True)
class Judgement:
    """What an evaluation means for the rules.

    Attributes:
        alerts: that it raises.
        rules: with what they have seen then.
        suspicious: whether interventions are wanted at the next evaluation.
    """

    alerts: tuple[Alert, ...]
    rules: RuleSet
    suspicious: bool
