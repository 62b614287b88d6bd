"""The metrics in event files are exactly those that the catalog and the docstring list."""

import re

import pytest
from helpers.training import QUIET, Squares, cam_scalars, fit_with_tensorboard, small

from lightning_cam import CAMCallback, Probe
from lightning_cam.metrics.catalog import METRICS
from lightning_cam.metrics.registry import BASELINES, GAP, OF_CLASS, REFERENCES, UNFLIPPED

pytestmark = QUIET
CLASSES = [f"{OF_CLASS}/{label}" for label in range(4)]


def documented(*has):
    """Return the names of one probe's metrics whose needs are met, by the catalog's facts."""
    names = [
        name
        for metric in METRICS.values()
        if set(metric.needs) <= set(has)
        for name in metric.logged_names
    ]
    moved = [n for m in METRICS.values() if m.kind == "movement" for n in m.logged_names]
    return {*names, *(f"{UNFLIPPED}/{name}" for name in moved)}


def logged(folder, callback, **kwargs):
    """Train with a callback and return the names of its metrics in the event file."""
    _, events = fit_with_tensorboard(folder, callback, **kwargs)
    return {tag.removeprefix("cam/") for tag in cam_scalars(events)}


def test_the_docstring_lists_exactly_the_metrics_of_the_catalog():
    section = CAMCallback.__doc__.split("Logged metrics")[1].split("Example:")[0]
    names = re.findall(r"`([a-z_/<>]+)`", section)
    families = [f"{UNFLIPPED}/<name>", f"{OF_CLASS}/<class>", f"{GAP}/<metric>"]
    suffixes = ["<baseline>", "<reference>", *BASELINES, *REFERENCES]
    found = {name for name in names if name not in {*families, *suffixes} and "cam/" not in name}
    expected = set()
    for metric in METRICS.values():
        expected |= {f"{metric.name}_<reference>" if metric.moves else metric.name}
        expected |= {f"{metric.name}_<baseline>"} if metric.kind == "mask" else set()
    assert found - {"/<method>@<layer>"} == expected
    assert {*families, *suffixes} <= set(names)


@pytest.mark.parametrize("max_overhead", [None, 0.999])
def test_with_masks_the_event_file_holds_what_is_documented(tmp_path, max_overhead):
    callback = CAMCallback(panels=["overlay"], num_pictures=1, max_overhead=max_overhead)
    overhead = ["max_overhead"] if max_overhead else []
    expected = {*documented("masks", "labels", *overhead), *CLASSES}
    assert len(expected) > 80
    assert logged(tmp_path, callback, max_epochs=2) == expected


def test_without_masks_the_event_file_holds_what_is_documented(tmp_path):
    data = Squares(16)
    callback = small(probe=Probe(data.images, data.targets))
    names = logged(tmp_path, callback)
    assert names == documented("no masks", "labels")
    assert not [name for name in names if "background" in name or "enrichment" in name]


def test_without_labels_the_event_file_holds_what_is_documented(tmp_path):
    data = Squares(16)
    callback = small(probe=Probe(data.images, masks=data.masks))
    assert logged(tmp_path, callback) == documented("masks")


def test_two_probes_have_gaps_of_all_metrics_but_baselines_and_subsets(tmp_path):
    names = logged(tmp_path, small(probe={"train": "train", "val": "val"}, probe_size=16))
    each = {*documented("masks", "labels"), *CLASSES}
    baselines = tuple(f"_{baseline}" for baseline in BASELINES)
    gaps = {n for n in each if "/" not in n and not n.endswith(baselines)}
    expected = {f"{probe}/{name}" for probe in ("train", "val") for name in each}
    assert names == expected | {f"{GAP}/{name}" for name in gaps}
