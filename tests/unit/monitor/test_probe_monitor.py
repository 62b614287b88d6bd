"""`ProbeMonitor`: what an evaluation measures, which alerts it raises, its images, its state."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from helpers.known_models import (
    LABELS,
    PATCH,
    BrightnessGrid,
    FixedPattern,
    RegionReader,
    RightHalfOnly,
    coloured,
    mirrored_pattern,
    smooth_images,
)
from helpers.monitoring import evaluate, probe_monitor
from helpers.recorded_run import net, probe_of
from torch import nn

from lightning_cam import Probe, Threshold, compute_cams
from lightning_cam.metrics.registry import find_metric
from lightning_cam.monitor import passes
from lightning_cam.monitor.alerts import verdict_of
from lightning_cam.monitor.baselines import untrained_maps
from lightning_cam.output.panels import PANELS
from lightning_cam.runtime.forward_context import ForwardContext


def shaken(model, seed):
    """Change the weights of a model in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=generator), alpha=0.2)


# --- metrics --------------------------------------------------------------------------------------


def test_an_evaluation_holds_maps_predictions_and_the_announced_metrics():
    model, probe = net(), probe_of()
    monitor = probe_monitor(model, probe, layers="0")
    evaluation, _ = evaluate(monitor, model, 3, 39)
    result = compute_cams(model, probe.images, probe.targets, layers="0")
    torch.testing.assert_close(evaluation.maps["gradcam", "0"], result["gradcam", "0"])
    assert evaluation.snapshot.predictions.tolist() == result.logits.argmax(dim=1).tolist()
    assert (evaluation.epoch, evaluation.step, evaluation.snapshot.index) == (3, 39, 0)
    assert set(evaluation.metrics) == set(monitor.metric_names)
    for name in evaluation.metrics:
        known = name.startswith(("unflipped/", "enrichment_of/")) or find_metric(name)[0]
        assert known, name


def test_names_of_metrics_are_the_same_at_every_evaluation():
    """Interventions and the noise floor are not measured at all of them."""
    model = net()
    monitor = probe_monitor(model, probe_of(), interventions_every=3, alerts=())
    for epoch in range(8):
        evaluation, _ = evaluate(monitor, model, epoch)
        assert set(evaluation.metrics) <= set(monitor.metric_names)
        assert bool(evaluation.evidence) is (epoch < 5 or epoch % 3 == 0)


def test_a_network_that_became_nan_has_no_reliance_and_no_flips():
    """What earlier evaluations found of it is no news of this one."""
    model = RegionReader(PATCH)
    monitor = probe_monitor(model, Probe(coloured(PATCH), LABELS), method="layercam")
    for epoch in range(4):
        before, _ = evaluate(monitor, model, epoch)
    assert math.isfinite(before.metrics["shortcut_score"])
    with torch.no_grad():
        for weights in model.parameters():
            weights.fill_(math.nan)
    now, _ = evaluate(monitor, model, 4)
    names = ["shortcut_score", "prediction_flips", "label_confidence", "entropy"]
    names += [name for name in now.metrics if "reliance" in name]
    assert all(math.isnan(now.metrics[name]) for name in names)
    assert not now.evidence


def test_movement_is_measured_against_the_history():
    model = net()
    monitor = probe_monitor(model, probe_of(), interventions_every=0)
    first, _ = evaluate(monitor, model, 0)
    assert first.metrics["jsd_previous"] == pytest.approx(0, abs=1e-6)
    shaken(model, 1)
    second, _ = evaluate(monitor, model, 1)
    assert second.metrics["jsd_previous"] > 0
    again, _ = evaluate(monitor, model, 2)
    assert again.metrics["jsd_previous"] == pytest.approx(0, abs=1e-6)
    assert again.metrics["jsd_first"] == pytest.approx(second.metrics["jsd_first"])


def test_the_best_evaluation_is_by_monitored_value_or_by_label_confidence():
    model = net()
    monitor = probe_monitor(model, probe_of(), interventions_every=0)
    for epoch, value in enumerate([0.1, 0.9, 0.5]):
        evaluate(monitor, model, epoch, value=value)
    assert monitor.history.best.epoch == 1
    by_labels = probe_monitor(model, probe_of(), interventions_every=0)
    first, _ = evaluate(by_labels, model, 0)
    assert by_labels.history.best_value == first.metrics["label_confidence"]


