"""`Evidence`: what a model was found to rely on, over all evaluations of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lightning_cam.interventions.attributes import patch
from lightning_cam.interventions.registry import DRAWS, GRID, Attribute, ExchangeBatch
from lightning_cam.interventions.run import ExchangeRequest
from lightning_cam.interventions.triples import Triples, draw_triples, usable_images
from lightning_cam.metrics.confidence import LEVELS, LowerBound
from lightning_cam.metrics.reliance import RelianceEstimate

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSES = 6.5  # of the probe that one evaluation of all attributes takes
_SLACK = 0.05  # of probability: what costs less is never counted as reliance
_BOOST = 5.0  # times as many triples for an attribute that may be relied on
_DECAY = 0.7  # of the control, and of the search for a patch, from one evaluation to the next
_LEADING_SHARE = 0.6  # of the largest excess, from which a narrower attribute leads


@dataclass
class _Found:
    """What was found about one attribute."""

    attribute: Attribute
    bound: LowerBound
    estimate: RelianceEstimate
    control: float = 0.0  # mean cost of the control, of which older ones count less
    control_weight: float = 0.0

    @property
    def excess(self) -> float:
        """How far the reliance is beyond the limit, as a share of what is possible; may be NaN."""
        return self._beyond_limit(self.estimate.value)

    @property
    def likely(self) -> float:
        """How far the reliance less a standard error is beyond the limit; may be NaN."""
        return self._beyond_limit(self.estimate.value - self.estimate.standard_error)

    @property
    def certain_excess(self) -> float:
        """The same of the lower bound; 0 where that is not beyond the limit."""
        if not self.is_shortcut:
            return 0.0
        # One step more: the bound excludes its own value.
        return self._beyond_limit(self.bound.low + 1 / LEVELS)

    @property
    def is_shortcut(self) -> bool:
        """Whether the lower bound is beyond the limit."""
        limit = self.attribute.limit
        return limit is not None and self.bound.exceeds(limit)

    @property
    def is_suspicious(self) -> bool:
        """Whether the estimate is clearly beyond the limit, which the bound does not say yet."""
        return self.likely > 0 and not self.is_shortcut

    def _beyond_limit(self, value: float) -> float:
        limit = self.attribute.limit
        return math.nan if limit is None else (value - limit) / (1 - limit)


@dataclass(frozen=True)
class ExchangePlan:
    """What is exchanged at one evaluation.

    Attributes:
        requests: the passes: first the search for a patch, then for each attribute its own and,
            where it has one, its control's.
        search: the triples of the search.
        triples: of each attribute, by name.
        cell: where `patch` is exchanged.
    """

    requests: list[ExchangeRequest]
    search: Triples
    triples: dict[str, Triples]
    cell: tuple[int, int]


class Evidence:
    """Collects what exchanges of attributes do to a model, evaluation after evaluation.

    Each evaluation draws new triples of images, so that what is measured adds up: see
    `metrics.confidence` for what that allows to say.

    Args:
        attributes: that may be exchanged on the probe.
        error_rate: probability with which any of the lower bounds may ever be too high, 0 to 1.
    """

    def __init__(self, attributes: Sequence[Attribute], error_rate: float) -> None:
        alpha = error_rate / max(1, len(attributes))
        self.found = {
            each.name: _Found(each, LowerBound(alpha, slack=_SLACK), RelianceEstimate())
            for each in attributes
        }
        self._cell_drops = torch.zeros(GRID**2, dtype=torch.float64)
        self._cell_weights = 0.0

    # --- measuring --------------------------------------------------------------------------------

    def plan(self, batch: ExchangeBatch, labels: Tensor) -> ExchangePlan | None:
        """Return what to exchange at one evaluation; None where no image has partners.

        Args:
            batch: images and what is known of them.
            labels: (B,) int64, on the CPU.
        """
        generator = torch.Generator().manual_seed(batch.seed)
        usable = usable_images(batch.masks, len(labels))
        counts = self._counts(batch)
        numbers = [GRID**2] + [n for pair in counts.values() for n in pair]
        triples = [draw_triples(labels, usable, n, generator) for n in numbers]
        if not len(triples[0].rows):
            return None
        cell = self._likely_cell()
        if not self._cell_weights:  # nothing is known yet
            cell = divmod(int(torch.randint(GRID**2, (), generator=generator)), GRID)
        requests = [_search_request(triples[0], generator)]
        # Of each attribute its own triples and the control's.
        for name, own, of_control in zip(counts, triples[1::2], triples[2::2], strict=True):
            attribute = self.found[name].attribute
            requests.append(_request(attribute.exchange, own, cell, generator))
            if attribute.control is not None:
                requests.append(_request(attribute.control, of_control, cell, generator))
        of_attributes = dict(zip(counts, triples[1::2], strict=True))
        return ExchangePlan(requests, triples[0], of_attributes, cell)

    def take_in(
        self, plan: ExchangePlan, answers: Sequence[Tensor], labels: Tensor, clean: Tensor
    ) -> None:
        """Take in what the exchanges of a plan did.

        Args:
            plan: of this evaluation.
            answers: the label's probabilities, (partners, M) per request; see `run_exchanges`.
            labels: (B,) int64, on the CPU.
            clean: (B, K) probabilities for the unaltered images, on the CPU.
        """
        if not all(bool(each.isfinite().all()) for each in (clean, *answers)):
            return  # a model that diverged: one NaN would spoil all sums
        rest = iter(answers)
        searched = plan.search.rows
        drops = clean[searched, labels[searched]] - next(rest)[0]
        self._cell_drops = _DECAY * self._cell_drops + drops.double()
        self._cell_weights = _DECAY * self._cell_weights + 1
        for name, own in plan.triples.items():
            answer = next(rest)
            control = next(rest) if self.found[name].attribute.control is not None else None
            if name == "patch":  # many images say more about its place than the search's one did
                drop = float((clean[own.rows, labels[own.rows]] - answer[1]).mean())
                self._cell_drops.view(GRID, GRID)[plan.cell] = self._cell_weights * drop
            self._update(self.found[name], answer, control, _skills(clean, labels, own))

    def _counts(self, batch: ExchangeBatch) -> dict[str, tuple[int, int]]:
        """Return the number of triples, and of those for the control, by attribute."""
        there = {
            name: f
            for name, f in self.found.items()
            if not f.attribute.marks or batch.marks is not None
        }
        weights = {
            name: f.attribute.weight * (_BOOST if f.is_suspicious else 1.0)
            for name, f in there.items()
        }
        images = {  # altered images for one triple, with half a triple for the control
            name: (2 if f.attribute.control is None else 3) * weights[name]
            for name, f in there.items()
        }
        each = (PASSES * len(batch.images) - GRID**2) / max(1.0, sum(images.values()))
        counts = {name: max(1, int(each * weights[name])) for name in there}
        return {name: (n, max(1, n // 2)) for name, n in counts.items()}

    def _likely_cell(self) -> tuple[int, int]:
        """Return the cell that takes most away so far."""
        return divmod(int(self._cell_drops.argmax()), GRID)

    @staticmethod
    def _update(
        found: _Found, answer: Tensor, control: Tensor | None, skills: np.ndarray[Any, Any]
    ) -> None:
        if control is not None:
            found.control = _DECAY * found.control + float((control[0] - control[1]).sum())
            found.control_weight = _DECAY * found.control_weight + control.shape[1]
        # Subtracted as a number that is known before these triples are drawn: the control has
        # triples of its own.
        beyond = max(found.control / found.control_weight, 0.0) if found.control_weight else 0.0
        costs = (answer[0] - answer[1]).double().numpy()
        found.bound.update(costs, skills, offset=beyond)
        found.estimate.update(costs - beyond, skills)

    # --- what it says -----------------------------------------------------------------------------

    @property
    def is_suspicious(self) -> bool:
        """Whether more exchanges are worth their time: one may be relied on."""
        return any(found.is_suspicious for found in self.found.values())

    def metrics(self) -> dict[str, float]:
        """Return the metrics by plain name."""
        certain = [found.certain_excess for found in self.found.values()]
        values = {"shortcut_score": self.score, "shortcut_score_low": max(certain, default=0.0)}
        for name, found in self.found.items():
            values[f"{name}_reliance"] = found.estimate.value
            values[f"{name}_reliance_low"] = found.bound.low
            values[f"{name}_reliance_se"] = found.estimate.standard_error
        return values

    @property
    def score(self) -> float:
        """Largest reliance beyond its attribute's limit, 0 to 1; NaN where nothing is known.

        Less a standard error, since the largest of several estimates is too large by chance.
        """
        known = [each for found in self.found.values() if math.isfinite(each := found.likely)]
        return max([0.0, *known]) if known else math.nan

    @property
    def leading(self) -> str | None:
        """The attribute that is relied on, the narrowest of about equal ones; None in doubt.

        A narrower attribute than one beyond doubt may lead too where it is likely: a patch at the
        edge is a part of the border.
        """
        certain = [n for n, each in enumerate(self.found.values()) if each.is_shortcut]
        if not certain:
            return None
        narrow = list(self.found.items())[: certain[-1] + 1]
        excess = {name: f.excess for name, f in narrow if f.is_shortcut or f.is_suspicious}
        largest = max(excess.values())  # below 0 where the model does not rely on it any more
        return next(
            (name for name in excess if excess[name] >= _LEADING_SHARE * largest),
            max(excess, key=lambda name: excess[name]),
        )

    @property
    def cue(self) -> str:
        """What the leading attribute is, and where, in words; empty where none leads."""
        if self.leading is None:
            return ""
        cue = self.found[self.leading].attribute.cue
        return f"{cue} {_place(*self._likely_cell())}" if self.leading == "patch" else cue

    def state_dict(self) -> dict[str, Any]:
        """Return primitives."""
        return {
            "cells": self._cell_drops.tolist(),
            "cell_weights": self._cell_weights,
            "attributes": {
                name: {
                    "bound": found.bound.state_dict(),
                    "estimate": found.estimate.state_dict(),
                    "control": found.control,
                    "control_weight": found.control_weight,
                }
                for name, found in self.found.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; attributes that it does not know start afresh.

        Raises:
            KeyError, TypeError, ValueError: anything else.
        """
        cells = torch.tensor([float(each) for each in state["cells"]], dtype=torch.float64)
        numbers = [float(state["cell_weights"])]
        if len(cells) != GRID**2:
            raise ValueError(f"expected {GRID**2} cells, got {len(cells)}")
        for name, each in state["attributes"].items():
            if name not in self.found:
                continue
            found = self.found[name]
            found.bound.load_state_dict(each["bound"])
            found.estimate.load_state_dict(each["estimate"])
            found.control = float(each["control"])
            found.control_weight = float(each["control_weight"])
            numbers += [found.control, found.control_weight]
        weights = [numbers[0], *numbers[2::2]]
        if not all(map(math.isfinite, [*numbers, *cells.tolist()])) or min(weights) < 0:
            raise ValueError("expected finite numbers and weights of 0 or more, got others")
        self._cell_drops, self._cell_weights = cells, numbers[0]


