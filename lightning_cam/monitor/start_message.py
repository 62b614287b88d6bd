"""`start_message`: what was taken for what, in one block of text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam.explain.methods import resolve_methods

if TYPE_CHECKING:
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.monitor.model_reading import ModelReading
    from lightning_cam.monitor.probe_setup import ProbeSetup
    from lightning_cam.probe import Probe
    from lightning_cam.probe.origin import ProbeOrigin
    from lightning_cam.runtime.distributed import Sharing

_ORDER = ("images", "labels", "class names", "normalization", "masks", "boxes", "output", "scores")


def start_message(
    tag: str,
    probe: Probe,
    config: MonitorConfig,
    setup: ProbeSetup,
    reading: ModelReading,
    origin: ProbeOrigin,
    sharing: Sharing,
) -> str:
    """Return a headline and, below it, a line for everything that was taken for something."""
    masks = "with" if probe.foreground is not None else "without"
    masks = "with estimated" if probe.masks_estimated else masks
    titles = ", ".join(method.title for method in resolve_methods(config.method))
    headline = f"{tag}: monitors {len(probe)} images {masks} masks, {titles} at {setup.layer_text}"
    facts = {**origin.facts, **reading.facts}
    known = [name for name in _ORDER if name in facts]
    known += [name for name in facts if name not in _ORDER]
    notes = [*origin.notes, *reading.notes, *limitations(probe)]
    if sharing != "independent":
        notes.append("the weights are sharded over processes: no untrained baseline")
    if sharing == "replicated":
        notes.append("every process runs all images")
    lines = [(name, facts[name]) for name in known] + [("note", note) for note in notes]
    return "\n".join([headline, *(f"    {name + ':':<15}{text}" for name, text in lines)])


def limitations(probe: Probe) -> list[str]:
    """Return what cannot be measured on a probe, and why, one sentence each."""
    labels = probe.targets
    empty, full = _empty_and_full(probe)
    found = [
        f"{int(which.sum())} of {len(probe)} masks are {what}: these images count in no metric of "
        "the object and in no intervention"
        for what, which in (("empty", empty), ("full", full))
        if bool(which.any())
    ]
    if probe.multi_label:
        return [*found, "several labels per image: reliance on attributes is not measured"]
    if labels is None:
        return [*found, "no labels: reliance on attributes is not measured"]
    counts = Counter(labels[~(empty | full)].tolist())
    if len(counts) == 1:
        found.append("images of one class only: nothing can be exchanged between classes")
    elif counts and max(counts.values()) == 1:
        found.append(
            "no two images of the same class: reliance on attributes is not measured, since an "
            "exchange within the class is its control"
        )
    return found


def _empty_and_full(probe: Probe) -> tuple[Tensor, Tensor]:
    """Return (B,) bool, whether an image's mask is empty, and whether it is full."""
    if probe.foreground is None:
        none = torch.zeros(len(probe), dtype=torch.bool)
        return none, none
    flat = probe.foreground.flatten(1)
    return ~flat.any(dim=1), flat.all(dim=1)
