"""`Recorder`: what a line holds, resumed runs, interrupted files, size."""

import base64
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers.recorded_run import Run, probe_of

from lightning_cam.monitor import Alert, Evaluation, Snapshot
from lightning_cam.output.record import Recorder, read_run
from lightning_cam.output.record.writer import environment
from lightning_cam.runtime.forward_context import ForwardContext


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def evaluation_of(maps, metrics=None, index=0, alerts=()):
    count = len(maps)
    snapshot = Snapshot(
        index, index, index, {("gradcam", "layer"): maps}, torch.arange(count),
        torch.zeros(count, dtype=torch.long), torch.zeros(4, dtype=torch.long), torch.ones(4),
    )  # fmt: skip
    return Evaluation(snapshot, metrics or {}, alerts=alerts)


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path, "cam")
    recorder.begin(probe_of(4), 4, {})
    return recorder


def evaluations(recorder):
    """Return what is read back of a recorder's evaluations."""
    return read_run(recorder.path.parent.parent)[0].evaluations


# --- what is recorded -----------------------------------------------------------------------------


def test_an_evaluation_is_read_back_as_it_was(tmp_path):
    run = Run(tmp_path, method=["gradcam", "layercam"])
    written = run.evaluate_epochs(3)
    (record,) = read_run(tmp_path)
    assert [(each.index, each.epoch, each.step) for each in record.evaluations] == [
        (0, 0, 9), (1, 1, 19), (2, 2, 29),
    ]  # fmt: skip
    assert record.fingerprint == run.monitor.probe.fingerprint
    assert record.ids == run.monitor.probe.ids
    for read, evaluation in zip(record.evaluations, written, strict=True):
        assert read.metrics == pytest.approx(evaluation.metrics, nan_ok=True)
        assert read.evidence == pytest.approx(evaluation.evidence, nan_ok=True)
        assert read.worst == evaluation.worst
        for name, values in evaluation.per_image.items():
            assert read.per_image[name] == pytest.approx(values.tolist(), rel=1e-5, nan_ok=True)
        assert read.predictions == evaluation.snapshot.predictions.tolist()
        assert [(m.method, m.layer) for m in read.maps] == list(evaluation.maps)
        for kept, maps in zip(read.maps, evaluation.maps.values(), strict=True):
            peak = maps.amax(dim=(1, 2)).numpy()
            error = np.abs(kept.values() - maps.numpy()).max(axis=(1, 2))
            assert (error <= peak / 510 + 1e-6).all()


