"""The memory of a run: what was seen before, and what has changed since."""

from lightning_cam.monitor.alerts import Alert, AlertBook, default_rules
from lightning_cam.monitor.history import History, Snapshot
from lightning_cam.monitor.measure import measure
from lightning_cam.monitor.rules import Change, Level, Rule

__all__ = [
    "Alert",
    "AlertBook",
    "Change",
    "History",
    "Level",
    "Rule",
    "Snapshot",
    "default_rules",
    "measure",
]
