"""`ProbeExchanges`: exchange attributes between the images of a probe, at one evaluation."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from lightning_cam.explain.outputs import probabilities
from lightning_cam.interventions.image_editing import largest_rectangles
from lightning_cam.interventions.marks import find_marks
from lightning_cam.interventions.registry import ExchangeBatch
from lightning_cam.interventions.run import run_exchanges

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lightning_cam.explain.result import CAMResult
    from lightning_cam.monitor.evidence import Evidence
    from lightning_cam.monitor.map_computer import MapComputer
    from lightning_cam.probe import Probe


class ProbeExchanges:
    """What exchanges between the images of a probe need, found once and when it is needed.

    Args:
        probe: with labels.
        computer: knows how processes share passes.
    """

    def __init__(self, probe: Probe, computer: MapComputer) -> None:
        self._probe, self._computer = probe, computer

    @cached_property
    def _marks(self) -> Tensor | None:
        assert self._probe.targets is not None
        return find_marks(self._probe.images, self._probe.targets, self._probe.foreground)

    @cached_property
    def _rectangles(self) -> list[tuple[slice, slice]]:
        masks = self._probe.foreground
        return [] if masks is None else largest_rectangles(masks)

    def collect(
        self, evidence: Evidence, model: nn.Module, images: Tensor, result: CAMResult, seed: int
    ) -> None:
        """Run the passes that are due and let the evidence take in what they say.

        Args:
            evidence: what is known so far.
            model: the network.
            images: the probe's images on its device.
            result: maps and logits for these images.
            seed: of this evaluation.
        """
        labels, masks = self._probe.targets, self._probe.foreground
        assert labels is not None
        batch = ExchangeBatch(
            images=images,
            masks=None if masks is None else masks.to(images.device),
            marks=self._marks,
            rectangles=self._rectangles,
            seed=seed,
        )
        run = partial(
            run_exchanges,
            model,
            batch,
            labels,
            chunk_size=self._computer.chunk_size,
            context=self._computer.context,
            replicated=self._computer.replicated,
        )
        maps = next(iter(result.maps.values()))
        evidence.collect(batch, labels, probabilities(result.logits.cpu()), maps, run)
