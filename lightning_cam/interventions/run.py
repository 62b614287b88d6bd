"""`run_exchanges`: the forward passes over images whose attributes were exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lightning_cam.explain.model_call import ModelAdapter, adapt
from lightning_cam.explain.outputs import logits_of, probabilities
from lightning_cam.interventions.registry import Exchange, ExchangeBatch
from lightning_cam.runtime.chunking import AdaptiveChunkSize, default_chunk_size
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.model_state import preserve_model_state


@dataclass(frozen=True)
class ExchangeRequest:
    """One exchange, of some images with one or more partners each.

    Attributes:
        exchange: puts the partner's attribute into images.
        rows: (M,) int64, the images.
        partners: one (M,) int64 per pass.
        cells: (M, 2) int64, the place of a patch in each.
        draws: (M, `DRAWS`) random numbers for each image, 0 to 1.
    """

    exchange: Exchange
    rows: Tensor
    partners: tuple[Tensor, ...]
    cells: Tensor
    draws: Tensor


def run_exchanges(
    model: nn.Module,
    batch: ExchangeBatch,
    labels: Tensor,
    requests: Sequence[ExchangeRequest],
    *,
    chunk_size: AdaptiveChunkSize | None = None,
    context: DistributedContext | None = None,
    replicated: bool = False,
) -> list[Tensor]:
    """Return the probability of the image's label after each exchange, (partners, m) per request.

    Of this process's part of each request: the parts of all processes after each other are the
    whole. The model is left as it was found.

    Args:
        model: the network.
        batch: images and what is known of them, on the model's device.
        labels: (B,) int64, on the CPU.
        requests: which exchanges, of which images.
        chunk_size: images per pass; by default as in `compute_cams`.
        context: the processes that share the passes.
        replicated: every process runs all images.
    """
    model = adapt(model)
    context = context or DistributedContext()
    chunk_size = chunk_size or AdaptiveChunkSize(default_chunk_size(batch.images))

    # No image becomes darker or brighter than the probe: integers of pixels could not either.
    darkest, brightest = (f(batch.images, (0, 2, 3), keepdim=True)
                          for f in (torch.amin, torch.amax))  # fmt: skip

    shards = [context.shard(len(each.rows), replicated=replicated) for each in requests]
    pairs = list(zip(requests, shards, strict=True))
    altered = (_altered(batch, each, part.rows).clamp(darkest, brightest) for each, part in pairs)
    with preserve_model_state(model, batch.images.device):  # once: it copies every buffer
        logits = _logits_of_all(model, altered, chunk_size)
    sizes = [len(each.partners) * len(each.rows[part.rows]) for each, part in pairs]
    parts = torch.split(probabilities(logits).cpu(), sizes)
    found = []
    for (request, shard), answers in zip(pairs, parts, strict=True):
        of_label = labels[request.rows[shard.rows]].repeat(len(request.partners))
        own = answers.gather(1, of_label[:, None]).view(len(request.partners), -1)
        found.append(own[:, shard.duplicates :])
    return found


def joined_answers(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return the answers of all processes, one (partners, M) per request."""
    return [torch.cat(each, dim=1) for each in zip(*parts, strict=True)]


def _altered(batch: ExchangeBatch, request: ExchangeRequest, part: slice) -> Tensor:
    """Return the altered images of a part of a request's rows, one set after the other."""
    rows, cells, draws = (each[part] for each in (request.rows, request.cells, request.draws))
    mine = replace(batch, rows=rows, cells=cells, draws=draws)
    with torch.no_grad():
        return torch.cat([request.exchange(mine, each[part]) for each in request.partners])


def _logits_of_all(
    model: ModelAdapter, parts: Iterable[Tensor], chunk_size: AdaptiveChunkSize
) -> Tensor:
    """Return the logits of images that come in parts, by few passes of full chunks.

    No more than a chunk and a part are there at a time.
    """
    found, waiting = [], []
    for part in parts:
        waiting.append(part)
        count = sum(map(len, waiting))
        if full := count - count % chunk_size.current:
            images = torch.cat(waiting)
            waiting = [images[full:]]
            found.append(chunk_size.run(partial(_logits, model, images[:full]), full))
    rest = torch.cat(waiting)
    if len(rest):
        found.append(chunk_size.run(partial(_logits, model, rest), len(rest)))
    return torch.cat(found)


def _logits(model: ModelAdapter, images: Tensor, chunk_size: int) -> Tensor:
    chunks = torch.split(images, chunk_size)
    # On copies: a model may write into its input, and an exchange return the probe's images.
    # A pass that ran out of memory is also repeated on them.
    outputs = ((model.logits(model(chunk.clone()), len(chunk)), len(chunk)) for chunk in chunks)
    return torch.cat([logits_of(output, count) for output, count in outputs])
