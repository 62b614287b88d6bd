"""`start_message`: what was taken for what, in one block of text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam.explain.methods import resolve_methods
from lightning_cam.metrics.reliance import MIN_PAIRS

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
    masks, labels = probe.foreground, probe.targets
    empty, full = _empty_and_full(probe)
    found = [
        f"{int(which.sum())} of {len(probe)} masks are {what}: these images count in no metric of "
        "the object and in no intervention"
        for what, which in (("empty", empty), ("full", full))
        if bool(which.any())
    ]
    if probe.multi_label:
        return [*found, "several labels per image: reliance on the background is not measured"]
    if labels is None:
        consequence = "predicted classes take their place"
        if masks is not None:
            consequence = "reliance on the background is not measured"
        return [*found, f"no labels: {consequence}"]
    counts = Counter(labels[~(empty | full)].tolist())
    if len(counts) == 1:
        found.append("images of one class only: backgrounds cannot be exchanged between classes")
    elif counts and sum(count for count in counts.values() if count > 1) < MIN_PAIRS:
        found.append(
            f"fewer than {MIN_PAIRS} images share their class with another one: backgrounds cannot "
            "be exchanged within a class, so there is no gap between the two"
        )
    return found


def _empty_and_full(probe: Probe) -> tuple[Tensor, Tensor]:
    """Return (B,) bool, whether an image's mask is empty, and whether it is full."""
    if probe.foreground is None:
        none = torch.zeros(len(probe), dtype=torch.bool)
        return none, none
    flat = probe.foreground.flatten(1)
    return ~flat.any(dim=1), flat.all(dim=1)
