"""Checkpoints whose state of the callback is older, damaged, or of another probe or model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from helpers.training import squares_probe
from robustness.fault_injection.fault import FAULTS, Fault, TrainingSetup
from torch.nn import functional as F

_AFRESH = "history afresh"


def _add(
    name: str,
    description: str,
    warning: str,
    alter_state: Callable[[dict[str, Any]], Any],
    *,
    strict_raises: bool = True,
    **resumed_options: Any,
) -> None:
    """Add a fault that alters the state of the callback in a checkpoint."""

    def inject(setup: TrainingSetup) -> None:
        setup.alter_state = alter_state
        setup.resumed_options |= resumed_options

    FAULTS[name] = Fault(description, inject, warning, strict_raises=strict_raises)


def _without_later_fields(state: dict[str, Any]) -> None:
    for probe in state["probes"].values():
        for name in ("rules", "baselines", "noise_floor"):
            probe.pop(name)
        for name in ("best", "best_value", "average", "before"):
            probe["history"].pop(name)


def _with_cropped_maps(state: dict[str, Any]) -> None:
    for snapshot in state["probes"]["val"]["history"]["kept"]:
        snapshot["maps"] = [[m, layer, maps[:, :2]] for m, layer, maps in snapshot["maps"]]


def _with_enlarged_maps(state: dict[str, Any]) -> None:
    history = state["probes"]["val"]["history"]
    for snapshot in (*history["kept"], *(history[k] for k in ("first", "previous", "best"))):
        snapshot["maps"] = [
            [m, layer, F.interpolate(maps[None], scale_factor=2)[0]]
            for m, layer, maps in snapshot["maps"]
        ]


_DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "history missing": lambda s: s["probes"]["val"].pop("history"),
    "validations a word": lambda s: s.update(validations="many"),
    "probes a list": lambda s: s.update(probes=[1, 2]),
    "snapshots of text": lambda s: s["probes"]["val"]["history"].update(first="gone"),
    "cropped maps": _with_cropped_maps,
    "state of a rule is text": lambda s: s["probes"]["val"].update(
        rules=[{"metric": "enrichment", "seen": "x"}]
    ),
    "validations missing": lambda s: s.pop("validations"),
}

_add(
    "state_older",
    "a checkpoint of an older version, with fewer fields",
    "",
    _without_later_fields,
    strict_raises=False,
)
for _name, _damage in _DAMAGES.items():
    _add(f"state_damaged_{_name}", f"a damaged checkpoint: {_name}", _AFRESH, _damage)
_add(
    "state_other_probe",
    "a checkpoint of another probe",
    "of another probe",
    lambda _: None,
    probe=squares_probe(seed=9),
)
_add(
    "state_other_layer",
    "a checkpoint of another model: the maps are of another layer",
    "history is of layers",
    lambda s: s["probes"]["val"].update(layers=["backbone.9"]),
)
_add(
    "state_other_size",
    "a checkpoint of another model: the maps are of another size",
    _AFRESH,
    _with_enlarged_maps,
)
