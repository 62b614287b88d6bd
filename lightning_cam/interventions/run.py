"""`run_interventions`: the forward passes over altered images."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from lightning_cam.explain.model_call import ModelAdapter, adapt
from lightning_cam.explain.outputs import logits_of, probabilities
from lightning_cam.interventions.registry import Altered, InterventionInput, interventions_for
from lightning_cam.metrics.reliance import InterventionResults, Outcome, outcome
from lightning_cam.runtime.chunking import AdaptiveChunkSize, default_chunk_size
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.model_state import preserve_model_state


def run_interventions(
    model: nn.Module,
    batch: InterventionInput,
    clean_logits: Tensor,
    *,
    chunk_size: AdaptiveChunkSize | None = None,
    context: DistributedContext | None = None,
    replicated: bool = False,
) -> InterventionResults:
    """Run the model on the altered copies of a batch that `INTERVENTIONS` makes of it.

    About four forward passes of the batch in all. The model is left as it was found.

    Args:
        model: the network.
        batch: images, labels, masks and maps, on the model's device.
        clean_logits: (B, K) the model's logits for the unaltered images.
        chunk_size: images per pass; by default as in `compute_cams`.
        context: the processes that share the passes.
        replicated: every process runs all images.
    """
    model = adapt(model)
    context = context or DistributedContext()
    chunk_size = chunk_size or AdaptiveChunkSize(default_chunk_size(batch.images))
    wanted = interventions_for(batch)
    labels = batch.labels.cpu()

    def work() -> list[Tensor]:
        with preserve_model_state(model, batch.images.device):  # once: it copies every buffer
            return [
                _answers(model, altered, chunk_size, context, replicated=replicated)
                for altered in wanted.values()
            ]

    parts = context.all_gather(work)
    clean = outcome(probabilities(clean_logits.cpu()), labels, torch.arange(len(labels)))
    altered: dict[str, Outcome] = {}
    for n, (name, each) in enumerate(wanted.items()):
        answers = torch.cat([part[n] for part in parts])
        altered[name] = outcome(answers, labels[each.rows], each.rows)
    return InterventionResults(clean, altered)


def _answers(
    model: ModelAdapter,
    altered: Altered,
    chunk_size: AdaptiveChunkSize,
    context: DistributedContext,
    *,
    replicated: bool,
) -> Tensor:
    """Return this process's share of the probabilities (M, K) for altered images, on the CPU."""
    shard = context.shard(len(altered.rows), replicated=replicated)
    images = altered.make()[shard.rows]
    logits = chunk_size.run(partial(_logits, model, images), len(images))
    return probabilities(logits).cpu()[shard.duplicates :]


def _logits(model: ModelAdapter, images: Tensor, chunk_size: int) -> Tensor:
    chunks = torch.split(images, chunk_size)
    # On copies: a model may write into its input, and an intervention return the probe's images.
    # A pass that ran out of memory is also repeated on them.
    outputs = ((model.logits(model(chunk.clone()), len(chunk)), len(chunk)) for chunk in chunks)
    return torch.cat([logits_of(output, count) for output, count in outputs])
