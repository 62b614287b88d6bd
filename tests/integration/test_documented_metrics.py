"""The metrics in event files are exactly those that the catalog and the docstring list."""

import re

import pytest
import torch
from helpers.training import (
    QUIET,
    Module,
    Squares,
    cam_scalars,
    fit,
    fit_with_tensorboard,
    small,
)
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_cam import CAMCallback, Probe, Threshold
from lightning_cam.metrics.catalog import METRICS
from lightning_cam.metrics.registry import BASELINES, GAP, OF_CLASS, REFERENCES, UNFLIPPED
from lightning_cam.output.record import read_run

pytestmark = QUIET
TWO = {"train": "train", "val": "val"}
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
    callback = CAMCallback(
        panels=["overlay"], num_pictures=1, max_overhead=max_overhead, metrics="all"
    )
    overhead = ["max_overhead"] if max_overhead else []
    expected = {*documented("masks", "labels", *overhead), *CLASSES}
    assert len(expected) > 80
    assert logged(tmp_path, callback, max_epochs=2) == expected


def test_without_masks_the_event_file_holds_what_is_documented(tmp_path):
    data = Squares(16)
    callback = small(probe=Probe(data.images, data.targets), metrics="all")
    names = logged(tmp_path, callback)
    assert names == documented("no masks", "labels")
    assert not [name for name in names if "background" in name or "enrichment" in name]


def test_without_labels_the_event_file_holds_what_is_documented(tmp_path):
    data = Squares(16)
    callback = small(probe=Probe(data.images, masks=data.masks), metrics="all")
    assert logged(tmp_path, callback) == documented("masks")


def test_two_probes_have_gaps_of_all_metrics_but_baselines_and_subsets(tmp_path):
    names = logged(tmp_path, small(probe=TWO, probe_size=16, metrics="all"))
    each = {*documented("masks", "labels"), *CLASSES}
    baselines = tuple(f"_{baseline}" for baseline in BASELINES)
    gaps = {n for n in each if "/" not in n and not n.endswith(baselines)}
    expected = {f"{probe}/{name}" for probe in ("train", "val") for name in each}
    assert names == expected | {f"{GAP}/{name}" for name in gaps}


# --- what goes to the loggers ---------------------------------------------------------------------

HEADLINE = {
    "enrichment", "enrichment_center", "entropy", "drift_previous", "drift_first",
    "prediction_flips", "label_confidence", "shortcut_score", "shortcut_score_low",
    "background_reliance", "patch_reliance",
}  # fmt: skip


def test_by_default_the_event_file_holds_few_metrics_in_few_groups(tmp_path):
    trainer, events = fit_with_tensorboard(tmp_path, CAMCallback(num_pictures=1))
    names = {tag.removeprefix("cam/") for tag in cam_scalars(events)}
    assert names == HEADLINE
    everything = {tag for tag in trainer.callback_metrics if tag.startswith("cam/")}
    assert len(everything) > 80
    (record,) = read_run(trainer.loggers[0].log_dir)
    assert {f"cam/{name}" for name in record.evaluations[0].metrics} == everything


def test_of_further_maps_and_gaps_the_event_file_holds_less(tmp_path):
    layers = ["net.2", "net.3"]
    names = logged(tmp_path, small(probe=TWO, probe_size=16, layers=layers))
    assert {n for n in names if n.startswith("gap/")} == {
        "gap/enrichment", "gap/entropy", "gap/label_confidence", "gap/prediction_flips",
    }  # fmt: skip
    further = {n.partition("/")[2] for n in names if n.startswith("train/") and "@" in n}
    assert further == {f"{name}/gradcam@net.3" for name in ("enrichment", "entropy")}


def test_what_rules_callbacks_schedulers_and_the_progress_bar_need_is_logged(tmp_path):
    class Scheduled(Module):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "monitor": "cam/center_x"},
            }

    callback = CAMCallback(
        num_pictures=1,
        progress_bar="border_mass",
        alerts=[Threshold("jsd_first", above=0.9), Threshold("iou", below=0.1, of="random")],
    )
    others = [
        EarlyStopping("cam/center_y", mode="max", patience=9),
        ModelCheckpoint(tmp_path / "kept", monitor="cam/pointing_game"),
    ]
    _, events = fit_with_tensorboard(
        tmp_path, callback, *others, module=Scheduled(), enable_checkpointing=True
    )
    names = {tag.removeprefix("cam/") for tag in cam_scalars(events)}
    wanted = {"border_mass", "jsd_first", "iou", "iou_random"}
    assert names == HEADLINE | wanted | {"center_x", "center_y", "pointing_game"}


def test_names_and_patterns_select_what_is_logged(tmp_path):
    names = logged(tmp_path, small(metrics=["iou", "drift_*", "unflipped/jsd_f*"], alerts=()))
    assert names == {"iou", *(f"drift_{each}" for each in REFERENCES), "unflipped/jsd_first"}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["enrichmnt"], r"unknown metric in metrics= 'enrichmnt'. Did you mean 'enrichment'"),
        (["surround_reliance"], "surround_reliance is measured without masks only"),
        (["rfs_*"], r"unknown metric in metrics= 'rfs_\*'"),
    ],
)
def test_a_selection_of_what_is_never_measured_is_refused_before_the_first_batch(
    tmp_path, metrics, message
):
    module = Module()
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, small(metrics=metrics), module=module)
    assert module.global_step == 0
