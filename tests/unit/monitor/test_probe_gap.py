"""`ProbeGap`: training minus validation of each metric, and the alerts of rules about gaps."""

import math

import pytest
import torch

from lightning_cam import Evaluation, Threshold
from lightning_cam.monitor import Snapshot
from lightning_cam.monitor.probe_gap import ProbeGap, gap_of

RULE = Threshold("gap/enrichment", above=0.3, patience=1, warmup=0)


def evaluation(*, failed=False, **metrics):
    none = torch.empty(0, dtype=torch.long)
    maps = {} if failed else {("gradcam", "layer"): torch.rand(1, 2, 2)}
    snapshot = Snapshot(0, 3, 30, maps, none, none, none, torch.empty(0))
    return Evaluation(snapshot, metrics, worst=("a",))


def gap(probes=("train", "val"), rules=(RULE,)):
    return ProbeGap("cam", probes, rules)


def test_the_gap_is_the_first_probe_minus_the_second():
    found = gap(("near", "far")).add_to(
        {"near": evaluation(iou=0.5), "far": evaluation(iou=0.2)}, update_rules=False
    )
    assert found["far"].metrics == {"iou": 0.2, "gap/iou": pytest.approx(0.3)}
    assert found["near"].metrics == {"iou": 0.5}


@pytest.mark.parametrize("probes", [("train", "val"), ("val", "train")])
def test_with_a_probe_named_train_it_is_training_minus_the_other_in_any_order(probes):
    evaluations = {"train": evaluation(iou=0.5), "val": evaluation(iou=0.2)}
    found = gap(probes).add_to({name: evaluations[name] for name in probes}, update_rules=False)
    assert found["val"].metrics["gap/iou"] == pytest.approx(0.3)
    assert "gap/iou" not in found["train"].metrics


def test_only_metrics_of_both_probes_have_a_gap_and_no_baselines_or_further_maps():
    metrics = {"iou": 0.5, "iou_random": 0.2, "iou/layercam@b": 0.4, "unflipped/jsd_first": 0.1}
    one, other = metrics | {"rim_reliance": 0.1}, metrics | {"background_reliance": 0.2}
    names = gap().metric_names({"train": one, "val": other})
    assert names == ["gap/iou"]
    found = gap().add_to(
        {"train": evaluation(**one), "val": evaluation(**other)}, update_rules=False
    )
    assert set(found["val"].metrics) - set(other) == set(names)


def test_nan_gives_nan():
    found = gap().add_to(
        {"train": evaluation(iou=math.nan), "val": evaluation(iou=0.2)}, update_rules=True
    )
    assert math.isnan(found["val"].metrics["gap/iou"])


@pytest.mark.parametrize(
    "evaluations",
    [
        {"train": evaluation(iou=0.5)},
        {"train": evaluation(iou=0.5), "val": evaluation(failed=True, iou=math.nan)},
        {"train": evaluation(failed=True, iou=math.nan), "val": evaluation(iou=0.5)},
    ],
    ids=["missing", "second failed", "first failed"],
)
def test_without_both_evaluations_there_is_no_gap(evaluations):
    assert gap().add_to(evaluations, update_rules=True) == evaluations


# --- alerts ---------------------------------------------------------------------------------------


def pair(first=1.5, second=1.0):
    return {"train": evaluation(enrichment=first), "val": evaluation(enrichment=second)}


def test_an_alert_of_a_gap_is_part_of_the_second_probes_evaluation():
    found = gap().add_to(pair(), update_rules=True)
    (alert,) = found["val"].alerts
    assert found["train"].alerts == ()
    assert (alert.probe, alert.metric, alert.value) == ("cam", "gap/enrichment", 0.5)
    assert (alert.epoch, alert.step, alert.verdict, alert.worst) == (
        3, 30, "saliency only", ("a",),
    )  # fmt: skip
    assert gap().add_to(pair(1.2), update_rules=True)["val"].alerts == ()


def test_rules_see_the_gap_only_where_they_are_updated():
    both = gap()
    assert both.add_to(pair(), update_rules=False)["val"].alerts == ()
    assert len(both.add_to(pair(), update_rules=True)["val"].alerts) == 1
    assert both.add_to(pair(), update_rules=True)["val"].alerts == ()  # once until it clears


def test_only_rules_about_gaps_are_taken():
    other = Threshold("enrichment", below=9.0, patience=1, warmup=0)
    assert gap(rules=(other, RULE)).rules.rules == (RULE,)


def test_the_state_of_the_rules_is_restored():
    patient = Threshold("gap/enrichment", above=0.3, patience=2, warmup=0)
    one, restored = gap(rules=(patient,)), gap(rules=(patient,))
    one.add_to(pair(), update_rules=True)
    restored.load_state_dict(one.state_dict())
    assert len(restored.add_to(pair(), update_rules=True)["val"].alerts) == 1


# --- gap_of ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("probes", [["val"], ["a", "b", "c"]])
def test_there_is_a_gap_of_two_probes_only(probes):
    assert gap_of("cam", probes, None) is None
    assert isinstance(gap_of("cam", ["a", "b"], None), ProbeGap)
    with pytest.raises(ValueError, match=f"two probes for a rule of 'gap/.*got {len(probes)}"):
        gap_of("cam", probes, [RULE])
