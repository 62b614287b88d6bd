"""`run_interventions` on models whose reliance on the rim, and whose faithful map, is known."""

import math

import pytest
import torch
from helpers.known_models import (
    CLASSES,
    LABELS,
    MIDDLE,
    PATCH,
    RIM,
    SIZE,
    Blend,
    RegionReader,
    coloured,
    maps_on,
    region,
)
from helpers.nets import StatefulNet, state_of
from torch import nn

from lightning_cam import Probe
from lightning_cam.interventions import InterventionInput
from lightning_cam.interventions.image_editing import TOP_SHARE
from lightning_cam.interventions.run import run_interventions
from lightning_cam.monitor.measure import intervention_metrics
from lightning_cam.monitor.metric_names import intervention_metrics_of
from lightning_cam.runtime.chunking import AdaptiveChunkSize
from lightning_cam.runtime.distributed import DistributedContext

METRICS = intervention_metrics_of(Probe(coloured(), LABELS), has_logits=True)


def measured(model, images, maps, labels=LABELS, *, seed=0, chunk_size=None):
    batch = InterventionInput(images, labels, None, maps, seed)
    with torch.no_grad():
        logits = model(images)
    chunks = None if chunk_size is None else AdaptiveChunkSize(chunk_size)
    results = run_interventions(model, batch, logits, chunk_size=chunks)
    return intervention_metrics(results, METRICS)


def test_a_model_that_reads_only_the_rim_relies_on_it_entirely():
    found = measured(RegionReader(RIM), coloured(), maps_on(PATCH))
    assert found["rim_gap_confidence"] == pytest.approx(1, abs=1e-4)
    assert found["rim_confidence"] == pytest.approx(1, abs=1e-4)
    assert found["rim_skill"] == pytest.approx(1, abs=1e-4)
    assert found["rim_reliance"] == pytest.approx(1, abs=1e-4)


