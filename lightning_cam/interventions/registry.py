"""`Attribute`, a property of images that may carry the class, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from lightning_cam.metrics.catalog import reliance_metrics
from lightning_cam.metrics.registry import METRICS, Need, register_metric

GRID = 4  # cells along each side, among which a patch is searched
DRAWS = 2


@dataclass(frozen=True)
class ExchangeBatch:
    """Images and their partners, between which an attribute is exchanged.

    Attributes:
        images: (B, C, H, W), as the model is fed; all that rows and partners may be of.
        masks: (B, H, W) bool, true on the object; None for probes without masks.
        marks: (B, H, W) bool, true on patterns that other images of the class have too; None where
            no image has any. See `find_marks`.
        rectangles: for each image rows and columns of the largest rectangle beside its object;
            empty for probes without masks. See `largest_rectangles`.
        rows: (M,) int64, the images that are altered.
        cells: (M, 2) int64, a place in each: row and column of a grid of `GRID` × `GRID`.
        draws: (M, `DRAWS`) random numbers for each image, 0 to 1; the same for all its partners.
        seed: of this evaluation.
    """

    images: Tensor
    masks: Tensor | None = None
    marks: Tensor | None = None
    rectangles: Sequence[tuple[slice, slice]] = ()
    rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    cells: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.long))
    draws: Tensor = field(default_factory=lambda: torch.zeros(0, DRAWS))
    seed: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]


# Returns the images `rows` with the attribute of the images `partners` (M,): (M, C, H, W).
Exchange: TypeAlias = "Callable[[ExchangeBatch, Tensor], Tensor]"


@dataclass(frozen=True)
class Attribute:
    """A property of images that may carry the class.

    Attributes:
        name: a plain word; its metrics are `<name>_reliance`, `..._low` and `..._se`.
        cue: what the model relies on then, in words that follow "relies on".
        exchange: puts the partner's attribute into images.
        limit: reliance beyond which it counts as a shortcut, 0 to 1: more than natural data shows
            in `benchmarks.alerts`. None where any reliance may be legitimate, as on surroundings.
        control: exchanges as large a region elsewhere; what that does is subtracted. None where
            nothing of the object can be in the region.
        masks: True where it needs masks, False where it is for probes without, None for both.
        marks: whether it is about the marks of images.
        weight: of its share of the triples.
    """

    name: str
    cue: str
    exchange: Exchange
    limit: float | None
    control: Exchange | None = None
    masks: bool | None = None
    marks: bool = False
    weight: float = 1.0


ATTRIBUTES: dict[str, Attribute] = {}


def register_attribute(attribute: Attribute) -> Attribute:
    """Add an attribute, and the metrics of the reliance on it, or replace that of the same name.

    Attributes are listed from the narrowest to the widest: of several that are relied on equally
    the first one registered leads.
    """
    ATTRIBUTES[attribute.name] = attribute
    needs: tuple[Need, ...] = ()
    if attribute.masks is not None:
        needs = ("masks",) if attribute.masks else ("no masks",)
    for metric in reliance_metrics(attribute.name, attribute.cue, needs):
        if metric.name not in METRICS:
            register_metric(metric)
    return attribute
