"""The benchmark of the alerts: its data, its figures, and its command on a folder."""

import json
import math

import cv2
import numpy as np
import pytest
import torch

from benchmarks.shortcut import evaluate
from benchmarks.shortcut.__main__ import main
from benchmarks.shortcut.data import folder_splits, make_splits
from benchmarks.shortcut.plans import HELD_OUT, TUNED_ON, quick, reported, tuning
from benchmarks.shortcut.replay_rules import replay_rules
from benchmarks.shortcut.runs import Plan, Run, as_json, from_json, run
from lightning_cam.monitor.default_rules import BACKGROUND_LIMIT

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


def test_reported_runs_share_no_data_and_seed_with_the_tuned_ones():
    tuned = {(plan.data, plan.seed) for plan in tuning()}
    assert not tuned & {(plan.data, plan.seed) for plan in reported()}
    assert not set(TUNED_ON) & set(HELD_OUT)
    assert len([plan for plan in reported() if not plan.steady]) >= 40


def history(*values):
    return [{"background_reliance": v, "enrichment": 2.0} for v in values]


def run_of(loss, *values, epochs=12):
    metrics = {"masks": history(*values), "blind": []}
    return Run(
        Plan("x", 0, "plain", 0, epochs), 0.9, 0.9 - loss, metrics, {"masks": [], "blind": []}
    )


def test_the_score_is_the_value_that_lasted_in_multiples_of_the_limit():
    run = run_of(0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.9, 0.4, 0.6, 0.1)
    assert evaluate.alert_score(run, "masks") == pytest.approx(0.4 / BACKGROUND_LIMIT)
    early = run_of(0.0, *[0.8] * 4, *[0.0] * 8)
    assert evaluate.alert_score(early, "masks") == 0
    at_any_time = evaluate.alert_score(early, "masks", at_the_end=False)
    assert at_any_time == pytest.approx(0.8 / BACKGROUND_LIMIT)


def test_figures_of_runs_that_are_distinguished_perfectly():
    runs = [run_of(0.5, *[0.6] * 12), run_of(0.3, *[0.5] * 12), run_of(0.0, *[0.0] * 12)]
    alerts = {0.5: [2], 0.3: [6], 0.0: []}
    found = evaluate.summary(runs, lambda r, mode: alerts[round(r.loss, 2)])["masks"]
    assert found["alert_roc_area"] == 1
    assert found["true_alarm_rate"] == 1
    assert found["alerted_in_first_third"] == 0.5
    assert found["false_alarm_rate"] == 0
    assert found["metrics"]["background_reliance"]["rank_correlation"] == pytest.approx(1)


def test_false_alarms_of_long_runs_are_counted():
    runs = [run_of(0.0, *[0.0] * 12, epochs=50), run_of(0.0, *[0.0] * 12, epochs=50)]
    found = evaluate.long_runs(runs, lambda r, mode: [3, 7] if r is runs[0] else [])
    assert found["masks"] == {"runs_with_an_alert": 1, "alerts_per_100_epochs": 2.0}


def test_runs_are_restored_from_json():
    run = run_of(0.5, 0.1, math.nan)
    again = from_json(json.loads(json.dumps(as_json(run))))
    assert again.plan == run.plan
    assert again.loss == run.loss


@pytest.fixture
def folder(tmp_path):
    """Two classes that differ in their backgrounds only."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("val", 16), ("shuffled", 16)):
        for label, name in enumerate(("cat", "dog")):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            (tmp_path / "masks/val" / name).mkdir(parents=True, exist_ok=True)
            for i in range(count // 2):
                color = label if part != "shuffled" else rng.integers(2)
                image = np.full((40, 40, 3), (40, 160)[color], np.uint8)
                image = (image + rng.integers(0, 30, image.shape)).astype(np.uint8)
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


@pytest.mark.slow
@pytest.mark.sweep
def test_the_command_on_a_folder_finds_the_background(folder, capsys, tmp_path):
    out = tmp_path / "figures.json"
    arguments = ["--data", str(folder), "--seeds", "1", "--epochs", "30", "--workers", "0"]
    assert main([*arguments, "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert len(figures["runs"]) == 2
    assert all(run["lost"] > 0.2 for run in figures["runs"])
    assert figures["shortcut"]["masks"]["true_alarm_rate"] == 1
    assert "lose more than 20 points and are alerted" in capsys.readouterr().out


def test_a_folder_without_masks_is_refused(folder, capsys):
    (folder / "masks/val/cat/3.png").unlink()
    assert main(["--data", str(folder), "--seeds", "1", "--workers", "0"]) == 2
    assert "expected a mask" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.sweep
def test_replayed_rules_raise_the_alerts_of_the_callback():
    finished = run(Plan("digits-border", 1.0, "plain", 5, epochs=5, train=320, val=100))
    for mode in evaluate.METRICS:
        live = [(alert["epoch"], alert["metric"]) for alert in finished.alerts[mode]]
        assert sorted(replay_rules(finished.metrics[mode], evaluate.rules_of(mode))) == sorted(live)
    assert finished.alerts["masks"]


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.ddp
def test_the_quick_command_runs_in_several_processes(tmp_path):
    out, kept = tmp_path / "figures.json", tmp_path / "runs.jsonl"
    assert main(["--quick", "--workers", "2", "--json", str(out), "--keep", str(kept)]) == 0
    figures = json.loads(out.read_text())
    assert len(figures["runs"]) == len(quick()) == len(kept.read_text().splitlines())
    assert figures["command"] == f"python -m benchmarks.shortcut --quick --workers 2 --json {out}"
    assert main(["--quick", "--keep", str(kept)]) == 0  # nothing is left to train


def test_a_kept_run_is_not_trained_again(tmp_path, capsys):
    kept = tmp_path / "runs.jsonl"
    metrics = {mode: history(*[0.0] * 8) for mode in evaluate.METRICS}
    runs = [Run(plan, 0.9, 0.9, metrics, {mode: [] for mode in metrics}) for plan in quick()]
    kept.write_text("".join(json.dumps(as_json(each)) + "\n" for each in runs))
    assert main(["--quick", "--keep", str(kept), "--workers", "0"]) == 0
    assert f"{len(runs) - 1} runs, 0 lose more than 20 points" in capsys.readouterr().out


def test_replayed_interventions_count_when_they_are_due_or_a_rule_asks():
    rules = evaluate.rules_of("blind")
    values = [0.0] * 6 + [0.5 + 0.01 * n for n in range(8)]
    recorded = [{"entropy": 0.5, "rim_reliance": value} for value in values]
    # Due at evaluation 10 only; then the rule asks for the next one.
    assert replay_rules(recorded, rules) == [(11, "rim_reliance")]
    assert replay_rules(recorded, rules, every=1) == [(7, "rim_reliance")]
    assert replay_rules([recorded[-1]] * 20, rules) == []  # repeated values are counted once
