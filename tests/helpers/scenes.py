"""Probes, maps and snapshots for tests of panels, and all panels of a sequence of evaluations."""

import torch

from lightning_cam.monitor import History, Snapshot
from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels import PANELS
from lightning_cam.output.panels.renderer import PanelRenderer
from lightning_cam.probe import Probe

KEY, OTHER = ("gradcam", "layer4"), ("layercam", "layer3")


def probe_of(count=4, side=32, *, masks=True, **known):
    """Return a probe of noise, with labels 0 to 7 in turn and one rectangle as mask."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(count, side, side, dtype=torch.bool)
    mask[:, 8:16, 8:24] = True
    known.setdefault("class_names", [f"name {i}" for i in range(8)])
    return Probe(
        torch.rand(count, 3, side, side, generator=generator),
        torch.arange(count) % 8,
        masks=mask if masks else None,
        **known,
    )


def spot(count, cell, value=1.0, grid=(4, 4)):
    """Return maps with a high value in one cell and a hundredth of it in all others."""
    maps = torch.full((count, *grid), 0.01 * value)
    maps.flatten(1)[:, cell] = value
    return maps


def spots(cells, count=4):
    """Return the maps of an evaluation per cell."""
    return [{KEY: spot(count, cell)} for cell in cells]


def snapshot_of(probe, index, maps, epoch=None):
    """Return an evaluation's snapshot, in which each label is predicted with 75 %."""
    rows = torch.arange(len(probe))
    epoch = index if epoch is None else epoch
    labels = probe.targets
    confidences = torch.full((len(probe),), 0.75)
    return Snapshot(index, epoch, 10 * index, maps, rows, labels, labels, confidences)


def draw(
    probe,
    evaluations,
    *,
    best=None,
    epochs=None,
    per_image=None,
    panels=None,
    last_only=False,
    **options,
):
    """Draw each evaluation in turn and return the images of the last one by tag, without `cam/`.

    Args:
        probe: whose images are drawn.
        evaluations: the maps of each, by method and layer.
        best: index of the evaluation with the best monitored value; by default none is known.
        epochs: of the evaluations; by default 0, 1, ...
        per_image: metrics of the first map.
        panels: names; by default all panels.
        last_only: draw the last evaluation only, where the others make no difference.
        options: of `OutputConfig`.
    """
    history = History()
    panels = list(PANELS) if panels is None else panels
    renderer = PanelRenderer("cam", probe, OutputConfig(panels=panels, **options))
    pictures = []
    for i, maps in enumerate(evaluations):
        snapshot = snapshot_of(probe, i, maps, None if epochs is None else epochs[i])
        history.add(snapshot, float("nan") if best is None else float(i == best))
        if not last_only or i == len(evaluations) - 1:
            pictures = renderer.draw(snapshot, history.past_of(snapshot), per_image=per_image)
    return {picture.tag.removeprefix("cam/"): picture for picture in pictures}