def test_the_images_with_the_lowest_enrichment_are_named():
    model = net()
    evaluation, _ = evaluate(probe_monitor(model, probe_of(6)), model)
    order = evaluation.per_image["enrichment"].argsort()[:3].tolist()
    assert evaluation.worst == tuple(probe_of(6).ids[n] for n in order)
    assert evaluate(probe_monitor(model, probe_of(6, masks=False)), model)[0].worst == ()


def test_baselines_are_measured_once(monkeypatch):
    calls = []

    def counted(*args):
        calls.append(args)
        return untrained_maps(*args)

    monkeypatch.setattr(passes, "untrained_maps", counted)
    model = net()
    monitor = probe_monitor(model, probe_of())
    first, _ = evaluate(monitor, model, 0)
    shaken(model, 1)
    second, _ = evaluate(monitor, model, 1)
    for baseline in ("random", "center", "untrained"):
        name = f"enrichment_{baseline}"
        assert math.isfinite(first.metrics[name])
        assert first.metrics[name] == second.metrics[name]
    assert len(calls) == 1


def test_an_evaluation_leaves_the_model_and_the_random_streams():
    model, images = RightHalfOnly(8), smooth_images()
    probe, before = Probe(images, torch.arange(6) % 3), torch.get_rng_state()
    monitor = probe_monitor(model, probe, method="layercam")
    evaluate(monitor, model)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in model.parameters())
    assert model.training


# --- interventions and noise floor ----------------------------------------------------------------


def test_evidence_holds_the_attributes_that_the_probe_allows():
    model = RegionReader(PATCH)
    for masks in (None, PATCH.expand(len(LABELS), -1, -1)):
        probe = Probe(coloured(PATCH), LABELS, masks=masks)
        evaluation, _ = evaluate(probe_monitor(model, probe, method="layercam"), model)
        assert ("background_reliance_low" in evaluation.evidence) is (masks is not None)
        assert ("surround_reliance_low" in evaluation.evidence) is (masks is None)
        assert set(evaluation.evidence) <= set(evaluation.metrics)


def test_without_partners_there_are_no_interventions():
    """Labels without a pair: nothing can be exchanged within a class."""
    model = net()
    evaluation, _ = evaluate(probe_monitor(model, probe_of(3)), model)
    assert not evaluation.evidence
    assert "background_reliance" not in evaluation.metrics


def test_without_labels_there_are_no_interventions():
    model = RegionReader(PATCH)
    monitor = probe_monitor(model, Probe(coloured(PATCH), None), method="layercam")
    evaluation, _ = evaluate(monitor, model)
    assert not evaluation.evidence
    assert not [name for name in evaluation.metrics if "reliance" in name]


def test_an_evaluation_that_is_not_remembered_leaves_the_evidence_as_it_was():
    model = RegionReader(PATCH)
    monitor = probe_monitor(model, Probe(coloured(PATCH), LABELS), method="layercam")
    evaluate(monitor, model)
    before = monitor.evidence.state_dict()
    monitor.evaluate(model, ForwardContext.of(model), epoch=1, step=1)
    assert monitor.evidence.state_dict() == before
    evaluate(monitor, model)
    assert monitor.evidence.state_dict() != before


def test_evidence_is_part_of_the_state():
    model, probe = RegionReader(PATCH), Probe(coloured(PATCH), LABELS)
    monitor = probe_monitor(model, probe, method="layercam")
    evaluate(monitor, model)
    again = probe_monitor(model, probe, method="layercam")
    assert again.load_state_dict(monitor.state_dict()) == ""
    assert again.evidence.state_dict() == monitor.evidence.state_dict()
    damaged = monitor.state_dict()
    damaged["evidence"]["cells"] = [0.0]
    assert "cannot be used" in again.load_state_dict(damaged)


def test_a_value_beyond_a_limit_is_tested_by_interventions_although_none_are_due():
    model = net()
    rule = Threshold("entropy", above=-1.0, patience=1, warmup=0)
    for alerts, tested in (([rule], True), ((), False)):
        monitor = probe_monitor(model, probe_of(6), interventions_every=0, alerts=alerts)
        evaluation, _ = evaluate(monitor, model)
        assert bool(evaluation.evidence) is tested