def test_a_model_that_reads_only_the_middle_does_not_rely_on_the_rim():
    found = measured(RegionReader(MIDDLE), coloured(MIDDLE), maps_on(MIDDLE))
    assert found["rim_gap_confidence"] == pytest.approx(0, abs=1e-4)
    assert found["rim_confidence"] == pytest.approx(1 / CLASSES, abs=1e-4)
    assert found["rim_skill"] == pytest.approx(0, abs=1e-4)
    assert found["rim_reliance"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_the_gap_is_the_share_that_the_rim_decides(share):
    found = measured(Blend(share), coloured(), maps_on(PATCH))
    assert found["rim_gap_confidence"] == pytest.approx(share, abs=1e-3)


def test_a_map_that_is_highest_where_the_model_reads_is_faithful():
    found = measured(RegionReader(PATCH), coloured(PATCH), maps_on(PATCH))
    assert found["top_drop"] == pytest.approx(1 - 1 / CLASSES, abs=1e-3)  # all that there was
    assert found["random_drop"] < found["top_drop"]
    assert found["faithfulness"] == found["top_drop"] - found["random_drop"]
    assert found["faithfulness"] > 0.5


def test_a_map_that_is_lowest_where_the_model_reads_is_not_faithful():
    found = measured(RegionReader(PATCH), coloured(PATCH), maps_on(region(10, 20, 10, 20)))
    assert found["top_drop"] == pytest.approx(0, abs=1e-3)
    assert found["faithfulness"] <= 0


def faithfulness_of_noise_and_of_exact_maps(seed, generator):
    """Measure a model that reads one random pixel per image, with noise and with exact maps.

    The interventions that cut regions take every second of the 16 images, in order; the model
    knows from their number which images it is given.
    """
    drawn = torch.randint(SIZE * SIZE, (len(LABELS), 1), generator=generator)
    spots = torch.zeros(len(LABELS), SIZE * SIZE, dtype=torch.bool)
    spots = spots.scatter(1, drawn, value=True).view(-1, 1, SIZE, SIZE)

    class PixelReader(nn.Module):
        def forward(self, images):
            rows = spots if len(images) == len(LABELS) else spots[:: len(LABELS) // len(images)]
            return 40.0 * (images * rows).sum(dim=(2, 3))

    noise = torch.rand(len(LABELS), 5, 5, generator=generator)
    exact = spots[:, 0].float() + 1e-3 * torch.rand(spots[:, 0].shape, generator=generator)
    of_noise, of_exact = (
        measured(PixelReader(), coloured(spots), maps, seed=seed, chunk_size=64)
        for maps in (noise, exact)
    )
    return of_noise["faithfulness"], of_noise["top_drop"], of_exact["faithfulness"]


def test_the_mean_faithfulness_of_noise_is_zero():
    generator = torch.Generator().manual_seed(0)
    found = [faithfulness_of_noise_and_of_exact_maps(seed, generator) for seed in range(48)]
    noise, top_drop, exact = torch.tensor(found).mean(dim=0).tolist()
    assert abs(noise) < 0.07  # three standard errors of 384 images
    assert top_drop == pytest.approx(TOP_SHARE * (1 - 1 / CLASSES), abs=0.05)
    assert exact > 0.3


def test_drops_are_of_the_given_labels():
    images = coloured(PATCH)
    wrong = measured(RegionReader(PATCH), images, maps_on(PATCH), (LABELS + 1) % CLASSES)
    assert wrong["top_drop"] < 0  # without its own colour another label becomes more probable


def test_with_flat_maps_alone_faithfulness_is_nan():
    found = measured(RegionReader(PATCH), coloured(), torch.zeros(len(LABELS), 4, 4))
    assert math.isfinite(found["rim_gap_confidence"])
    assert all(math.isnan(found[name]) for name in ("top_drop", "random_drop", "faithfulness"))


# --- passes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [1, 5, 64])
def test_the_chunk_size_changes_nothing(chunk_size):
    expected = measured(RegionReader(PATCH), coloured(), maps_on(PATCH))
    found = measured(RegionReader(PATCH), coloured(), maps_on(PATCH), chunk_size=chunk_size)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_chunk_size_is_halved_where_memory_runs_out():
    class Limited(RegionReader):
        def forward(self, images):
            if len(images) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    expected = measured(RegionReader(PATCH), coloured(), maps_on(PATCH))
    chunk_size = AdaptiveChunkSize(16)
    batch = InterventionInput(coloured(), LABELS, None, maps_on(PATCH))
    with torch.no_grad():
        logits = RegionReader(PATCH)(coloured())
    results = run_interventions(Limited(PATCH), batch, logits, chunk_size=chunk_size)
    assert intervention_metrics(results, METRICS) == pytest.approx(expected, abs=1e-6)
    assert chunk_size.current <= 3


def test_the_model_is_left_as_it_was():
    net = StatefulNet().train()
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8) % 3
    batch, logits = InterventionInput(images, labels, None, torch.rand(8, 4, 4)), torch.rand(8, 3)
    before, stream = state_of(net), torch.get_rng_state()
    run_interventions(net, batch, logits, chunk_size=AdaptiveChunkSize(3))
    assert state_of(net) == before
    assert torch.equal(torch.get_rng_state(), stream)


class OneOfTwo(DistributedContext):
    """The context of one of two processes, which computes the other one's part as well."""

    def all_gather(self, work):
        parts = []
        for rank in range(2):
            object.__setattr__(self, "rank", rank)
            parts.append(work())
        return parts


@pytest.mark.parametrize("replicated", [False, True])
def test_the_results_of_two_processes_are_those_of_one(replicated):
    """15 images, or 8 of them, are shared with and without a remainder."""
    images, maps, labels = coloured()[:15], maps_on(PATCH)[:15], LABELS[:15]
    model, batch = RegionReader(PATCH), InterventionInput(images, labels, None, maps)
    alone = run_interventions(model, batch, model(images))
    shared = run_interventions(
        model, batch, model(images), context=OneOfTwo(0, 2), replicated=replicated
    )
    assert alone.altered.keys() == shared.altered.keys()
    for name, expected in alone.altered.items():
        assert torch.equal(shared.altered[name].rows, expected.rows)
        torch.testing.assert_close(shared.altered[name].confidence, expected.confidence)
