"""`run_exchanges`: probabilities of the label after exchanges, however the passes are shared."""

import pytest
import torch
from helpers.exchanges import batch_of
from helpers.known_models import LABELS, RegionReader, coloured, region
from helpers.nets import StatefulNet, state_of

from lightning_cam.interventions.attributes import patch
from lightning_cam.interventions.run import ExchangeRequest, run_exchanges
from lightning_cam.runtime.chunking import AdaptiveChunkSize
from lightning_cam.runtime.distributed import DistributedContext, Shard

CELL = region(0, 5, 0, 5)


def request(count=6):
    rows = torch.arange(count)
    same, other = (rows + 4) % 16, (rows + 1) % 16  # labels repeat every four images
    draws = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    return ExchangeRequest(patch, rows, (same, other), torch.zeros(count, 2).long(), draws)


def answers(model=None, images=None, **options):
    images = coloured(CELL) if images is None else images
    model = model or RegionReader(CELL)
    return run_exchanges(model, batch_of(images), LABELS, [request(), request(3)], **options)


def test_the_label_keeps_its_probability_with_the_patch_of_its_class_alone():
    first, second = answers()
    assert (first.shape, second.shape) == ((2, 6), (2, 3))
    assert first[0].min() > 0.99
    assert first[1].max() < 0.01


@pytest.mark.parametrize("chunk_size", [1, 5, 64])
def test_the_chunk_size_does_not_change_the_answers(chunk_size):
    for one, other in zip(
        answers(), answers(chunk_size=AdaptiveChunkSize(chunk_size)), strict=True
    ):
        assert torch.allclose(one, other)


@pytest.mark.parametrize(("chunk_size", "passes"), [(64, [18]), (8, [8, 8, 2]), (5, [5, 5, 5, 3])])
def test_the_images_of_all_requests_share_full_chunks(chunk_size, passes):
    sizes = []

    class Counting(RegionReader):
        def forward(self, images):
            sizes.append(len(images))
            return super().forward(images)

    answers(Counting(CELL), chunk_size=AdaptiveChunkSize(chunk_size))
    assert sizes == passes


def test_the_answers_of_two_processes_are_those_of_one():
    expected = answers()

    class One(DistributedContext):
        """One of two processes, which gathers nothing."""

        def __init__(self, rank):
            super().__init__()
            self.at = rank

        def shard(self, count, *, replicated=False):
            size = -(-count // 2)
            start = min(self.at * size, count - size)
            return Shard(start, start + size, min(self.at * size, count))

        def all_gather(self, work):
            return [work()]

    parts = [answers(context=One(rank)) for rank in (0, 1)]
    for whole, *shares in zip(expected, *parts, strict=True):
        assert torch.allclose(whole, torch.cat(shares, dim=1))


def test_the_model_and_random_streams_are_left_as_they_were():
    model = StatefulNet().train()
    images = torch.rand(16, 3, 20, 20)
    before, stream = state_of(model), torch.get_rng_state()
    run_exchanges(model, batch_of(images), LABELS % 3, [request()])
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), stream)
    assert model.training


def test_no_pixel_is_brighter_than_the_brightest_of_the_probe():
    seen = []

    class Looking(RegionReader):
        def forward(self, images):
            seen.append((float(images.min()), float(images.max())))
            return super().forward(images)

    def brighter(batch, partners):
        return batch.images[batch.rows] + 10

    images = coloured(CELL)
    loud = request()
    loud = ExchangeRequest(brighter, loud.rows, loud.partners, loud.cells, loud.draws)
    run_exchanges(Looking(CELL), batch_of(images), LABELS, [loud])
    assert max(high for _, high in seen) <= float(images.max())
