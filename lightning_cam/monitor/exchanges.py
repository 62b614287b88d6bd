"""`collect_evidence`: exchange attributes between the images of a probe, at one evaluation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from lightning_cam.explain.outputs import probabilities
from lightning_cam.interventions.registry import ExchangeBatch
from lightning_cam.interventions.run import run_exchanges

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lightning_cam.explain.result import CAMResult
    from lightning_cam.monitor.evidence import Evidence
    from lightning_cam.monitor.map_computer import MapComputer
    from lightning_cam.probe import Probe


def collect_evidence(
    evidence: Evidence,
    probe: Probe,
    model: nn.Module,
    images: Tensor,
    result: CAMResult,
    computer: MapComputer,
    seed: int,
) -> None:
    """Run the passes that are due and let the evidence take in what they say.

    Args:
        evidence: what is known so far.
        probe: with labels.
        model: the network.
        images: the probe's images on its device.
        result: maps and logits for these images.
        computer: knows how processes share passes.
        seed: of this evaluation.
    """
    labels = probe.targets
    assert labels is not None
    maps = next(iter(result.maps.values()))
    masks = probe.foreground
    none = torch.zeros(0, 2)
    batch = ExchangeBatch(
        images=images,
        masks=None if masks is None else masks.to(images.device),
        maps=maps.to(images.device) if len(maps) == len(images) else None,
        rows=none[:, 0].long(),
        cells=none.long(),
        draws=none,
        seed=seed,
    )
    run = partial(
        run_exchanges,
        model,
        batch,
        labels,
        chunk_size=computer.chunk_size,
        context=computer.context,
        replicated=computer.replicated,
    )
    evidence.collect(batch, labels, probabilities(result.logits.cpu()), run)
