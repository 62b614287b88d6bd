"""`LoggedMetrics`: the names under which a monitor will log, and messages for any other name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lightning_cam.metrics.registry import find_metric
from lightning_cam.monitor.metric_names import needs_interventions
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from lightning_cam.metrics.selection import MetricSelection
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.monitor.probe_gap import ProbeGap
    from lightning_cam.monitor.probe_monitor import ProbeMonitor
    from lightning_cam.runtime.errors import ErrorPolicy


class LoggedMetrics:
    """The metrics of all probes of a monitor.

    Args:
        config: of the monitor.
        probes: the names of all probes.
        monitors: of the probes that are set up, by name.
        gap: of two probes, else None.
    """

    def __init__(
        self,
        config: MonitorConfig,
        probes: Sequence[str],
        monitors: Mapping[str, ProbeMonitor],
        gap: ProbeGap | None,
    ) -> None:
        self._config = config
        self._probes = probes
        self._monitors = monitors
        self._gap = gap

    def names(self) -> list[str]:
        """Return the names of all scalars that an evaluation may log, without the tag."""
        names = {name: monitor.metric_names for name, monitor in self._monitors.items()}
        several = len(self._probes) > 1
        known = [f"{n}/{each}" if several else each for n in names for each in names[n]]
        if self._gap is not None:
            known += self._gap.metric_names(names)
        return known + (["overhead"] if self._config.max_overhead is not None else [])

    def check_metric(self, name: str) -> None:
        """Raise ValueError where all probes are set up and none has a metric of that name.

        Args:
            name: with the probe's name before it, where there are several probes.
        """
        message = self.missing("metric", name)
        if message:
            raise ValueError(message)

    def check_names(
        self,
        progress_bar: str | None,
        monitored: Iterable[tuple[str, str, bool]],
        errors: ErrorPolicy,
    ) -> None:
        """Check the metrics that are wanted by name.

        A warning for a name in `monitored` that is not ours: the module may log it.

        Args:
            progress_bar: a metric to show there; see `check_metric`.
            monitored: classes of callbacks, metrics that they read, with the tag, and whether they
                need them.
            errors: takes warnings.

        Raises:
            ValueError: a metric of the catalog that these probes cannot have.
        """
        if progress_bar:
            self.check_metric(progress_bar)
        for by, name, needed in monitored:
            message, certain = self.missing_for(by, name) if needed else ("", False)
            if message and certain:
                raise ValueError(message)
            if message:
                errors.warn_once(message)

    def check_selection(self, selection: MetricSelection) -> None:
        """Raise ValueError where metrics are to be logged that are never measured.

        Nothing is said before all probes are set up.
        """
        if len(self._monitors) < len(self._probes):
            return
        names = dict.fromkeys(map(self._plain, self.names()))
        for pattern in selection.unmatched(names):
            message = self.missing("metric in metrics=", pattern) if "*" not in pattern else ""
            raise ValueError(message or selection.message(pattern, names))

    def missing_for(self, by: str, full_name: str) -> tuple[str, bool]:
        """Return the message for a metric that another callback needs; empty where it is logged.

        Args:
            by: the callback's class.
            full_name: of the metric, with the tag.

        Returns:
            The message, and whether the name is one of the catalog, which nothing else would log.
        """
        tag = f"{self._config.tag}/"
        name = full_name.removeprefix(tag)
        message = self.missing(f"metric in {by}", name, tag)
        metric, _ = find_metric(self._plain(name).partition("/")[0])
        return (f"{by}: {message}" if message else ""), metric is not None

    def missing(self, kind: str, name: str, prefix: str = "") -> str:
        """Return why a metric is never logged, or what it may mean; an empty string where it is.

        Nothing is said before all probes are set up.

        Args:
            kind: of use, such as `metric in EarlyStopping`.
            name: without the tag, with the probe's name before it, where there are several probes.
            prefix: what stands before it where it is used: nothing, or the tag and a slash.
        """
        if len(self._monitors) < len(self._probes):
            return ""
        plain, known = self._plain(name), self.names()
        if name in known:
            never = self._config.interventions_every == 0 and needs_interventions(plain)
            return f"{prefix}{name} needs interventions_every of 1 or more, got 0." if never else ""
        for each, monitor in self._monitors.items():
            if len(self._probes) == 1 or name.startswith(f"{each}/"):
                before = f"{prefix}{name.removesuffix(plain)}"
                return monitor.missing_metric(kind, plain, before)
        return unknown_name(kind, f"{prefix}{name}", [f"{prefix}{each}" for each in known])

    def _plain(self, name: str) -> str:
        """Return a metric's name without that of the probe, where there are several probes."""
        several = self._probes if len(self._probes) > 1 else ()
        own = next((f"{each}/" for each in several if name.startswith(f"{each}/")), "")
        return name.removeprefix(own)
