"""`CAMMonitor` and what it remembers: evaluations, history, rules and alerts."""

from lightning_cam.monitor.alerts import Alert
from lightning_cam.monitor.default_rules import default_rules
from lightning_cam.monitor.evaluation import Evaluation, Snapshot
from lightning_cam.monitor.history import History
from lightning_cam.monitor.monitor import CAMMonitor
from lightning_cam.monitor.rules import ControlChart, Rule, Threshold

__all__ = [
    "Alert",
    "CAMMonitor",
    "ControlChart",
    "Evaluation",
    "History",
    "Rule",
    "Snapshot",
    "Threshold",
    "default_rules",
]
