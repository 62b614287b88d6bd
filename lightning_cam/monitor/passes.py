"""`run_passes`: all forward and backward passes of one evaluation.

Each process runs a part of the images through everything that is due, so that one exchange between
the processes is enough.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lightning_cam.explain.result import CAMResult, concatenate
from lightning_cam.interventions.noise_floor import noise_divergences
from lightning_cam.interventions.run import joined_answers
from lightning_cam.monitor.baselines import untrained_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_cam.explain.model_call import ModelAdapter
    from lightning_cam.monitor.exchanges import Exchanges
    from lightning_cam.monitor.map_computer import MapComputer
    from lightning_cam.runtime.distributed import Shard


@dataclass(frozen=True)
class DuePasses:
    """Which passes are due beside those of the maps.

    Attributes:
        untrained: maps of the same network with fresh weights.
        noise_floor: maps of mirrored and of jittered images.
        exchanges: of attributes; None for none.
    """

    untrained: bool
    noise_floor: bool
    exchanges: Exchanges | None


@dataclass(frozen=True)
class PassResults:
    """What came out. All tensors are on the CPU.

    Attributes:
        result: maps and logits.
        untrained: maps (N, h, w) of fresh weights; None where not due, or not possible.
        divergences: how far the first maps moved under noise, (M,); None where not due.
        answers: of exchanges, one per request, (partners, M); None where not due.
    """

    result: CAMResult
    untrained: Tensor | None = None
    divergences: Tensor | None = None
    answers: list[Tensor] | None = None


def run_passes(
    computer: MapComputer,
    model: ModelAdapter,
    images: Tensor,
    layers: Sequence[str],
    due: DuePasses,
) -> PassResults:
    """Run a share of all passes on each process and return the results of all.

    Args:
        computer: of the maps.
        model: the network.
        images: (B, C, H, W) of the probe, on its device.
        layers: names of the layers that maps are taken at.
        due: what else is due.
    """

    def work(shard: Shard) -> PassResults:
        result = computer.compute_here(model, images, layers, rows=shard.rows)
        untrained = divergences = answers = None
        if due.untrained:
            untrained = _untrained(computer, model, images, result, shard.rows)
        result = result.cpu()
        if due.noise_floor:
            divergences = _divergences(computer, model, images, result, shard.rows)
        kept = result.rows >= shard.start + shard.duplicates
        if due.exchanges is not None:
            answers = due.exchanges.answers(model)
        return PassResults(
            result.drop_first(shard.duplicates),
            None if untrained is None else untrained[kept],
            None if divergences is None else divergences[:, kept],
            answers,
        )

    return _joined(computer.share(len(images), work))


def _joined(parts: Sequence[PassResults]) -> PassResults:
    untrained = [part.untrained for part in parts if part.untrained is not None]
    divergences = [part.divergences for part in parts if part.divergences is not None]
    answers = [part.answers for part in parts if part.answers is not None]
    return PassResults(
        concatenate([part.result for part in parts]),
        torch.cat(untrained) if len(untrained) == len(parts) else None,
        torch.cat(divergences, dim=1) if len(divergences) == len(parts) else None,
        joined_answers(answers) if len(answers) == len(parts) else None,
    )


def _untrained(
    computer: MapComputer, model: ModelAdapter, images: Tensor, result: CAMResult, rows: slice
) -> Tensor | None:
    if computer.sharing != "independent":  # a part of a layer's weights cannot be drawn
        return None
    with contextlib.suppress(Exception):  # unusual modules: one baseline less
        return untrained_maps(computer, model, images, next(iter(result.maps))[1], rows).cpu()
    return None


def _divergences(
    computer: MapComputer, model: nn.Module, images: Tensor, result: CAMResult, rows: slice
) -> Tensor | None:
    layer = next(iter(result.maps))[1]
    return noise_divergences(
        images,
        computer.target,
        result,
        lambda altered, target: computer.first_maps(model, altered, target, [layer], rows),
        computer.seed,
    )
