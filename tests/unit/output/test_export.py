"""`export_worst`: which samples, and that other packages read what is written."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from helpers.hostile import NAMES
from helpers.recorded_run import Run, probe_of
from helpers.training import decoded

from lightning_cam.output.export import (
    attended_region,
    export_worst,
    harmless,
    worst_samples,
)
from lightning_cam.output.record import read_run

COUNT = 6


def recorded(folder, epochs=3, **options):
    """Return the record of a run of six images, of which the first four are recorded."""
    known = {k: options.pop(k) for k in ("masks", "labels", "multi_label", "ids") if k in options}
    run = Run(folder, probe_of(COUNT, **known), pictures=4, **options)
    for epoch in range(epochs):
        run.evaluate(epoch)
    (record,) = read_run(folder)
    return record


def rows(folder):
    with (folder / "worst.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- which samples --------------------------------------------------------------------------------


def test_least_on_the_object_comes_first(tmp_path):
    record = recorded(tmp_path)
    evaluation = record.evaluations[-1]
    values = evaluation.per_image["enrichment"]
    found = worst_samples(record, evaluation, "off-object", 3)
    expected = sorted(range(COUNT), key=lambda n: values[n])[:3]
    assert [each.row for each in found] == expected
    assert [each.metrics["enrichment"] for each in found] == sorted(values)[:3]


def test_wrong_predictions_only(tmp_path):
    record = recorded(tmp_path)
    evaluation = record.evaluations[-1]
    found = worst_samples(record, evaluation, "wrong", COUNT)
    wrong = {n for n in range(COUNT) if evaluation.predictions[n] != record.targets[n]}
    assert 0 < len(wrong) < COUNT
    assert {each.row for each in found} == wrong
    values = [each.metrics["enrichment"] for each in found]
    assert values == sorted(values)


def test_without_masks_the_most_confident_wrong_prediction_comes_first(tmp_path):
    record = recorded(tmp_path, masks=False)
    found = worst_samples(record, record.evaluations[-1], "wrong", COUNT)
    values = [each.confidence for each in found]
    assert len(values) > 1
    assert values == sorted(values, reverse=True)


def test_what_moved_most_comes_first(tmp_path):
    record = recorded(tmp_path, masks=False)
    evaluation = record.evaluations[-1]
    found = worst_samples(record, evaluation, "moved", COUNT)
    values = [v for v in evaluation.per_image["jsd_previous"] if v > 0]
    assert [each.metrics["jsd_previous"] for each in found] == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("order", "options", "message"),
    [
        ("worst", {}, "expected an order of off-object, wrong, moved, got 'worst'"),
        ("off-object", {"masks": False}, "expected masks for the order 'off-object'"),
        (
            "moved",
            {"epochs": 1},
            "expected an evaluation before the latest one for the order 'moved'",
        ),
        ("wrong", {"labels": False}, "expected labels for the order 'wrong'"),
    ],
)
def test_an_order_that_the_record_does_not_know_is_refused(tmp_path, order, options, message):
    record = recorded(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        worst_samples(record, record.evaluations[-1], order, 3)


def test_the_order_by_default_follows_the_masks(tmp_path):
    with_masks, without = recorded(tmp_path / "a"), recorded(tmp_path / "b", masks=False)
    found = export_worst(with_masks, tmp_path / "1")
    assert found == worst_samples(with_masks, with_masks.evaluations[-1], "off-object", 32)
    found = export_worst(without, tmp_path / "2")
    assert found == worst_samples(without, without.evaluations[-1], "moved", 32)


def test_images_with_several_labels_have_a_line_for_each(tmp_path):
    record = recorded(tmp_path, multi_label=True)
    samples = export_worst(record, tmp_path / "out")
    assert len(samples) == len(record.evaluations[-1].rows) > COUNT
    assert {each["correct"] for each in rows(tmp_path / "out")} <= {"true", "false"}
    assert {each["label"] for each in rows(tmp_path / "out")} == {"0", "1", "2"}


# --- the files ------------------------------------------------------------------------------------


def test_the_csv_has_ids_answers_and_metrics(tmp_path):
    record = recorded(tmp_path, ids=[f"photos/{n}.jpg" for n in range(COUNT)])
    samples = export_worst(record, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [each["id"] for each in found] == [each.id for each in samples]
    assert [int(each["rank"]) for each in found] == list(range(1, COUNT + 1))
    evaluation = record.evaluations[-1]
    for line, sample in zip(found, samples, strict=True):
        assert float(line["enrichment"]) == pytest.approx(sample.metrics["enrichment"], rel=1e-5)
        assert float(line["confidence"]) == pytest.approx(evaluation.confidences[sample.row], 1e-5)
        assert line["prediction"] == str(evaluation.predictions[sample.row])
        assert (line["correct"] == "true") == (line["prediction"] == line["label"])
        assert (line["epoch"], line["step"]) == (str(evaluation.epoch), str(evaluation.step))
        image = tmp_path / "out" / line["image"]
        assert image.is_file() == (sample.row < 4)  # as many as were recorded


# pycocotools with NumPy 2
@pytest.mark.filterwarnings("ignore:.*__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_annotations(tmp_path, capsys):
    coco_module = pytest.importorskip("pycocotools.coco")
    record = recorded(tmp_path)
    samples = export_worst(record, tmp_path / "out")
    coco = coco_module.COCO(str(tmp_path / "out" / "labels.json"))
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["attended", "object"]
    evaluation = record.evaluations[-1]
    maps = evaluation.maps[0].values()
    images = coco.loadImgs(coco.getImgIds())
    assert len(images) == 4
    for image in images:
        pixels = decoded((tmp_path / "out" / "data" / image["file_name"]).read_bytes())
        assert pixels.shape == (image["height"], image["width"], 3)
        attended, mask = coco.loadAnns(coco.getAnnIds(image["id"]))
        sample = samples[image["id"] - 1]
        region, score = attended_region(maps[evaluation.drawn.index(sample.index)], 24, 24)
        assert np.array_equal(coco.annToMask(attended).astype(bool), region)
        assert (attended["area"], attended["score"]) == (region.sum(), score)
        x, y, width, height = attended["bbox"]
        assert region[y : y + height, x : x + width].sum() == region.sum()
        assert region[y, x : x + width].any()
        assert region[y + height - 1, x : x + width].any()
        assert attended["sample_id"] == sample.id
        expected = torch.zeros(24, 24, dtype=torch.bool)
        expected[6:12, 6:12] = True
        assert np.array_equal(coco.annToMask(mask).astype(bool), expected.numpy())
        # FiftyOne passes other keys on to `Detection(label=..., confidence=..., **others)`.
        assert not {"label", "confidence", "mask", "bounding_box", "attributes"} & attended.keys()


def test_a_map_of_zeros_attends_to_nothing():
    region, score = attended_region(np.zeros((4, 4), np.float32), 8, 8)
    assert not region.any()
    assert score == 0


def test_the_score_is_the_share_of_the_map_in_the_region():
    values = np.zeros((4, 4), np.float32)
    values[0, 0], values[3, 3] = 3.0, 1.0
    region, score = attended_region(values, 4, 4)
    assert region.sum() == 1
    assert region[0, 0]
    assert score == pytest.approx(0.75)


# --- hostile content ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"])
def test_no_cell_begins_as_a_formula(text):
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["a=1", "photos/1.jpg", "", "5", "<b>"])
def test_other_cells_are_as_they_were(text):
    assert harmless(text) == text


def test_unusual_ids_stay_in_the_folder_and_are_no_formulas(tmp_path):
    inside = tmp_path / "inside"
    names = [*NAMES[: COUNT - 4], "=HYPERLINK(1)", "../../up", "/etc/x", "a\nb"]
    record = recorded(inside, ids=names)
    export_worst(record, inside / "out")
    found = rows(inside / "out")
    assert len(found) == COUNT
    assert {each["id"] for each in found} == {harmless(name) for name in names}
    assert "'=HYPERLINK(1)" in {each["id"] for each in found}
    assert list(tmp_path.iterdir()) == [inside]
    files = {path.resolve() for path in (inside / "out").rglob("*.jpg")}
    assert len(files) == 4
    assert {path.parent for path in files} == {(inside / "out" / "data").resolve()}
    content = json.loads((inside / "out" / "labels.json").read_text())
    assert {each["sample_id"] for each in content["annotations"] if "sample_id" in each} <= set(
        names
    )


def test_a_damaged_image_names_the_record(tmp_path):
    recorded(tmp_path)
    path = tmp_path / "lightning_cam" / "cam.jsonl"
    lines = path.read_text().splitlines()
    header = json.loads(lines[0])
    header["images"][0] = "bm8gaW1hZ2U="
    path.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    (record,) = read_run(tmp_path)
    with pytest.raises(ValueError, match=r"cam\.jsonl.*encoded images"):
        export_worst(record, tmp_path / "out")


def test_a_record_without_an_evaluation_is_refused(tmp_path):
    record = recorded(tmp_path, epochs=0)
    with pytest.raises(ValueError, match="expected a record with an evaluation"):
        export_worst(record, tmp_path / "out")


def test_values_that_are_not_known_are_empty(tmp_path):
    record = recorded(tmp_path, masks=False, labels=False)
    samples = export_worst(record, tmp_path / "out")
    assert all(each.correct is None for each in samples)
    assert {each["correct"] for each in rows(tmp_path / "out")} == {""}
    assert {each["label"] for each in rows(tmp_path / "out")} == {""}
    assert not any(math.isnan(each.confidence) for each in samples)
