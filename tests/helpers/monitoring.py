"""A `ProbeMonitor` without a trainer."""

from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.probe_monitor import ProbeMonitor
from lightning_cam.runtime.forward_context import ForwardContext


def probe_monitor(model, probe, tag="cam", **options):
    """Return the monitor of a probe, set up for a model; `options` as for `CAMMonitor`."""
    config = MonitorConfig.from_options(options)
    return ProbeMonitor(tag, probe, config, model, ForwardContext.of(model))


def evaluate(monitor, model, epoch=0, step=None, *, value=float("nan")):
    """Return an evaluation and its alerts, after adding it to the monitor's history."""
    step = epoch if step is None else step
    evaluation = monitor.evaluate(model, ForwardContext.of(model), epoch, step)
    judged = monitor.judge(evaluation)
    monitor.update_history(evaluation, value, judged)
    return evaluation, list(judged.alerts)