def test_images_and_masks_are_those_of_the_first_images_at_their_own_size(tmp_path):
    probe = probe_of(5, mean=(0.5,) * 3, std=(0.25,) * 3)
    Run(tmp_path, probe, pictures=2).evaluate(0)
    (record,) = read_run(tmp_path)
    assert len(record.images) == len(record.masks) == 2
    data = np.frombuffer(base64.b64decode(record.masks[0]), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) > 127
    assert (mask == probe.masks[0].numpy()).all()
    data = np.frombuffer(base64.b64decode(record.images[1]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1] / 255
    displayed = (probe.images[1] * 0.25 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(image - displayed).mean() < 0.05
    (evaluation,) = record.evaluations
    assert evaluation.drawn == (0, 1)
    assert evaluation.maps[0].shape[0] == 2
    assert len(evaluation.rows) == 5


def test_large_images_are_reduced_and_keep_their_aspect_ratio(tmp_path):
    Recorder(tmp_path, "cam").begin(probe_of(1, side=300), 1, {})
    (record,) = read_run(tmp_path)
    data = np.frombuffer(base64.b64decode(record.images[0]), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (224, 224, 3)


def test_several_labels_have_a_map_each(tmp_path):
    Run(tmp_path, probe_of(3, multi_label=True)).evaluate(0)
    (record,) = read_run(tmp_path)
    (evaluation,) = record.evaluations
    assert record.multi_label
    assert evaluation.rows == (0, 1, 1, 2, 2)
    assert len(evaluation.confidences[0]) == 3


def test_maps_of_more_than_32_cells_are_pooled(recorder):
    maps = torch.rand(4, 64, 48)
    recorder.add(evaluation_of(maps))
    kept = evaluations(recorder)[0].maps[0]
    assert kept.shape == (4, 32, 32)
    pooled = torch.nn.functional.adaptive_avg_pool2d(maps, (32, 32))
    assert np.allclose(kept.values(), pooled.numpy(), atol=1 / 510 + 1e-6)


def test_values_that_are_not_finite_are_null_and_are_read_as_nan(recorder):
    maps = torch.rand(4, 3, 3)
    maps[0] = math.nan
    maps[1] = 0
    recorder.add(evaluation_of(maps, {"a": math.nan, "b": math.inf, "c/x": 1.0}))
    assert lines(recorder.path)[-1]["metrics"] == {"a": None, "b": None, "c/x": 1.0}
    (evaluation,) = evaluations(recorder)
    assert math.isnan(evaluation.metrics["a"])
    assert math.isnan(evaluation.maps[0].peak[0])
    assert not evaluation.maps[0].relative()[:2].any()
    assert evaluation.maps[0].relative()[2].max() == 255


def test_alerts_are_recorded_with_their_evaluation(recorder):
    alert = Alert(
        "cam", "enrichment", 0.4, 1.0, 3, 30, "confirmed", {"bg_gap": math.nan}, worst=("00",)
    )
    recorder.add(evaluation_of(torch.rand(4, 3, 3), alerts=(alert,)))
    assert evaluations(recorder)[0].alerts == [alert.as_dict()]


def test_the_environment_names_versions_and_device():
    found = environment("cpu")
    assert found["device"] == "cpu"
    assert {"lightning_cam", "torch", "lightning", "python", "system"} <= set(found)
    assert "device" not in environment()


# --- resumed and interrupted runs -----------------------------------------------------------------


def test_a_run_with_the_same_probe_and_settings_continues_and_others_start_afresh(tmp_path):
    Run(tmp_path).evaluate(0)
    again = Run(tmp_path)
    assert sum(line["kind"] == "probe" for line in lines(again.recorder.path)) == 1
    assert len(read_run(tmp_path)[0].evaluations) == 1
    Run(tmp_path, alpha=0.5)
    assert read_run(tmp_path)[0].evaluations == []
    assert read_run(tmp_path)[0].settings["alpha"] == 0.5
    Run(tmp_path, probe_of(5))
    assert len(read_run(tmp_path)[0].ids) == 5


def test_other_class_names_start_a_new_record(tmp_path):
    Run(tmp_path, probe_of(class_names=["a", "b", "c"]))
    Run(tmp_path, probe_of(class_names=["a", "b", "d"]))
    assert read_run(tmp_path)[0].class_names == ("a", "b", "d")


def test_after_an_interrupted_line_the_next_one_is_on_a_line_of_its_own(recorder):
    recorder.add(evaluation_of(torch.rand(4, 3, 3), index=0))
    whole = recorder.path.read_bytes()
    recorder.path.write_bytes(whole[:-10])
    recorder.add(evaluation_of(torch.rand(4, 3, 3), index=7))
    with pytest.warns(RuntimeWarning, match="leaves out line 2 of"):
        assert [each.index for each in evaluations(recorder)] == [7]


def test_a_full_disk_loses_a_line_and_not_the_file(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.evaluate(0)
    before = run.recorder.path.read_bytes()

    def full(path, line):
        raise OSError("no space left on device")

    monkeypatch.setattr("lightning_cam.output.record.writer.append_line", full)
    with pytest.raises(OSError, match="no space"):
        run.evaluate(1)
    assert run.recorder.path.read_bytes() == before


@pytest.mark.parametrize("tag", ["cam/val", "../cam", "a" * 300, "cam/<script>", "кот"])
def test_any_tag_is_a_file_in_the_run_and_is_read_back(tmp_path, tag):
    Recorder(tmp_path / "run", tag).begin(probe_of(1), 1, {})
    (path,) = (tmp_path / "run" / "lightning_cam").iterdir()
    assert path.suffix == ".jsonl"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert read_run(tmp_path / "run")[0].tag == tag


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "most"), [(7, 12_000), (16, 18_000)])
def test_an_evaluation_of_sixteen_images_is_a_small_line(tmp_path, side, most):
    run = Run(tmp_path, probe_of(16))
    evaluation = run.evaluate(0)
    maps = {key: torch.rand(16, side, side) for key in evaluation.maps}
    snapshot = replace(evaluation.snapshot, maps=maps, index=1)
    before = run.recorder.path.stat().st_size
    run.recorder.add(replace(evaluation, snapshot=snapshot))
    assert run.recorder.path.stat().st_size - before < most


def test_recording_draws_nothing_from_the_global_streams(tmp_path):
    run = Run(tmp_path)
    evaluation = run.monitor.evaluate(run.model, ForwardContext.of(run.model), 0, 0)
    before = torch.get_rng_state()
    run.begin()
    run.recorder.add(evaluation)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_image_has_a_fingerprint_which_older_records_lack(tmp_path):
    run = Run(tmp_path)
    run.evaluate(0)
    probe = run.monitor.probe
    assert read_run(tmp_path)[0].image_fingerprints == probe.image_fingerprints
    lines = run.recorder.path.read_text().splitlines()
    header = json.loads(lines[0])
    del header["image_fingerprints"]
    run.recorder.path.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    assert read_run(tmp_path)[0].image_fingerprints == ()
    run.begin()  # a newer version goes on with an older one's record
    run.evaluate(1)
    (record,) = read_run(tmp_path)
    assert [each.epoch for each in record.evaluations] == [0, 1]


@pytest.mark.parametrize("wrong", [7, [7], ["a"]])
def test_fingerprints_that_fit_no_probe_are_refused(tmp_path, wrong):
    run = Run(tmp_path)
    header = json.loads(run.recorder.path.read_text())
    run.recorder.path.write_text(json.dumps(header | {"image_fingerprints": wrong}) + "\n")
    with pytest.raises(ValueError, match="image_fingerprints"):
        read_run(tmp_path)
