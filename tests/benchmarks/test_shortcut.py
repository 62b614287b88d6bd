"""The measurement of the alerts: its data, its figures, the command on a folder."""

import json
import math

import cv2
import numpy as np
import pytest
import torch

from benchmarks.shortcut import evaluate
from benchmarks.shortcut.__main__ import main
from benchmarks.shortcut.data import folder_splits, make_splits
from benchmarks.shortcut.judge import alerts_of
from benchmarks.shortcut.plans import HELD_OUT, TUNED_ON, reported, tuning
from benchmarks.shortcut.runs import Plan, Run, as_json, from_json, run
from lightning_cam.monitor.alerts import RELIANCE

OFFLINE = ["digits-photos", "digits-patch", "shapes-photos", "digits-stripe", "digits-border"]


@pytest.mark.parametrize("name", OFFLINE)
def test_only_the_cue_differs_between_validation_and_shuffled(name):
    splits = make_splits(name, 1.0, 3, train=20, val=20)
    for (one, label, mask), (other, same, twin) in zip(splits.val, splits.shuffled, strict=True):
        assert label == same
        assert torch.equal(mask, twin)
        assert torch.equal(one[:, mask], other[:, mask])
    changed = [
        not torch.equal(a[0], b[0]) for a, b in zip(splits.val, splits.shuffled, strict=True)
    ]
    assert sum(changed) > 10


def test_without_correlation_shuffled_images_are_the_validation_images():
    splits = make_splits("digits-photos", 0.0, 3, train=20, val=20)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(splits.val, splits.shuffled, strict=True))


def test_reported_runs_share_no_seed_with_the_tuned_ones():
    tuned = {(plan.data, plan.seed) for plan in tuning()}
    assert not tuned & {(plan.data, plan.seed) for plan in reported()}
    assert not set(TUNED_ON) & set(HELD_OUT)
    assert len([plan for plan in reported() if not plan.steady]) >= 40


def course(*values):
    return [{"background_reliance": v, "enrichment": 2.0} for v in values]


def run_of(loss, *values, epochs=12):
    metrics = {"masks": course(*values), "blind": []}
    return Run(
        Plan("x", 0, "plain", 0, epochs), 0.9, 0.9 - loss, metrics, {"masks": [], "blind": []}
    )


def test_the_alerts_score_is_what_held_for_the_patience_in_multiples_of_the_limit():
    run = run_of(0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.9, 0.4, 0.6, 0.1)
    assert evaluate.alert_score(run, "masks") == pytest.approx(0.4 / RELIANCE)
    early = run_of(0.0, *[0.8] * 4, *[0.0] * 8)
    assert evaluate.alert_score(early, "masks") == 0
    assert evaluate.alert_score(early, "masks", standing=False) == pytest.approx(0.8 / RELIANCE)


def test_figures_of_runs_that_are_told_apart_perfectly():
    runs = [run_of(0.5, *[0.6] * 12), run_of(0.3, *[0.5] * 12), run_of(0.0, *[0.0] * 12)]
    looks = {0.5: [2], 0.3: [6], 0.0: []}
    found = evaluate.summary(runs, lambda r, mode: looks[round(r.loss, 2)])["masks"]
    assert found["alert_roc_area"] == 1
    assert found["true_alarm_rate"] == 1
    assert found["alerted_in_first_third"] == 0.5
    assert found["false_alarm_rate"] == 0
    assert found["metrics"]["background_reliance"]["rank_correlation"] == pytest.approx(1)


def test_endurance_counts_runs_and_alerts():
    runs = [run_of(0.0, *[0.0] * 12, epochs=50), run_of(0.0, *[0.0] * 12, epochs=50)]
    found = evaluate.endurance(runs, lambda r, mode: [3, 7] if r is runs[0] else [])
    assert found["masks"] == {"runs_with_an_alert": 1, "alerts_per_100_epochs": 2.0}


def test_runs_survive_json():
    run = run_of(0.5, 0.1, math.nan)
    again = from_json(json.loads(json.dumps(as_json(run))))
    assert again.plan == run.plan
    assert again.loss == run.loss


@pytest.fixture
def folder(tmp_path):
    """Two classes that only their backgrounds tell apart: the objects are alike."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 40), ("val", 16), ("shuffled", 16)):
        for label, name in enumerate(("cat", "dog")):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            (tmp_path / "masks/val" / name).mkdir(parents=True, exist_ok=True)
            for i in range(count // 2):
                color = label if part != "shuffled" else draw.integers(2)
                image = np.full((40, 40, 3), (40, 160)[color], np.uint8)
                image = (image + draw.integers(0, 30, image.shape)).astype(np.uint8)
                image[14:26, 14:26] = 230
                cv2.imwrite(str(place / f"{i}.png"), image)
                if part == "val":
                    mask = np.zeros((40, 40), np.uint8)
                    mask[14:26, 14:26] = 255
                    cv2.imwrite(str(tmp_path / "masks/val" / name / f"{i}.png"), mask)
    return tmp_path


def test_a_folder_is_read_with_its_masks(folder):
    splits = folder_splits(folder)
    assert splits.classes == 2
    assert len(splits.train) == 40
    _, label, mask = splits.val[0]
    assert label == 0
    assert 0.05 < float(mask.float().mean()) < 0.15


def test_the_command_on_a_folder_finds_the_background(folder, capsys, tmp_path):
    out = tmp_path / "figures.json"
    arguments = ["--data", str(folder), "--seeds", "1", "--epochs", "30", "--workers", "0"]
    assert main([*arguments, "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert len(figures["runs"]) == 2
    assert all(run["lost"] > 0.2 for run in figures["runs"])
    assert figures["shortcut"]["masks"]["true_alarm_rate"] == 1
    assert "bad runs alerted" in capsys.readouterr().out


def test_a_folder_without_masks_is_refused_in_one_line(folder, capsys):
    (folder / "masks/val/cat/3.png").unlink()
    assert main(["--data", str(folder), "--seeds", "1", "--workers", "0"]) == 2
    assert "expected a mask" in capsys.readouterr().err


def test_what_is_judged_again_is_what_the_callback_said():
    finished = run(Plan("digits-border", 1.0, "plain", 5, epochs=5, train=320, val=100))
    for mode in evaluate.METRICS:
        live = [(alert["epoch"], alert["metric"]) for alert in finished.alerts[mode]]
        assert sorted(alerts_of(finished.metrics[mode], evaluate.rules_of(mode))) == sorted(live)
    assert finished.alerts["masks"]
