"""`register_intervention`: a registered intervention is run, and a registered metric reads it."""

import pytest
import torch
from helpers.known_models import LABELS, MIDDLE, PATCH, RegionReader, coloured, maps_on
from helpers.monitoring import probe_monitor

from lightning_cam import Probe
from lightning_cam.interventions import (
    INTERVENTIONS,
    Altered,
    InterventionInput,
    interventions_for,
    register_intervention,
)
from lightning_cam.metrics.registry import METRICS, Metric, register_metric
from lightning_cam.runtime.forward_context import ForwardContext


@pytest.fixture(autouse=True)
def _restored_registries():
    """Remove what a test registered."""
    interventions, metrics = dict(INTERVENTIONS), dict(METRICS)
    yield
    for registry, before in ((INTERVENTIONS, interventions), (METRICS, metrics)):
        registry.clear()
        registry.update(before)


def batch_of(masks=None, seed=0):
    return InterventionInput(coloured(), LABELS, masks, maps_on(PATCH), seed)


def grey(batch):
    """Replace all colours by grey."""
    rows = torch.arange(len(batch.images))
    return Altered(rows, lambda: batch.images.mean(dim=1, keepdim=True).expand_as(batch.images))


def colour_drop(results):
    """Return the probability of the label that is lost with the colours."""
    return float((results.clean.confidence - results.altered["grey"].confidence).mean())


def test_a_registered_intervention_is_run_and_a_registered_metric_reads_it():
    register_intervention("grey", masks=False)(grey)
    register_metric(
        Metric(
            "colour_drop",
            "Drop without colours",
            "probability of the label that is lost with the colours",
            kind="intervention",
            function=colour_drop,
        )
    )
    model = RegionReader(MIDDLE)
    monitor = probe_monitor(model, Probe(coloured(), LABELS), method="layercam")
    assert "colour_drop" in monitor.metric_names
    evaluation = monitor.evaluate(model, ForwardContext.of(model), 0, 0)
    assert evaluation.metrics["colour_drop"] == pytest.approx(1 - 1 / 4, abs=1e-3)
    assert evaluation.evidence["colour_drop"] == evaluation.metrics["colour_drop"]


def test_the_decorator_returns_the_function_and_records_its_name():
    assert register_intervention("grey", masks=True)(grey) is grey
    assert (INTERVENTIONS["grey"].alter, INTERVENTIONS["grey"].masks) == (grey, True)


@pytest.mark.parametrize("masks", [True, False])
def test_probes_with_and_without_masks_get_the_interventions_for_them(masks):
    register_intervention("grey", masks=True)(grey)
    given = PATCH.expand(len(LABELS), -1, -1) if masks else None
    names = set(interventions_for(batch_of(given)))
    assert names == {name for name, each in INTERVENTIONS.items() if each.masks is masks}
    assert ("grey" in names) is masks


def test_an_intervention_without_rows_is_left_out():
    nothing = Altered(torch.empty(0, dtype=torch.long), lambda: pytest.fail("never made"))
    register_intervention("nothing", masks=False)(lambda batch: nothing)
    assert "nothing" not in interventions_for(batch_of())


def test_images_are_altered_only_when_they_are_made():
    made = []
    everyone = torch.arange(len(LABELS))
    register_intervention("late", masks=False)(lambda b: Altered(everyone, lambda: made.append(1)))
    altered = interventions_for(batch_of())
    assert made == []
    altered["late"].make()
    assert made == [1]


def test_each_name_and_seed_has_a_random_stream_of_its_own():
    def drawn(name, seed):
        return torch.rand(4, generator=batch_of(seed=seed).generator(name)).tolist()

    before = torch.get_rng_state()
    assert drawn("a", 0) == drawn("a", 0)
    streams = [drawn(name, seed) for name in ("a", "b") for seed in (0, 1)]
    assert len({tuple(each) for each in streams}) == 4
    assert torch.equal(torch.get_rng_state(), before)
