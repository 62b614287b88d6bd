"""`Metric` and its registry: names, titles, checks."""

import pytest
import torch

from lightning_cam.metrics.registry import (
    BASELINES,
    METRICS,
    REFERENCES,
    Metric,
    find_metric,
    grouped,
    metrics_of,
    register_metric,
    title_of,
)


@pytest.fixture
def _restored_registry():
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def metric(name="peak", **facts):
    facts = {"kind": "map", "function": lambda maps: maps.amax(dim=(1, 2))} | facts
    return Metric(name, "Peak", "largest cell", **facts)


# --- checks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "two words", "a/b", "1st", "a-b"])
def test_names_are_identifiers(name):
    with pytest.raises(ValueError, match="expected a metric's name as an identifier, got"):
        metric(name)


def test_an_unknown_group_names_the_near_miss():
    with pytest.raises(ValueError, match=r"unknown group of metrics 'atention'.*'attention'"):
        metric(group="atention")


@pytest.mark.parametrize("kind", ["map", "mask", "movement"])
def test_metrics_of_maps_need_a_function(kind):
    with pytest.raises(ValueError, match=f"expected a function for metric 'peak' of kind '{kind}'"):
        metric(kind=kind, function=None)


def test_metrics_of_the_monitor_need_no_function():
    assert metric(kind="evaluation", function=None).function is None


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "suffixes"),
    [
        ({"kind": "map"}, [""]),
        ({"kind": "intervention"}, [""]),
        ({"kind": "evaluation"}, [""]),
        ({"kind": "mask"}, ["", *(f"_{name}" for name in BASELINES)]),
        ({"kind": "movement"}, [f"_{name}" for name in REFERENCES]),
        ({"kind": "evaluation", "reference_suffix": True}, [f"_{name}" for name in REFERENCES]),
    ],
)
def test_logged_names_have_a_suffix_per_baseline_or_reference(facts, suffixes):
    assert metric(**facts).logged_names == tuple(f"peak{suffix}" for suffix in suffixes)


def test_every_logged_name_is_found_again():
    for each in METRICS.values():
        for name in each.logged_names:
            found, suffix = find_metric(name)
            assert found is each
            assert name == f"{each.name}_{suffix}" if suffix else name == each.name


@pytest.mark.parametrize("name", METRICS)
def test_a_metrics_own_name_is_found(name):
    assert find_metric(name) == (METRICS[name], "")


@pytest.mark.parametrize(
    "name", ["unknown", "entropy_random", "enrichment_previous", "jsd_center", "enrichment_", ""]
)
def test_names_that_are_never_logged_are_not_found(name):
    assert find_metric(name) == (None, "")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("enrichment", "Enrichment"),
        ("jsd_previous", "Divergence (JSD) from the previous evaluation"),
        ("enrichment_center", "Enrichment of a Gaussian in the middle of the image"),
        ("entropy/layercam@layer4", "Entropy (layercam@layer4)"),
        ("gap/enrichment", "Enrichment, gap between probes"),
        (
            "unflipped/jsd_first",
            "Divergence (JSD) from the first evaluation, prediction unchanged",
        ),
        ("train_loss", "train_loss"),
    ],
)
def test_titles_of_logged_names(name, title):
    assert title_of(name) == title


# --- the registry ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("_restored_registry")
def test_a_registered_metric_is_listed_and_replaced_by_name():
    first = register_metric(metric())
    assert METRICS["peak"] is first
    assert first in grouped()["other"]
    assert list(metrics_of("map"))[-1] is first
    second = register_metric(metric(group="health"))
    assert METRICS["peak"] is second
    assert "other" not in grouped()
    assert second in grouped()["health"]


@pytest.mark.usefixtures("_restored_registry")
def test_a_registered_metric_is_measured():
    from lightning_cam.monitor.measure import map_metrics

    register_metric(metric())
    maps = torch.rand(3, 4, 4)
    assert torch.equal(map_metrics(maps, None)["peak"], maps.amax(dim=(1, 2)))


def test_metrics_are_listed_by_kind_in_order():
    order = list(METRICS.values())
    for kinds in (("map",), ("mask", "movement"), ("intervention",)):
        found = list(metrics_of(*kinds))
        assert found == [each for each in order if each.kind in kinds]
        assert found


def test_groups_hold_each_metric_once():
    found = [each for some in grouped().values() for each in some]
    assert sorted(each.name for each in found) == sorted(METRICS)
    assert all(grouped().values())
