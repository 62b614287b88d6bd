"""The benchmark of the alerts: its data, its figures, and its command on folders."""

import json
import math

import cv2
import numpy as np
import pytest
import torch

from benchmarks.alerts import evaluate, plans
from benchmarks.alerts.__main__ import main
from benchmarks.alerts.cues import CUES, plant
from benchmarks.alerts.pasted import folder_splits, make_splits
from benchmarks.alerts.photographs import photographs, waterbirds
from benchmarks.alerts.runs import Plan, Run, as_json, from_json, run, splits_of
from benchmarks.alerts.standing import course

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


@pytest.mark.parametrize("cue", CUES)
def test_a_planted_cue_shows_the_class_and_changes_with_it(cue):
    images, labels = torch.rand(12, 3, 32, 32), torch.arange(12) % 2
    planted = plant(images, labels, 2, cue, 1.0, seed=3)
    again = plant(images, labels, 2, cue, 1.0, seed=3)
    other = plant(images, 1 - labels, 2, cue, 1.0, seed=3)
    assert planted.shape == images.shape
    assert torch.equal(planted, again)
    assert not torch.equal(planted, other)
    assert planted.min() >= 0
    assert planted.max() <= 1


def test_reported_runs_share_no_pair_of_classes_and_no_seed_with_the_tuned_ones():
    def pairs(runs):
        return {plan.classes for plan in runs if len(plan.classes) == 2}

    tuned, reported = (plans.natural("CIFAR10", tuning=tuning) for tuning in (True, False))
    assert not pairs(tuned) & pairs(reported)
    keys = [{(p.classes, p.cue, p.network, p.seed) for p in each} for each in (tuned, reported)]
    assert not keys[0] & keys[1]
    tuned, reported = (plans.pasted(tuning=tuning) for tuning in (True, False))
    assert not {(p.data, p.seed) for p in tuned} & {(p.data, p.seed) for p in reported}
    assert len(plans.natural("CIFAR10")) - len(plans.CUES) >= 100


# --- figures --------------------------------------------------------------------------------------


def run_of(loss, score, alert=None, *, cue="patch", named="patch", classes=(0, 1)):
    metrics = {"blind": [{"shortcut_score": score}] * 12}
    alerts = [] if alert is None else [
        {"epoch": alert, "attribute": named, "verdict": "confirmed"}
    ]  # fmt: skip
    plan = Plan("photos", 0.95 if cue else 0.0, "plain", 0, 12, classes=classes, cue=cue)
    return Run(plan, 0.9, 0.9 - loss, metrics, {"blind": alerts})


def test_figures_of_a_cue():
    runs = [run_of(0.5, 0.6, 2), run_of(0.3, 0.4, 5, named="border"), run_of(0.02, 0.0)]
    runs += [run_of(0.0, 0.0, cue=""), run_of(0.0, 0.1, 4, cue="")]
    found = evaluate.planted(runs)["patch"]
    assert (found["runs"], found["bad"]) == (3, 2)
    assert found["alerted"] == 1
    assert found["share_of_training"] == pytest.approx((3 + 6) / 2 / 12)
    assert found["named"] == 0.5
    assert found["roc_area"] == 1
    assert evaluate.unplanted(runs) == {"2 classes, plain": {"runs": 2, "alerted": 1}}


def test_only_confirmed_alerts_count():
    found = run_of(0.5, 0.6, 2)
    found.alerts["blind"][0]["verdict"] = "saliency only"
    assert found.first_alert("blind") is None


def test_runs_are_restored_from_json():
    for one in (run_of(0.5, 0.1), run_of(0.5, math.nan, classes="subclasses")):
        again = from_json(json.loads(json.dumps(as_json(one))))
        assert again.plan == one.plan
        assert again.loss == one.loss


# --- photographs and folders ----------------------------------------------------------------------


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


