"""The memory of a run: what was seen before, and what has changed since."""

from lightning_cam.monitor.history import History, Snapshot
from lightning_cam.monitor.measure import measure

__all__ = ["History", "Snapshot", "measure"]
