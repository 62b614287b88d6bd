"""What a watch asks the model beside its maps: altered images, altered weights, the same again."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lightning_cam.explain.batching import images_at_a_time
from lightning_cam.explain.interventions import Intervention, interventions
from lightning_cam.explain.jitter import flipped, jittered
from lightning_cam.explain.mask_free import mask_free_interventions
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.outputs import logits_of, probabilities
from lightning_cam.explain.reinit import Reinitialised, inner_name
from lightning_cam.explain.targets import ClassTarget, DifferenceTarget
from lightning_cam.memory import ChunkSize
from lightning_cam.metrics import jsd
from lightning_cam.metrics.reliance import (
    FEWEST_PAIRS,
    MASK_FREE_METRICS,
    RELIANCE_METRICS,
    Outcome,
    mask_free_reliance,
    outcome,
    reliance,
)
from lightning_cam.team import Team

if TYPE_CHECKING:
    from lightning_cam.explain.engine import CAMResult
    from lightning_cam.explain.targets import Target
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

Compute = Callable[[Callable[[], nn.Module], Tensor, "Target", Sequence[str]], "CAMResult"]


def reliance_metrics(probe: Probe, *, logits: bool) -> tuple[str, ...]:
    """Return the names of what interventions can say of a probe, none where they cannot be made.

    Args:
        probe: with masks and one label an image, what its background is worth; without masks, what
            the rim and the map's own region are; with several labels an image nothing.
        logits: whether the model gives any.
    """
    if probe.multi_label or not logits:
        return ()
    if probe.foreground is None:
        return MASK_FREE_METRICS
    return RELIANCE_METRICS if probe.targets is not None else ()


def missing(probe: Probe) -> list[str]:
    """Return what cannot be measured on a probe, and why, a sentence each."""
    masks, labels = probe.foreground, probe.targets
    empty, full = _empty_and_full(probe)
    found = [
        f"{int(which.sum())} of {len(probe)} masks are {what}: these images count in no metric of "
        "the object and no intervention"
        for what, which in (("empty", empty), ("full", full))
        if bool(which.any())
    ]
    if probe.multi_label:
        return [*found, "several labels an image: whether the background is used is not asked"]
    if labels is None:
        without = "predicted classes stand for them"
        if masks is not None:
            without = "whether the background is used is not asked"
        return [*found, f"no labels: {without}"]
    counts = Counter(labels[~(empty | full)].tolist())
    if len(counts) == 1:
        found.append("images of one class only: backgrounds cannot be exchanged between classes")
    elif counts and sum(count for count in counts.values() if count > 1) < FEWEST_PAIRS:
        found.append(
            f"fewer than {FEWEST_PAIRS} images share their class with another one: backgrounds "
            "cannot be exchanged within a class, so there is no gap between the two"
        )
    return found


def _empty_and_full(probe: Probe) -> tuple[Tensor, Tensor]:
    """Return (B,) boolean, whether an image's mask is empty, and whether it is full."""
    if probe.foreground is None:
        none = torch.zeros(len(probe), dtype=torch.bool)
        return none, none
    flat = probe.foreground.flatten(1)
    return ~flat.any(dim=1), flat.all(dim=1)


def ask_reliance(
    model: nn.Module,
    probe: Probe,
    images: Tensor,
    result: CAMResult,
    options: Options,
    team: Team | None = None,
    turn: int = 0,
    chunk: ChunkSize | None = None,
) -> dict[str, float]:
    """Return the metrics of reliance: what the model says when parts are taken away.

    Args:
        model: the network.
        probe: whose masks and labels tell what to take away.
        images: its images on the model's device.
        result: the look's maps and logits, on any device.
        options: chunk size and seed.
        team: the processes that share the forward passes.
        turn: which time this is; partners and noise are drawn anew each time, so that a chance of
            one draw does not last.
        chunk: images that run at a time, in place of the options' number.
    """
    team = team or Team()
    chunk = chunk or ChunkSize(images_at_a_time(images, options.chunk_size))
    if not reliance_metrics(probe, logits=bool(result.logits.shape[1])):
        return {}
    clean = probabilities(result.logits.cpu())
    labels = probe.targets
    if labels is None:
        labels = clean.argmax(dim=1)
    before = outcome(clean, labels, torch.arange(len(labels)))
    masks, seed = probe.foreground, options.seed * 1_000_003 + turn
    if masks is not None:
        wanted = interventions(images, masks.to(images.device), labels, seed)
        return reliance(before, _asked(model, labels, wanted, images.device, chunk, team))
    maps = next(iter(result.maps.values())).to(images.device)
    if len(maps) != len(images):
        return {}
    wanted = mask_free_interventions(images, maps, labels, seed)
    return mask_free_reliance(before, _asked(model, labels, wanted, images.device, chunk, team))


def _asked(
    model: nn.Module,
    labels: Tensor,
    wanted: Sequence[Intervention],
    device: torch.device,
    chunk: ChunkSize,
    team: Team,
) -> dict[str, Outcome]:
    """Return what the model says of each intervention's images; every process asks a share."""

    def logits(altered: Tensor, size: int) -> Tensor:
        parts = torch.split(altered, size)
        return torch.cat([logits_of(model(few), len(few)) for few in parts])

    def part() -> list[Tensor]:
        found = []
        with undisturbed(model, device):  # once: it keeps a copy of each buffer
            for each in wanted:
                share = team.share(len(each.rows))
                altered = each.make()[share.rows]
                answer = chunk.fitting(partial(logits, altered), len(altered))
                found.append(probabilities(answer).cpu()[share.skipped :])
        return found

    shares = team.together(part)
    return {
        each.name: outcome(torch.cat([s[n] for s in shares]), labels[each.rows], each.rows)
        for n, each in enumerate(wanted)
    }


def ask_untrained(
    model: nn.Module, images: Tensor, target: Target, layer: str, compute: Compute, seed: int
) -> Tensor | None:
    """Return the first maps (N, h, w) of the same network under fresh weights, None if it fails."""
    with contextlib.suppress(Exception):  # sharded or unusual modules: one baseline less
        layers = [inner_name(layer)]
        found = compute(lambda: Reinitialised(model, seed), images, target, layers)
        return next(iter(found.maps.values()))
    return None


def ask_noise_floor(
    model: nn.Module,
    images: Tensor,
    target: Target,
    result: CAMResult,
    compute: Compute,
    seed: int,
) -> float:
    """Return how far maps move under what should not move them: a flip, and a small jitter.

    The mean Jensen-Shannon divergence of the first maps, flipped back, at the same weights. Drift
    is stated in multiples of it.
    """
    (_, layer), maps = next(iter(result.maps.items()))
    target = _named(target, result)
    mirror = target.mirrored(images.shape[3])
    again = compute(lambda: model, flipped(images), mirror, [layer])
    moved = [flipped(next(iter(again.maps.values())))]
    again = compute(lambda: model, jittered(images, seed), target, [layer])
    moved.append(next(iter(again.maps.values())))
    known = [jsd(maps, each.cpu()) for each in moved if each.shape == maps.shape]
    return float(torch.cat(known).nanmean()) if known else float("nan")


def _named(target: Target, result: CAMResult) -> Target:
    """Return the target of the classes that were explained, where it is the predicted ones."""
    if not isinstance(target, (ClassTarget, DifferenceTarget)) or target.classes is not None:
        return target
    known = len(result.classes) == len(result.logits) and bool((result.classes >= 0).all())
    return replace(target, classes=result.classes) if known else target
