"""`INTERVENTIONS`: the ways to alter a probe's images. A new one is a function and a decorator."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True)
class InterventionInput:
    """What an intervention may use.

    Attributes:
        images: (B, C, H, W), as the model is fed.
        labels: (B,) int64, the classes whose probability is asked for.
        masks: (B, H, W) bool, true on the object; None for probes without masks.
        maps: (B, h, w) raw maps of the first method and layer, one per image.
        seed: changes from one evaluation to the next, so that the chance of one draw does not last.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor | None
    maps: Tensor
    seed: int = 0

    def generator(self, name: str) -> torch.Generator:
        """Return a private random stream on the CPU, a different one per name."""
        return torch.Generator().manual_seed(self.seed + zlib.crc32(name.encode()))


@dataclass(frozen=True)
class Altered:
    """Altered copies of some images, made only when they are run.

    Attributes:
        rows: (M,) int64, the images that are altered.
        make: returns the altered images, (M, C, H, W).
    """

    rows: Tensor
    make: Callable[[], Tensor]


Alter: TypeAlias = Callable[[InterventionInput], Altered]


@dataclass(frozen=True)
class Intervention:
    """A way to alter images.

    Attributes:
        name: under which metrics find the model's answers.
        alter: takes an `InterventionInput`, returns `Altered`; with no rows where the probe does
            not allow it.
        masks: whether it is for probes with masks, or for those without.
    """

    name: str
    alter: Alter
    masks: bool


INTERVENTIONS: dict[str, Intervention] = {}


def register_intervention(name: str, *, masks: bool) -> Callable[[Alter], Alter]:
    """Return a decorator that adds a function to `INTERVENTIONS`.

    Args:
        name: under which metrics find the model's answers, in `InterventionResults.altered`.
        masks: whether it needs masks. Interventions that need none are run for probes without.
    """

    def register(alter: Alter) -> Alter:
        INTERVENTIONS[name] = Intervention(name, alter, masks)
        return alter

    return register


def interventions_for(batch: InterventionInput) -> dict[str, Altered]:
    """Return the altered images by the name of their intervention, without empty ones."""
    has_masks = batch.masks is not None
    found = {
        each.name: each.alter(batch) for each in INTERVENTIONS.values() if each.masks == has_masks
    }
    return {name: altered for name, altered in found.items() if len(altered.rows)}