def check_evidence(state: Mapping[str, Any]) -> None:
    """Check what `Evidence.state_dict` returned, of whatever attributes.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: anything else.
    """
    attributes = [Attribute(str(name), "", patch, None) for name in dict(state["attributes"])]
    Evidence(attributes, error_rate=0.5).load_state_dict(state)


def _place(row: int, column: int) -> str:
    """Return where a cell of the grid is, in words."""
    vertical = ("upper", "", "", "lower")[row]
    horizontal = ("left", "", "", "right")[column]
    if not vertical and not horizontal:
        return "in the middle"
    end = "corner" if vertical and horizontal else "edge"
    return f"at the {' '.join(filter(None, (vertical, horizontal)))} {end}"


def _request(
    exchange: Any, triples: Triples, cell: tuple[int, int], generator: torch.Generator
) -> ExchangeRequest:
    count = len(triples.rows)
    return ExchangeRequest(
        exchange,
        triples.rows,
        (triples.same, triples.other),
        torch.tensor(cell).expand(count, 2),
        torch.rand(count, DRAWS, generator=generator),
    )


def _search_request(triples: Triples, generator: torch.Generator) -> ExchangeRequest:
    """Return a request for each cell once: enough to say where to look, not how much it costs."""
    cells = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID))
    draws = torch.rand(len(cells), DRAWS, generator=generator)
    return ExchangeRequest(patch, triples.rows, (triples.other,), cells, draws)


def _skills(clean: Tensor, labels: Tensor, triples: Triples) -> np.ndarray[Any, Any]:
    """Return (M,) what exchanging the whole image costs: the unit of reliance."""
    of_label = labels[triples.rows]
    skills = clean[triples.rows, of_label] - clean[triples.other, of_label]
    return skills.double().numpy()
