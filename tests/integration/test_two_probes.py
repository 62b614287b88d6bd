"""Training and validation images watched side by side, and masks that nobody drew."""

import json
import math

import pytest
import torch
from helpers.training import QUIET, Ledger, Module, Squares, fit, fit_with_tensorboard, loader, small

from lightning_cam import CAMCallback, Threshold, Probe

pytestmark = QUIET
BOTH = {"val": "val", "train": "train"}


def test_the_gap_is_training_minus_validation_whatever_their_order(tmp_path):
    ledger = Ledger()
    fit(tmp_path, small(probe=BOTH), ledger, max_epochs=2)
    for now in ledger.metrics:
        for name in ("enrichment", "label_confidence", "jsd_previous"):
            gap = now[f"cam/train/{name}"] - now[f"cam/val/{name}"]
            assert now[f"cam/gap/{name}"] == pytest.approx(gap, nan_ok=True)


def test_the_gap_leaves_baselines_and_subsets_out(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(probe=BOTH))
    gaps = {t.removeprefix("cam/gap/") for t in events.Tags()["scalars"] if "/gap/" in t}
    assert "entropy" in gaps
    assert not [name for name in gaps if name.endswith("_untrained") or "/" in name]


def test_one_probe_has_no_gap(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small())
    assert not [tag for tag in events.Tags()["scalars"] if "gap/" in tag]


def test_a_rule_of_the_gap_alerts_once(tmp_path):
    rule = Threshold("gap/entropy", above=-2.0, patience=1, warmup=0)
    with pytest.warns(UserWarning, match="cam/gap/entropy"):
        fit(tmp_path, small(probe=BOTH, alerts=[rule]), max_epochs=3)
    lines = (tmp_path / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["metric"] for line in lines] == ["gap/entropy"]


def test_a_rule_of_the_gap_needs_two_probes():
    with pytest.raises(ValueError, match=r"two probes .* got 1"):
        CAMCallback(alerts=[Threshold("gap/entropy", above=0.1)])


def test_an_unknown_gap_names_the_near_miss(tmp_path):
    callback = small(probe=BOTH, alerts=[Threshold("gap/entropie", above=0.1)])
    module = Module()
    with pytest.raises(ValueError, match="Did you mean 'gap/entropy'"):
        fit(tmp_path, callback, module=module)
    assert module.trained == 0


# --- estimated masks -----------------------------------------------------------------------------


def bare_probe():
    data = Squares(8, side=32)
    return Probe(data.images, data.targets), data.masks


def test_grabcut_finds_what_stands_in_the_middle():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.3
    masks = torch.zeros(4, 32, 32, dtype=torch.bool)
    masks[:, 9:23, 12:25] = True
    images[:, 1][masks] = 1.0
    found = Probe(images).with_estimated_masks().masks
    overlap = (found & masks).flatten(1).sum(1) / (found | masks).flatten(1).sum(1)
    assert float(overlap.median()) > 0.6


def test_estimated_masks_are_marked_and_given_ones_kept():
    probe, masks = bare_probe()
    guessed = probe.with_estimated_masks()
    assert guessed.masks_estimated
    given = Probe(probe.images, probe.targets, masks=masks)
    assert given.with_estimated_masks() is given
    assert not given.masks_estimated
    boxes = torch.tensor([[1.0, 1.0, 15.0, 15.0]]).expand(8, 4)
    assert Probe(probe.images, probe.targets, boxes=boxes).masks_estimated


def test_boxes_start_the_estimate():
    data = Squares(4, side=32)
    boxes = torch.tensor([[1.0, 1, 15, 15], [17, 1, 31, 15], [1, 17, 15, 31], [17, 17, 31, 31]])
    found = Probe(data.images, data.targets, boxes=boxes).with_estimated_masks().masks
    assert not bool(found[0, 16:].any() | found[0, :, 16:].any())
    assert bool(found[0].any())


def test_the_estimate_repeats():
    probe, _ = bare_probe()
    assert torch.equal(probe.with_estimated_masks().masks, probe.with_estimated_masks().masks)


@pytest.mark.parametrize("side", [1, 3, 8])
def test_images_too_small_for_grabcut_have_empty_or_whole_masks(side):
    images = torch.rand(2, 3, side, side)
    assert Probe(images, [0, 1]).with_estimated_masks().masks.shape == (2, side, side)


def test_the_callback_says_that_masks_are_estimated(tmp_path):
    probe, _ = bare_probe()
    rule = Threshold("entropy", above=-1.0, patience=1, warmup=0)
    callback = small(probe=probe, estimate_masks=True, alerts=[rule])
    with pytest.warns(UserWarning, match="estimated masks"):
        fit(tmp_path, callback, train=loader(Squares(side=32)), val=loader(Squares(side=32)))
    assert json.loads((tmp_path / "alerts.jsonl").read_text())["estimated"] is True


# --- what is best --------------------------------------------------------------------------------


def test_the_best_validation_is_the_monitored_ones(tmp_path):
    ledger, callback = Ledger(), small(monitor="val_loss", mode="min")
    fit(tmp_path, callback, ledger, max_epochs=4)
    losses = ledger.of("val_loss")
    best = losses.index(min(losses))
    assert callback._watches["val"].history.best.validation == best


def test_without_a_monitor_the_labels_probability_decides(tmp_path):
    ledger, callback = Ledger(), small()
    fit(tmp_path, callback, ledger, max_epochs=3)
    values = ledger.of("cam/label_confidence")
    assert callback._watches["val"].history.best.validation == values.index(max(values))


def test_a_monitor_that_is_never_logged_costs_nothing(tmp_path):
    ledger = Ledger()
    fit(tmp_path, small(monitor="no such metric"), ledger, max_epochs=2)
    assert math.isfinite(ledger.metrics[-1]["cam/jsd_best"])


def test_a_mode_that_is_none_is_refused():
    with pytest.raises(ValueError, match="mode 'min' or 'max', got 'highest'"):
        CAMCallback(mode="highest")
