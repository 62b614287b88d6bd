"""`ProbeExchanges`: exchanges of attributes between the images of a probe."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lightning_cam.explain.outputs import probabilities
from lightning_cam.interventions.image_editing import largest_rectangles
from lightning_cam.interventions.marks import find_marks
from lightning_cam.interventions.registry import ExchangeBatch
from lightning_cam.interventions.run import joined_answers, run_exchanges
from lightning_cam.monitor.metric_names import is_intervention
from lightning_cam.monitor.schedule import interventions_due

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.monitor.evidence import Evidence, ExchangePlan
    from lightning_cam.monitor.map_computer import MapComputer
    from lightning_cam.monitor.rule_set import RuleSet
    from lightning_cam.probe import Probe

_SEED_STRIDE = 1_000_003  # between the seeds of two runs


class ProbeExchanges:
    """What exchanges between the images of a probe need, found once and when it is needed.

    Args:
        probe: the images.
        computer: knows how processes share passes.
        config: says when exchanges are due.
        possible: whether any attribute can be exchanged.

    Attributes:
        suspicious: whether exchanges are wanted at the next evaluation, whatever the schedule says.
    """

    def __init__(
        self,
        probe: Probe,
        computer: MapComputer,
        config: MonitorConfig,
        possible: bool,
    ) -> None:
        self._probe, self._computer, self._config = probe, computer, config
        self._possible, self.suspicious = possible, False

    @cached_property
    def _marks(self) -> Tensor | None:
        assert self._probe.targets is not None
        return find_marks(self._probe.images, self._probe.targets, self._probe.foreground)

    @cached_property
    def _rectangles(self) -> list[tuple[slice, slice]]:
        masks = self._probe.foreground
        return [] if masks is None else largest_rectangles(masks)

    # --- when -------------------------------------------------------------------------------------

    def due(self, count: int) -> bool:
        """Return, the same on every process, whether to make exchanges together with the maps.

        Args:
            count: evaluations that came before.
        """
        every = self._config.interventions_every
        return self._possible and (interventions_due(count, every) or self.suspicious)

    def wanted_after_all(self, rules: RuleSet, metrics: Mapping[str, float]) -> bool:
        """Return, the same on every process, whether a rule is triggered without a first sign.

        Args:
            rules: of the probe.
            metrics: of this evaluation, by plain name.
        """
        of_maps = [rule for rule in rules.rules if not is_intervention(rule.metric)]
        if not self._possible or not any(rule.patience == 1 for rule in of_maps):
            return False
        triggered = False
        with contextlib.suppress(Exception):  # of a user's rule: it is raised again where it counts
            triggered = rules.would_trigger(metrics)
        return self._computer.context.broadcast(triggered)

    def are_wanted(self, rules: RuleSet, evidence: Evidence) -> bool:
        """Return whether more exchanges are worth their time at the next evaluation."""
        if self._config.interventions_every != 0 and evidence.is_suspicious:
            return True
        return rules.is_suspicious()

    # --- what -------------------------------------------------------------------------------------

    def plan(self, evidence: Evidence, images: Tensor, count: int) -> Exchanges | None:
        """Return the exchanges of one evaluation, None where no image has partners.

        Args:
            evidence: what is known so far.
            images: the probe's images on their device.
            count: evaluations that came before.
        """
        labels, masks = self._probe.targets, self._probe.foreground
        assert labels is not None
        batch = ExchangeBatch(
            images=images,
            masks=None if masks is None else masks.to(images.device),
            marks=self._marks,
            rectangles=self._rectangles,
            seed=self._config.seed * _SEED_STRIDE + count,
        )
        plan = evidence.plan(batch, labels)
        return None if plan is None else Exchanges(plan, batch, labels, self._computer)


@dataclass(frozen=True)
class Exchanges:
    """The exchanges of one evaluation.

    Attributes:
        plan: what is exchanged.
        batch: between which images.
        labels: (B,) int64, on the CPU.
        computer: knows how processes share passes.
    """

    plan: ExchangePlan
    batch: ExchangeBatch
    labels: Tensor
    computer: MapComputer

    def answers(self, model: nn.Module) -> list[Tensor]:
        """Run this process's part of the passes; see `run_exchanges`."""
        return run_exchanges(
            model,
            self.batch,
            self.labels,
            self.plan.requests,
            chunk_size=self.computer.chunk_size,
            context=self.computer.context,
            replicated=self.computer.replicated,
        )

    def answers_of_all(self, model: nn.Module) -> list[Tensor]:
        """Run the passes, and return the answers of all processes."""
        return joined_answers(self.computer.context.all_gather(lambda: self.answers(model)))

    def evidence_after(
        self, evidence: Evidence, answers: Sequence[Tensor], logits: Tensor
    ) -> Evidence:
        """Return a copy of the evidence that has taken the answers in.

        Args:
            evidence: what was known before.
            answers: of all processes, (partners, M) per request.
            logits: (B, K) of the unaltered images, on the CPU.
        """
        after = copy.deepcopy(evidence)
        after.take_in(self.plan, answers, self.labels, probabilities(logits))
        return after