def test_drift_is_divergence_over_the_noise_floor():
    model, images = RightHalfOnly(8), smooth_images()
    monitor = probe_monitor(model, Probe(images, torch.arange(6) % 3), method="layercam")
    evaluation, _ = evaluate(monitor, model, 0)
    floor = evaluation.metrics["noise_floor"]
    assert floor > 0.1
    assert evaluation.metrics["drift_previous"] == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        model.fc.weight[:, 0] = -1.0
    later, _ = evaluate(monitor, model, 1)
    assert later.metrics["jsd_previous"] > 0.001
    now = later.metrics["noise_floor"]  # of the weights of this evaluation
    assert now != floor
    assert later.metrics["drift_previous"] == pytest.approx(later.metrics["jsd_previous"] / now)


def test_the_noise_floor_is_of_maps_smoothed_as_those_of_the_evaluation():
    """Averaged over flips, a map does not change under a flip."""
    probe = Probe(smooth_images(), torch.arange(6) % 3)
    model, floors = RightHalfOnly(8), []
    for aug_smooth in (False, True):
        monitor = probe_monitor(model, probe, method="layercam", aug_smooth=aug_smooth)
        floors.append(evaluate(monitor, model)[0].metrics["noise_floor"])
    assert floors[0] > 0.1
    assert floors[1] < 0.01


def test_the_noise_floor_is_of_principal_components_where_maps_are():
    pattern = torch.cat([mirrored_pattern() ** power for power in (1, 3, 9)], dim=1)
    model = FixedPattern(pattern)
    model.fc.weight.data.copy_(torch.tensor([3.0, 1.0, 2.0]).expand(3, 3))
    probe = Probe(smooth_images(), torch.arange(6) % 3)
    monitor = probe_monitor(model, probe, method="layercam", eigen_smooth=True)
    assert evaluate(monitor, model)[0].metrics["noise_floor"] == pytest.approx(0, abs=1e-5)


def test_without_interventions_there_is_no_noise_floor():
    model = BrightnessGrid(8)
    probe = Probe(smooth_images(), torch.arange(6) % 3)
    evaluation, _ = evaluate(probe_monitor(model, probe, interventions_every=0), model)
    assert not {"noise_floor", "drift_previous"} & set(evaluation.metrics)


# --- alerts ---------------------------------------------------------------------------------------


def test_an_alert_holds_the_facts_of_its_evaluation():
    model = net()
    rule = Threshold("entropy", above=-1.0, patience=1, warmup=0)
    monitor = probe_monitor(model, probe_of(6), tag="cam/val", alerts=[rule])
    evaluation, (alert,) = evaluate(monitor, model, 3, 39)
    assert (alert.probe, alert.metric, alert.limit) == ("cam/val", "entropy", -1.0)
    assert (alert.epoch, alert.step, alert.worst) == (3, 39, evaluation.worst)
    assert alert.value == evaluation.metrics["entropy"]
    assert alert.evidence == evaluation.evidence
    assert alert.verdict == verdict_of(evaluation.evidence)
    assert evaluate(monitor, model, 4)[1] == []


def test_a_rule_about_an_unknown_metric_is_reported():
    with pytest.raises(ValueError, match=r"unknown metric in a rule 'enrichmnt'.*'enrichment'"):
        probe_monitor(net(), probe_of(), alerts=[Threshold("enrichmnt", below=1.0)])


def test_rules_about_a_gap_are_left_to_the_gap():
    monitor = probe_monitor(net(), probe_of(), alerts=[Threshold("gap/enrichment", above=1.0)])
    assert monitor.rules.rules == ()


def test_a_failed_evaluation_has_every_metric_as_nan():
    monitor = probe_monitor(net(), probe_of())
    failed = monitor.failed_evaluation(2, 29)
    assert failed.failed
    assert set(failed.metrics) == set(monitor.metric_names)
    assert all(math.isnan(value) for value in failed.metrics.values())


# --- images ---------------------------------------------------------------------------------------


def drawn(count, **options):
    """Return the tags of the images of each evaluation."""
    model, tags = net(), []
    options = {"interventions_every": 0, "alerts": (), "num_pictures": 2, "layers": "0"} | options
    monitor = probe_monitor(model, probe_of(6), **options)
    context = ForwardContext.of(model)
    for epoch in range(count):
        shaken(model, epoch)
        evaluation = monitor.evaluate(model, context, epoch, epoch)
        diagnostics = monitor.run_diagnostics(model, context)
        evaluation = replace(evaluation, diagnostics=diagnostics)
        monitor.update_history(evaluation, math.nan)
        tags.append([picture.tag for picture in monitor.renderer_of(evaluation)()])
    return tags


