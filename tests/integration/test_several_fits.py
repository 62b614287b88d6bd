"""One callback object in several trainings: what continues, and what starts afresh."""

import json

import pytest
import torch
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    convnet,
    fit,
    history_of,
    loader,
    small,
)

from lightning_cam import Threshold

pytestmark = QUIET
ALWAYS = Threshold("entropy", below=2.0, patience=2, warmup=0)


def lines_of(folder):
    (path,) = (folder / "lightning_cam").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def fold(seed):
    return loader(Squares(seed=seed))


def test_another_fold_starts_afresh(tmp_path):
    """Another module and other data: images, history, baselines and rules are of the new run."""
    callback, log = small(alerts=[ALWAYS]), MetricsLog()
    with pytest.warns(UserWarning, match="entropy"):
        fit(tmp_path / "a", callback, max_epochs=3, val=fold(1))
    first, before = callback.probes["val"], callback.state_dict()["probes"]["val"]
    fit(tmp_path / "b", callback, log, max_epochs=1, val=fold(2))
    now = callback.state_dict()
    assert callback.probes["val"].fingerprint != first.fingerprint
    assert history_of(callback).count == now["validations"] == 1
    assert log.of("cam/jsd_first") == log.of("cam/jsd_previous") == [0.0]
    assert now["probes"]["val"]["baselines"] != before["baselines"]
    assert now["probes"]["val"]["rules"][0]["streak"] == 1
    assert not now["probes"]["val"]["rules"][0]["active"]


def test_the_metrics_of_a_fold_are_those_of_a_new_callback(tmp_path):
    reused, logs = small(every_n_validations=2), [MetricsLog(), MetricsLog()]
    fit(tmp_path / "a", reused, max_epochs=1, val=fold(1))
    fit(tmp_path / "b", reused, logs[0], max_epochs=3, val=fold(2))
    fit(tmp_path / "c", small(every_n_validations=2), logs[1], max_epochs=3, val=fold(2))
    assert [repr(each) for each in logs[0].metrics] == [repr(each) for each in logs[1].metrics]


def test_another_module_with_the_same_data_starts_afresh(tmp_path):
    callback, log = small(), MetricsLog()
    fit(tmp_path / "a", callback, max_epochs=2)
    fit(tmp_path / "b", callback, log)
    assert history_of(callback).count == 1
    assert log.of("cam/jsd_first") == [0.0]


def test_a_module_with_other_layers_starts_afresh_without_a_warning(tmp_path):
    callback, module = small(), Module()
    fit(tmp_path / "a", callback, module=module)
    module.net = torch.nn.Sequential(torch.nn.Identity(), *convnet())
    fit(tmp_path / "b", callback, module=module)
    assert history_of(callback).count == 1


def test_the_same_module_on_other_data_starts_afresh_without_a_warning(tmp_path):
    callback, module = small(every_n_validations=2), Module()
    fit(tmp_path / "a", callback, module=module, val=fold(1))
    fit(tmp_path / "b", callback, module=module, val=fold(2))
    assert history_of(callback).count == 1


def test_the_same_module_and_data_continue(tmp_path):
    callback, module, log = small(), Module(), MetricsLog()
    fit(tmp_path / "a", callback, module=module, max_epochs=2)
    baselines = callback.state_dict()["probes"]["val"]["baselines"]
    fit(tmp_path / "b", callback, log, module=module, max_epochs=1)
    assert history_of(callback).count == 3
    assert log.of("cam/jsd_first")[0] > 0
    assert callback.state_dict()["probes"]["val"]["baselines"] == baselines


def test_a_given_probe_continues_too_and_starts_afresh_with_another_module(tmp_path):
    callback, module = small(probe=Squares(4)), Module()
    fit(tmp_path / "a", callback, module=module)
    fit(tmp_path / "b", callback, module=module)
    assert history_of(callback).count == 2
    fit(tmp_path / "c", callback)
    assert history_of(callback).count == 1


@pytest.mark.parametrize("same_module", [True, False])
def test_the_gap_of_two_probes_starts_afresh(tmp_path, same_module):
    one = Module()
    other = one if same_module else Module()
    rule = Threshold("gap/entropy", above=-9.0, patience=3, warmup=0)
    callback = small(probe={"train": "train", "val": "val"}, alerts=[rule])
    fit(tmp_path / "a", callback, module=one, max_epochs=2, val=fold(1))
    fit(tmp_path / "b", callback, module=other, max_epochs=2, val=fold(2))
    (state,) = callback.state_dict()["gap"]["rules"]
    assert state["seen"] == state["streak"] == 2


def test_each_run_has_its_files_in_its_own_folder(tmp_path):
    callback = small()
    fit(tmp_path / "a", callback, max_epochs=2, val=fold(1))
    fit(tmp_path / "b", callback, max_epochs=1, val=fold(2))
    kinds = [[line["kind"] for line in lines_of(tmp_path / name)] for name in "ab"]
    assert kinds == [["probe", "evaluation", "evaluation"], ["probe", "evaluation"]]
    for name, images in (("a", 6), ("b", 3)):
        assert len(list((tmp_path / name).rglob("*.png"))) == images
        assert (tmp_path / name / "report.html").exists()


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_counts_more_than_the_training_before(tmp_path):
    callback = small()
    trainer = fit(tmp_path / "a", callback, max_epochs=3, val=fold(1))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    fit(tmp_path / "b", callback, val=fold(2))
    path = tmp_path / "last.ckpt"
    fit(tmp_path / "c", callback, max_epochs=4, val=fold(1), ckpt_path=path)
    assert history_of(callback).count == 4