@pytest.fixture
def photos(tmp_path):
    """Two classes, one dark and one bright."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 64), ("val", 24)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                pixels = rng.integers(0, 90, (36, 40, 3)) + 120 * label
                write(tmp_path / part / name / f"{i}.png", pixels.astype(np.uint8))
    return str(tmp_path)


def test_photographs_are_read_and_a_cue_is_planted(photos):
    found = photographs(photos, 32)
    assert found["train"][0].shape == (128, 3, 32, 32)
    assert found["val"][1].tolist() == [0] * 24 + [1] * 24
    splits = splits_of(Plan(photos, 1.0, "plain", 0, train=50, classes=(0, 1), cue="border"))
    assert (len(splits.train), len(splits.val), len(splits.shuffled)) == (100, 48, 48)
    image, other = splits.val[0][0], splits.shuffled[0][0]
    assert torch.equal(image[:, 2:-2, 2:-2], other[:, 2:-2, 2:-2])


def test_a_run_on_photographs_has_no_masks(photos):
    plan = Plan(photos, 1.0, "plain", 0, epochs=2, train=60, classes=(0, 1), cue="patch")
    done = run(plan)
    assert set(done.metrics) == {"blind"}
    assert len(done.metrics["blind"]) == 2
    assert "patch_reliance" in done.metrics["blind"][0]


def test_kept_weights_give_the_same_run_without_training(photos, tmp_path, monkeypatch):
    plan = Plan(photos, 1.0, "plain", 0, epochs=2, train=30, classes=(0, 1), cue="patch")
    trained = run(plan, tmp_path / "weights")
    monkeypatch.setattr("benchmarks.alerts.runs.quiet_trainer", None)
    again = run(plan, tmp_path / "weights")
    assert json.dumps(as_json(again)) == json.dumps(as_json(trained))
    assert len(list((tmp_path / "weights").iterdir())) == 1


def test_a_network_that_stands_still_is_evaluated_again_and_again(photos, tmp_path):
    plan = Plan(photos, 1.0, "plain", 0, epochs=2, train=30, classes=(0, 1), cue="patch")
    courses = [course(plan, turn, 3, tmp_path / "weights") for turn in (0, 1)]
    assert len(list((tmp_path / "weights").iterdir())) == 1
    assert [each["seed"] for each in courses] == [0, 0]
    assert all(isinstance(each["alerted"], list) for each in courses)


def test_without_photographs_it_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="expected photographs train/<class>"):
        photographs(str(tmp_path), 32)


def test_waterbirds_are_read_with_their_masks(tmp_path):
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    for n in range(12):
        name, label, place = f"{n % 2:03}.Bird/{n}.jpg", n % 2, n % 3 % 2
        lines.append(f"{n},{name},{label},{0 if n < 6 else 1},{place},x")
        write(tmp_path / name, np.full((40, 50, 3), 20 * n, np.uint8))
        mask = np.zeros((40, 50), np.uint8)
        mask[10:30, 15:35] = 255
        write((tmp_path / "segmentations" / name).with_suffix(".png"), mask)
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    found = waterbirds(tmp_path, 32)
    assert len(found["train"][1]) == len(found["shuffled"][1]) == 6
    assert 0 < len(found["val"][1]) < 6
    assert found["train"][2].float().mean() > 0.1
    assert len(splits_of(Plan(str(tmp_path), math.nan, "plain", 0)).val[0]) == 3


@pytest.fixture
def folder(tmp_path):
    """Two classes that differ in their backgrounds only."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("val", 16), ("shuffled", 16)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count // 2):
                color = label if part != "shuffled" else rng.integers(2)
                image = np.full((40, 40, 3), (40, 160)[color], np.uint8)
                image = (image + rng.integers(0, 30, image.shape)).astype(np.uint8)
                image[14:26, 14:26] = 230
                write(tmp_path / part / name / f"{i}.png", image)
                if part == "val":
                    mask = np.zeros((40, 40), np.uint8)
                    mask[14:26, 14:26] = 255
                    write(tmp_path / "masks/val" / name / f"{i}.png", mask)
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
    assert figures["pasted"]["masks"]["alerted"] == 1
    assert "runs that lose more and are alerted" in capsys.readouterr().out


def test_a_folder_without_masks_is_refused(folder, capsys):
    (folder / "masks/val/cat/3.png").unlink()
    assert main(["--data", str(folder), "--seeds", "1", "--workers", "0"]) == 2
    assert "expected a mask" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.ddp
def test_the_quick_command_runs_in_several_processes(tmp_path):
    out, kept = tmp_path / "figures.json", tmp_path / "runs.jsonl"
    assert main(["--quick", "--workers", "2", "--json", str(out), "--keep", str(kept)]) == 0
    figures = json.loads(out.read_text())
    assert len(figures["runs"]) == len(plans.quick()) == len(kept.read_text().splitlines())
    assert figures["command"] == f"python -m benchmarks.alerts --quick --workers 2 --json {out}"
    assert main(["--quick", "--keep", str(kept)]) == 0  # nothing is left to train


def test_a_kept_run_is_not_trained_again(tmp_path, capsys):
    kept = tmp_path / "runs.jsonl"
    metrics = {mode: [{"shortcut_score": 0.0}] * 8 for mode in ("masks", "blind")}
    runs = [Run(plan, 0.9, 0.9, metrics, {mode: [] for mode in metrics}) for plan in plans.quick()]
    kept.write_text("".join(json.dumps(as_json(each)) + "\n" for each in runs))
    assert main(["--quick", "--keep", str(kept), "--workers", "0"]) == 0
    assert f"{len(runs)} runs, 0 lose more than 20 points" in capsys.readouterr().out
