"""`ProbeSet`: the probes of a monitor, from their announcement to their restored state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_cam.monitor.evaluation import Evaluation, Snapshot
from lightning_cam.monitor.measure import metric_names_for
from lightning_cam.monitor.probe_gap import gap_of
from lightning_cam.monitor.probe_monitor import ProbeMonitor
from lightning_cam.monitor.state_check import check_probe_states, unusable
from lightning_cam.probe import Probe
from lightning_cam.runtime.chunking import is_out_of_memory
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from torch import nn

    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.probe.origin import ProbeOrigin
    from lightning_cam.runtime.errors import ErrorPolicy
    from lightning_cam.runtime.forward_context import ForwardContext


class ProbeSet:
    """Probes by name. Each is announced, then set, then set up with a model.

    Args:
        names: of all probes.
        config: of the monitor.
        errors: what to do about exceptions.

    Attributes:
        monitors: of the probes that are set up, by name.
        gap: of two probes, else None.

    Raises:
        ValueError: a rule is about the gap of two probes, and there are not two.
    """

    def __init__(self, names: Sequence[str], config: MonitorConfig, errors: ErrorPolicy) -> None:
        if not names:
            raise ValueError("expected at least one probe, got an empty dict")
        self._config = config
        self._errors = errors
        self._probes: dict[str, Probe | None] = dict.fromkeys(names)
        self._origins: dict[str, ProbeOrigin | None] = {}
        self._restored: dict[str, Any] = {}
        self.monitors: dict[str, ProbeMonitor] = {}
        self.gap = gap_of(config.tag, names, config.alerts)

    @property
    def unset(self) -> list[str]:
        """The names of probes that are only announced."""
        return [name for name, probe in self._probes.items() if probe is None]

    @property
    def is_complete(self) -> bool:
        """Whether all probes are set up."""
        return len(self.monitors) == len(self._probes)

    def tag_of(self, name: str) -> str:
        """Return what the names of a probe's metrics start with."""
        return self._config.tag if len(self._probes) == 1 else f"{self._config.tag}/{name}"

    def set(self, name: str, probe: Probe, origin: ProbeOrigin | None = None) -> None:
        """Set a probe that was announced.

        Args:
            name: of the probe.
            probe: the images.
            origin: how it was made, for the start message.

        Raises:
            ValueError: a name that was not announced.
            TypeError: no `Probe`.
        """
        if name not in self._probes:
            raise ValueError(unknown_name("probe", name, self._probes))
        if not isinstance(probe, Probe):
            raise TypeError(f"expected probe {name!r} as a Probe, got a {type(probe).__name__}")
        if self._config.estimate_masks:
            probe = probe.with_estimated_masks(self._config.seed)
        self._probes[name] = probe
        self._origins[name] = origin

    def check_metric(self, name: str) -> None:
        """Raise ValueError where all probes are set up and none has a metric of that name.

        Args:
            name: with the probe's name before it, where there are several probes.
        """
        known = [
            f"{monitor.tag}/{metric}".removeprefix(f"{self._config.tag}/")
            for monitor in self.monitors.values()
            for metric in monitor.metric_names
        ]
        if len(self.monitors) == len(self._probes) and name not in known:
            raise ValueError(unknown_name("metric", name, known))

    def set_up(self, model: nn.Module, forward_context: ForwardContext) -> list[str]:
        """Set up the probes that are set; return a summary of each that was set up now.

        Raises:
            ValueError: whatever of probe, model and configuration does not fit together.
        """
        summaries = []
        for name, probe in self._probes.items():
            if probe is None or name in self.monitors:
                continue
            monitor = self._monitor_of(name, probe, model, forward_context)
            if monitor is not None:
                self.warn_about_memory(monitor)
                self.monitors[name] = monitor
                self._restore(name, monitor)
                summaries.append(monitor.summary)
        if summaries and self.gap is not None and len(self.monitors) == len(self._probes):
            names = {name: monitor.metric_names for name, monitor in self.monitors.items()}
            self.gap.rules.check(self.gap.metric_names(names))
        return summaries

    def _monitor_of(
        self, name: str, probe: Probe, model: nn.Module, forward_context: ForwardContext
    ) -> ProbeMonitor | None:
        """Return a probe's monitor, None where there is not enough memory for it now."""
        context = DistributedContext.current()
        probe = context.broadcast_if_different(probe, probe.fingerprint)  # sampled from a shard
        tag = self.tag_of(name)
        origin = self._origins.get(name)
        make = partial(ProbeMonitor, tag, probe, self._config, model, forward_context, origin)
        try:
            return context.run_on_all(make)
        except Exception as error:
            if not is_out_of_memory(error) or self._errors.strict:
                raise
            self._errors.handle(f"the setup of {tag}", error)
            return None

    def warn_about_memory(self, monitor: ProbeMonitor) -> None:
        """Warn, unless `strict`, where memory ran out and the chunk size was halved."""
        warning = monitor.computer.memory_warning()
        if warning and not self._errors.strict:
            self._errors.warn_once(warning)

    def failed_evaluations(self, epoch: int, step: int) -> dict[str, Evaluation]:
        """Return what stands for the evaluations of probes that could not be set up yet.

        All metrics that the catalog has for such a probe are NaN, so that callbacks which monitor
        one of them find it.
        """
        return {
            name: Evaluation(
                Snapshot.empty(0, epoch, step), dict.fromkeys(metric_names_for(probe), math.nan)
            )
            for name, probe in self._probes.items()
            if probe is not None and name not in self.monitors
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what each probe and the gap remember."""
        probes = {name: monitor.state_dict() for name, monitor in self.monitors.items()}
        state: dict[str, Any] = {"probes": {**self._restored, **probes}}
        if self.gap is not None:
            state["gap"] = self.gap.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of each probe, as soon as it is set up.

        A damaged state is refused as a whole, by one warning. So is that of another probe or layer,
        and with it what the rules of the gap have seen; other probes are restored.
        """
        self._restored = {}
        try:
            check_probe_states(state)
        except Exception as error:  # noqa: BLE001 - a damaged file may hold anything
            self.start_afresh(unusable(error))
            return
        self._restored = dict(state["probes"])
        if self.gap is not None and state.get("gap") is not None:
            self.gap.load_state_dict(state["gap"])
        for name, monitor in self.monitors.items():
            self._restore(name, monitor)

    def _restore(self, name: str, monitor: ProbeMonitor) -> None:
        state = self._restored.pop(name, None)
        reason = monitor.load_state_dict(state) if state is not None else ""
        if reason:
            if self.gap is not None:
                self.gap.rules.forget()
            self.start_afresh(reason)

    def start_afresh(self, reason: str) -> None:
        """Say why a state is not used, or raise ValueError where `strict`."""
        if self._errors.strict:
            raise ValueError(f"expected a checkpoint of this run, but {reason}")
        self._errors.warn_once(f"lightning_cam starts its history afresh: {reason}.")
