"""Apply rules to recorded metrics: the alerts that they would have raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lightning_cam.metrics import METRICS
from lightning_cam.monitor import Rule
from lightning_cam.monitor.alerts import verdict_of
from lightning_cam.monitor.rule_set import RuleSet
from lightning_cam.monitor.schedule import interventions_due

_OF_INTERVENTIONS = frozenset(m.name for m in METRICS.values() if m.kind == "intervention")


def replay_rules(
    history: Sequence[Mapping[str, float]], rules: Sequence[Rule], every: int = 5
) -> list[tuple[int, str]]:
    """Return the evaluations and the metrics at which rules raise alerts.

    Args:
        history: metrics of each evaluation by plain name. Those of interventions keep their values
            until the next interventions, so values equal to the last ones are not counted.
        rules: with no lower limits than in the recorded run, in which a value beyond a limit led to
            interventions at once.
        every: the callback's `interventions_every`.
    """
    rule_set, alerts = RuleSet(rules), []
    for n, (metrics, answers) in enumerate(_split(history)):
        suspicious = rule_set.is_suspicious() or rule_set.would_trigger(metrics)
        evidence = answers if interventions_due(n, every) or suspicious else {}
        found = rule_set.update({**metrics, **evidence}, verdict_of(evidence))
        alerts += [(n, triggered.rule.metric) for triggered in found]
    return alerts


def _split(
    history: Sequence[Mapping[str, float]],
) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """Yield the metrics of maps, and those of interventions where these were run."""
    before: dict[str, float] = {}
    for metrics in history:
        plain = {name: value for name, value in metrics.items() if name not in _OF_INTERVENTIONS}
        answers = {name: value for name, value in metrics.items() if name in _OF_INTERVENTIONS}
        yield plain, {} if repr(answers) == repr(before) else answers
        before = answers
