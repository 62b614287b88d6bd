"""Metrics by plain name: movement against references, subsets, predictions, classes, averages."""

import math

import pytest
import torch

from lightning_cam import Probe
from lightning_cam.explain.result import CAMResult
from lightning_cam.metrics import enrichment, entropy, jsd
from lightning_cam.metrics.registry import METRICS, Metric, find_metric
from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.measure import (
    averages,
    compute_metrics,
    map_metrics,
    movement_metrics,
    prediction_metrics,
    unflipped,
)

KEY, OTHER = ("gradcam", "layer"), ("layercam", "layer")


def maps(seed, count=2):
    return torch.rand(count, 4, 4, generator=torch.Generator().manual_seed(seed))


def snapshot(of, predictions=(0, 1), index=0):
    rows = torch.arange(len(of))
    return Snapshot(
        index, 0, 0, {KEY: of}, rows, rows, torch.tensor(predictions), torch.ones(len(of))
    )


def history_of(*values):
    history = History()
    for n, value in enumerate(values):
        history.add(snapshot(maps(n), index=n), value)
    return history


# --- movement -------------------------------------------------------------------------------------


def test_each_reference_is_the_evaluation_that_it_is_named_after():
    history = history_of(0.1, 0.9, 0.3)
    moved = movement_metrics(maps(7), history, KEY)
    for reference, seed in (("first", 0), ("best", 1), ("previous", 2)):
        assert torch.equal(moved[f"jsd_{reference}"], jsd(maps(7), maps(seed)))
    torch.testing.assert_close(moved["jsd_average"], jsd(maps(7), history.average[KEY]))


def test_the_shift_of_the_centre_is_measured_in_pixels_of_the_image():
    here, right = torch.zeros(2, 2, 4, 4)
    here[:, 0, 0], right[:, 0, 2] = 1.0, 1.0
    history = History()
    history.add(snapshot(here))
    result = CAMResult({KEY: right}, torch.zeros(2, 3), torch.zeros(2).long(), torch.arange(2))
    wide = compute_metrics(Probe(torch.rand(2, 3, 300, 400)), result, history).metrics
    assert wide["center_shift_first"] == pytest.approx(200 / 500)
    assert wide["center_shift_previous"] == pytest.approx(200 / 500)


def test_without_a_past_the_movement_is_zero():
    moved = movement_metrics(maps(0), History(), KEY)
    assert moved["jsd_best"].tolist() == [0, 0]
    assert moved["top_overlap_average"].tolist() == [1, 1]


def test_maps_of_another_shape_or_key_are_no_reference():
    history = history_of(0.1)
    assert movement_metrics(torch.rand(2, 5, 5), history, KEY)["jsd_first"].tolist() == [0, 0]
    assert movement_metrics(maps(5), history, OTHER)["jsd_first"].tolist() == [0, 0]


def test_a_metric_that_compares_two_batches_only_is_called_for_each_reference(monkeypatch):
    def largest_change(now, before):
        assert now.shape == before.shape
        return (now - before).abs().amax(dim=(1, 2))

    added = Metric("largest_change", "", "", kind="movement", function=largest_change)
    monkeypatch.setitem(METRICS, added.name, added)
    history = history_of(0.1, 0.9, 0.3)
    moved = movement_metrics(maps(7), history, KEY)
    for reference, seed in (("first", 0), ("best", 1), ("previous", 2)):
        expected = largest_change(maps(7), maps(seed))
        assert torch.equal(moved[f"largest_change_{reference}"], expected)


def test_many_large_maps_are_compared_like_few_small_ones():
    history, large = History(), torch.rand(60, 50, 50)
    history.add(snapshot(torch.rand(60, 50, 50)), 0.5)
    moved = movement_metrics(large, history, KEY)
    assert torch.equal(moved["jsd_first"], jsd(large, history.first.maps[KEY]))


def test_fine_maps_are_compared_as_they_are_remembered():
    history, fine = History(), torch.rand(2, 224, 112)
    history.add(snapshot(torch.rand(2, 224, 112)), 0.5)
    moved = movement_metrics(fine, history, KEY)
    coarse = fine.view(2, 56, 4, 56, 2).mean(dim=(2, 4))
    torch.testing.assert_close(moved["jsd_first"], jsd(coarse, history.first.maps[KEY]))


def test_unflipped_leaves_out_images_whose_prediction_differs_from_the_reference():
    history = history_of(0.5)
    history.add(snapshot(maps(1), predictions=(1, 1), index=1), 0.1)
    moved = movement_metrics(maps(2), history, KEY)
    kept = unflipped(moved, torch.tensor([0, 1]), torch.arange(2), history)
    assert kept["unflipped/jsd_previous"].isnan().tolist() == [True, False]
    assert kept["unflipped/jsd_first"].isnan().tolist() == [False, False]
    assert kept["unflipped/jsd_first"].tolist() == moved["jsd_first"].tolist()


# --- single maps and predictions ------------------------------------------------------------------


