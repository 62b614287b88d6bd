"""The catalog's facts hold: bounds on random maps, values of even maps, better directions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_cam import metrics
from lightning_cam.interventions import ATTRIBUTES
from lightning_cam.metrics.registry import METRICS, metrics_of

seeds = st.integers(0, 2**31)
sides = st.integers(2, 7)


def random_maps(generator, count, h, w):
    """Return maps with zeros, steep and even ones, and a flat one."""
    maps = torch.rand(count, h, w, generator=generator)
    maps[0] *= maps[0] > 0.5
    maps[1] = maps[1] ** 8
    maps[2] = maps[2] * 1e6
    maps[3] = 0.0
    return maps


def values_of(metric, seed, h, w):
    """Return a metric's values on random maps, masks and earlier maps."""
    generator = torch.Generator().manual_seed(seed)
    maps, before = (random_maps(generator, 6, h, w) for _ in range(2))
    masks = torch.rand(6, 2 * h, 2 * w, generator=generator) < 0.4
    masks[5] = False
    other = {"map": [], "mask": [masks], "movement": [before]}[metric.kind]
    return metric.function(maps, *other)


def within(metric, value, slack=1e-5):
    low, high = metric.bounds
    return (low is None or value >= low - slack) and (high is None or value <= high + slack)


@pytest.mark.parametrize(
    "metric", list(metrics_of("map", "mask", "movement")), ids=lambda m: m.name
)
@given(seed=seeds, h=sides, w=sides)
def test_values_of_random_maps_are_within_the_bounds(metric, seed, h, w):
    values = values_of(metric, seed, h, w)
    assert len(values) == 6
    assert all(within(metric, value) for value in values.tolist() if not math.isnan(value))


@pytest.mark.parametrize(
    "metric", [m for m in metrics_of("map", "mask") if m.even is not None], ids=lambda m: m.name
)
def test_even_is_the_value_of_an_even_map(metric):
    maps = 1 + 1e-5 * torch.rand(3, 8, 8)  # exactly even ones count as flat
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[:, 2:9, 3:12] = True
    arguments = [maps, masks] if metric.kind == "mask" else [maps]
    torch.testing.assert_close(
        metric.function(*arguments), torch.full((3,), metric.even), atol=1e-4, rtol=0
    )


def test_every_attribute_has_its_metrics():
    names = {metric.name for metric in metrics_of("intervention")}
    of_attributes = {
        f"{name}_reliance{suffix}" for name in ATTRIBUTES for suffix in ("", "_low", "_se")
    }
    assert names == of_attributes | {"shortcut_score", "shortcut_score_low"}
    for name, attribute in ATTRIBUTES.items():
        needs = METRICS[f"{name}_reliance"].needs
        assert ("masks" in needs, "no masks" in needs) == (
            attribute.masks is True,
            attribute.masks is False,
        )


@pytest.mark.parametrize("metric", list(metrics_of("mask")), ids=lambda m: m.name)
def test_maps_on_the_object_have_the_better_value(metric):
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[:, :4, :4] = True
    on, off = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    on[:, 1:4, 1:4], off[:, 5:8, 5:8] = torch.rand(3, 3) + 0.5, torch.rand(3, 3) + 0.5
    assert metric.higher_is_better
    assert metric.function(on, masks) > metric.function(off, masks)


def test_every_public_function_is_in_the_catalog():
    helpers = {"METRICS", "Metric", "register_metric", "center", "coverage"}
    functions = {getattr(metrics, name) for name in metrics.__all__ if name not in helpers}
    assert functions <= {metric.function for metric in METRICS.values()}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_facts_are_consistent(metric):
    low, high = metric.bounds
    assert low is None or high is None or low < high
    assert metric.even is None or within(metric, metric.even)
    assert metric.title[0].isupper()
    assert not metric.description.endswith(".")
    assert not metric.percent or metric.bounds == (0.0, 1.0)
    assert ("masks" in metric.needs) or metric.kind != "mask"


def test_headlines_are_few_and_of_several_groups():
    for lacking in ("masks", "no masks"):
        some = [m for m in METRICS.values() if m.headline_names and lacking not in m.needs]
        assert 8 <= sum(len(metric.headline_names) for metric in some) <= 14
        assert len({metric.group for metric in some}) <= 4
    for metric in METRICS.values():
        assert set(metric.headline_names) <= set(metric.logged_names)
