"""Print the table of docs/alerts.md: false alarms of `ControlChart`, and steps that it finds."""

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.pages import table
from lightning_cam import ControlChart
from lightning_cam.monitor.rules import RuleState

_LENGTH, _CHANGE, _WITHIN, _STEPS = 100, 50, 15, (4, 8, 16)


def alarmed(rule: ControlChart, values: Sequence[float], places: range) -> bool:
    """Return whether a rule alarms for one of the values at some places."""
    state = RuleState()
    return any([rule.update(state, value) and n in places for n, value in enumerate(values)])  # noqa: C419


rows = []
for baseline in (5, 10, 20):
    chart = ControlChart("m", direction="up", baseline=baseline, warmup=0, patience=1)
    for phi in (0.0, 0.5, 0.7, 0.9, 0.95):
        count = 3 if "--quick" in sys.argv else 1000
        noise = np.random.default_rng(0).standard_normal((_LENGTH, count))
        series = [noise[0]]  # stationary, with a standard deviation of 1
        for step in noise[1:]:
            series.append(phi * series[-1] + np.sqrt(1 - phi**2) * step)
        rates = [np.mean([alarmed(chart, v, range(_LENGTH)) for v in np.stack(series, 1)])]
        for size in _STEPS:
            stepped = np.stack(series, 1) + size * (np.arange(_LENGTH) >= _CHANGE)
            after = range(_CHANGE, _CHANGE + _WITHIN)
            rates.append(np.mean([alarmed(chart, values, after) for values in stepped]))
        rows.append([str(baseline), f"{phi:g}", *(f"{rate:.1%}" for rate in rates)])
print(table(["baseline", "φ", "false alarms", *(f"step of {s}" for s in _STEPS)], rows))