def test_metrics_of_maps_are_those_of_the_catalog():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, :4] = True
    found = map_metrics(maps(0), masks)
    assert set(found) == {name for name, each in METRICS.items() if each.kind in ("map", "mask")}
    assert torch.equal(found["entropy"], entropy(maps(0)))
    assert torch.equal(found["enrichment"], enrichment(maps(0), masks))
    assert set(map_metrics(maps(0), None)) == {n for n, m in METRICS.items() if m.kind == "map"}


def test_label_confidence_and_flips_of_predictions():
    confidences = torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    predicted, targets = torch.tensor([0, 1]), torch.tensor([1, 1])
    found = prediction_metrics(confidences, predicted, torch.tensor([0, 0]), targets)
    assert found["label_confidence"].tolist() == pytest.approx([0.3, 0.6])
    assert found["prediction_flips"].tolist() == [0, 1]
    first = prediction_metrics(confidences, predicted, None, None)
    assert first["prediction_flips"].tolist() == [0, 0]
    assert "label_confidence" not in first


def test_label_confidence_and_flips_with_several_labels():
    confidences = torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    targets = torch.tensor([[1, 1], [0, 1]]).bool()
    predicted, before = confidences > 0.5, torch.tensor([[1, 0], [1, 1]]).bool()
    found = prediction_metrics(confidences, predicted, before, targets)
    assert found["label_confidence"].tolist() == pytest.approx([0.7, 0.3, 0.6])
    assert found["prediction_flips"].tolist() == [0, 1]


# --- all of an evaluation -------------------------------------------------------------------------


def result(logits):
    rows = torch.arange(len(logits))
    return CAMResult({KEY: maps(0, len(logits))}, logits, rows, rows)


def probe(count=4, *, masks=True, **known):
    square = torch.zeros(count, 8, 8, dtype=torch.bool)
    square[:, :4] = True
    known = {"targets": torch.arange(count) % 2} | known
    return Probe(torch.rand(count, 3, 8, 8), masks=square if masks else None, **known)


def test_metrics_of_further_maps_have_a_suffix():
    found = compute_metrics(probe(), result(torch.rand(4, 3)), History())
    several = CAMResult(
        {KEY: maps(0, 4), OTHER: maps(1, 4)}, torch.rand(4, 3), torch.arange(4), torch.arange(4)
    )
    both = compute_metrics(probe(), several, History()).metrics
    assert both["entropy"] == pytest.approx(entropy(maps(0, 4)).mean().item())
    assert both["entropy/layercam@layer"] == pytest.approx(entropy(maps(1, 4)).mean().item())
    assert set(found.metrics) == {name for name in both if "layercam@layer" not in name}
    assert "unflipped/jsd_previous/layercam@layer" not in both


def test_every_measured_name_is_in_the_catalog_or_of_a_family():
    metrics = compute_metrics(probe(), result(torch.rand(4, 3)), History()).metrics
    assert metrics
    for name in metrics:
        plain = name.removeprefix("unflipped/")
        assert find_metric(plain)[0] is not None or plain.startswith("enrichment_of/")


@pytest.mark.parametrize(("dog", "start"), [("a dog", "a_dog-"), ("犬", "class_1-")])
def test_enrichment_of_each_class(dog, start):
    own = probe(class_names=["cat", dog])
    found = compute_metrics(own, result(torch.rand(4, 3)), History())
    each = found.per_image["enrichment"]
    classes = {n: v for n, v in found.metrics.items() if n.startswith("enrichment_of/")}
    assert len(classes) == 2
    assert classes["enrichment_of/cat"] == pytest.approx(each[[0, 2]].mean().item())
    (other,) = set(classes) - {"enrichment_of/cat"}
    assert other.startswith(f"enrichment_of/{start}")  # safe as a path
    assert classes[other] == pytest.approx(each[[1, 3]].mean().item())


@pytest.mark.parametrize(("classes", "measured"), [(1, False), (2, True), (20, True), (21, False)])
def test_classes_are_measured_one_by_one_where_they_are_few(classes, measured):
    own = probe(classes, targets=torch.arange(classes))
    found = compute_metrics(own, result(torch.rand(classes, 30)), History()).metrics
    assert any(name.startswith("enrichment_of/") for name in found) is measured


def test_without_logits_there_are_no_metrics_of_predictions():
    found = compute_metrics(probe(), result(torch.empty(4, 0)), History())
    assert "label_confidence" not in found.metrics
    assert "prediction_flips" not in found.metrics
    assert found.predictions.tolist() == [-1] * 4
    assert found.confidences.isnan().all()


def test_predictions_and_confidences_are_those_of_the_logits():
    logits = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]])
    found = compute_metrics(probe(2), result(logits), History())
    assert found.predictions.tolist() == [1, 0]
    assert found.confidences.tolist() == pytest.approx([0.75, 0.8])
    assert found.metrics["label_confidence"] == pytest.approx((0.25 + 0.2) / 2)
    assert found.per_image["label_confidence"].tolist() == pytest.approx([0.25, 0.2])


def test_averages_skip_nan_and_keep_the_order():
    values = {
        "a": torch.tensor([1.0, math.nan, 3.0]),
        "b": torch.tensor([math.nan]),
        "c": torch.tensor([4.0, 4.0, 4.0]),
    }
    found = averages(values)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == 2
    assert math.isnan(found["b"])
    assert found["c"] == 4