def test_all_panels_are_drawn_and_slow_ones_at_every_nth_evaluation():
    first, second, third = drawn(3, panels=list(PANELS), slow_panels_every=2)
    expected = {"cam/timeline", "cam/comparison", "cam/worst", "cam/classes", "cam/animation"}
    assert expected < set(second)
    slow = {"cam/features/0", "cam/activation_maximization"}
    assert slow < set(first)
    assert slow < set(third)
    assert not slow & set(second)
    assert "cam/methods" not in first
    assert "cam/methods" in drawn(1, method=["gradcam", "layercam"])[0]


def test_only_the_configured_panels_are_drawn():
    assert drawn(1, panels=["timeline"]) == [["cam/timeline"]]
    assert drawn(1, panels=[]) == [[]]


def test_an_evaluation_that_is_drawn_later_is_drawn_as_it_was():
    model = net()
    monitor = probe_monitor(model, probe_of(), interventions_every=0, panels=["comparison"])
    renderers = []
    for epoch in range(3):
        shaken(model, epoch)
        evaluation, _ = evaluate(monitor, model, epoch)
        renderers.append(monitor.renderer_of(evaluation))
    caption = renderers[1]()[0].caption
    assert "now epoch 1" in caption
    assert "epoch 2" not in caption


# --- state ----------------------------------------------------------------------------------------


def test_a_restored_monitor_continues_as_an_uninterrupted_one():
    model, rules = net(), [Threshold("entropy", above=-1.0, patience=4, warmup=0)]
    whole, restored = (probe_monitor(model, probe_of(), alerts=rules) for _ in range(2))
    for epoch in range(3):
        evaluate(whole, model, epoch)
    assert restored.load_state_dict(copy.deepcopy(whole.state_dict())) == ""
    shaken(model, 7)
    one, alerts = evaluate(whole, model, 3)
    two, restored_alerts = evaluate(restored, model, 3)
    assert one.metrics == pytest.approx(two.metrics, nan_ok=True)
    assert alerts == restored_alerts
    assert len(alerts) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s | {"fingerprint": "0" * 12}, "the checkpoint's history is of another probe"),
        (lambda s: s | {"layers": ["layer4"]}, r"the checkpoint's history is of layers ['layer4']"),
        (
            lambda s: s | {"history": None},
            "cannot be used (ValueError: expected probe.history as a",
        ),
        (
            lambda s: s | {"rules": 7},
            "the checkpoint's history cannot be used (ValueError: expected p",
        ),
        (lambda s: s | {"noise_floor": "low"}, "expected probe.noise_floor as a number, got a str"),
        (lambda s: {}, "cannot be used (ValueError: expected 'fingerprint' in probe, got none"),
    ],
    ids=["probe", "layers", "history", "rules", "noise floor", "empty"],
)
def test_a_state_that_does_not_fit_changes_nothing_and_says_why(change, reason):
    model = net()
    monitor = probe_monitor(model, probe_of())
    evaluate(monitor, model, 0)
    state, history = monitor.state_dict(), monitor.history
    assert reason in monitor.load_state_dict(change(state))
    assert monitor.history is history
    assert history.count == 1


def test_a_wrapped_model_is_evaluated_as_the_model_inside():
    model = net()
    plain = evaluate(probe_monitor(model, probe_of()), model)[0]
    wrapped = nn.DataParallel(model)
    found = evaluate(probe_monitor(wrapped, probe_of()), wrapped)[0]
    assert list(found.maps) == list(plain.maps)


def test_an_evaluation_that_is_not_remembered_leaves_no_evidence():
    """As those of `trainer.validate()`; the next one makes no exchanges."""
    model = net()
    monitor = probe_monitor(model, probe_of(12), interventions_every=0, alerts=())
    evaluate(monitor, model)
    monitor._exchanges.suspicious = True
    found = monitor.evaluate(model, ForwardContext.of(model), 1, 1)
    assert found.evidence
    monitor._exchanges.suspicious = False
    before = monitor.evidence.state_dict()
    evaluate(monitor, model, 2)
    assert monitor.evidence.state_dict() == before
