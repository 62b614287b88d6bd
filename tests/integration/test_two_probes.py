"""Two probes side by side: the gap between them, and rules about it."""

import json
import re
from pathlib import Path

import pytest
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    fit,
    fit_with_tensorboard,
    small,
)

from lightning_cam import CAMCallback, Threshold
from lightning_cam.output.record import read_run

pytestmark = QUIET
BOTH = {"val": "val", "train": "train"}


def test_the_gap_is_training_minus_validation_whatever_their_order(tmp_path):
    log = MetricsLog()
    fit(tmp_path, small(probe=BOTH), log, max_epochs=2)
    for metrics in log.metrics:
        for name in ("enrichment", "label_confidence", "jsd_previous"):
            gap = metrics[f"cam/train/{name}"] - metrics[f"cam/val/{name}"]
            assert metrics[f"cam/gap/{name}"] == pytest.approx(gap, nan_ok=True)


def test_baselines_and_subsets_have_no_gap(tmp_path):
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


def test_an_alert_of_the_gap_is_in_the_file_the_record_the_report_and_the_logger(tmp_path):
    rule = Threshold("gap/entropy", above=-2.0, patience=2, warmup=0)
    callback = small(probe=BOTH, alerts=[rule], on_alert=())
    trainer, events = fit_with_tensorboard(tmp_path, callback, max_epochs=4)
    folder = Path(trainer.log_dir)
    (alert,) = (json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines())
    assert (alert["probe"], alert["metric"], alert["epoch"]) == ("cam", "gap/entropy", 1)
    assert alert["worst"]  # of the second probe
    train, val = read_run(folder)
    assert [train.tag, val.tag] == ["cam/train", "cam/val"]
    assert [each.alerts for each in train.evaluations] == [[]] * 4
    assert [each.alerts for each in val.evaluations] == [[], [alert], [], []]
    gaps = [each.metrics["gap/entropy"] for each in val.evaluations]
    assert gaps[1] == pytest.approx(alert["value"])
    assert not [name for name in train.evaluations[1].metrics if name.startswith("gap/")]
    page = (folder / "report.html").read_text()
    (article,) = re.findall(r'<article class="alert .*?</article>', page, re.DOTALL)
    assert "Entropy, gap between probes" in article
    assert "Epoch 1, step 7" in article
    assert ", ".join(alert["worst"]) in article
    (tag,) = [tag for tag in events.Tags()["tensors"] if "cam/alerts" in tag]
    assert alert["message"] in events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
