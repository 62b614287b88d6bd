"""The default rules on a recorded course: what they would have said, had they been these then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lightning_cam.metrics.reliance import MASK_FREE_METRICS, RELIANCE_METRICS
from lightning_cam.monitor import RuleSet, Rule
from lightning_cam.monitor.alerts import verdict_of
from lightning_cam.monitor.schedule import asks

_ASKED = frozenset({*RELIANCE_METRICS, *MASK_FREE_METRICS})


def alerts_of(
    course: Sequence[Mapping[str, float]], rules: Sequence[Rule], every: int = 5
) -> list[tuple[int, str]]:
    """Return when which rule alerts.

    Args:
        course: each validation's metrics by plain name. What was asked by interventions stands
            there until it was asked again, so an answer like the one before is none.
        rules: with no lower limits than those of the recorded run, in which a value beyond a limit
            was asked for again at once.
        every: the callback's `interventions_every`.
    """
    book, alerts = RuleSet(rules), []
    for look, (plain, answers) in enumerate(_taken_apart(course)):
        due = asks(look, every) or book.is_suspicious() or book.would_trigger(plain)
        evidence = answers if due else {}
        found = book.update({**plain, **evidence}, verdict_of(evidence))
        alerts += [(look, rule.metric) for rule, *_ in found]
    return alerts


def _taken_apart(
    course: Sequence[Mapping[str, float]],
) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """Yield the metrics of the maps and, where it was asked, those of interventions."""
    before: dict[str, float] = {}
    for metrics in course:
        plain = {name: value for name, value in metrics.items() if name not in _ASKED}
        answers = {name: value for name, value in metrics.items() if name in _ASKED}
        yield plain, {} if repr(answers) == repr(before) else answers
        before = answers
