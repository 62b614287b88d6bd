"""The record: written a line at a time, read back whatever happened to it."""

import base64
import json
import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers.recorded_run import Run, net, probe_of

from lightning_cam import Threshold
from lightning_cam.monitor import Alert, Snapshot
from lightning_cam.monitor.config import Options
from lightning_cam.output.record import Recorder, read_run, settings_of
from lightning_cam.output.record.writer import plain


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def look_of(maps, rows=None, metrics=None, validation=0):
    count = len(maps)
    rows = torch.arange(count) if rows is None else torch.tensor(rows)
    snapshot = Snapshot(
        validation, validation, validation, {("gradcam", "layer"): maps}, rows,
        torch.zeros(count, dtype=torch.long), torch.zeros(4, dtype=torch.long), torch.ones(4),
    )  # fmt: skip
    return SimpleNamespace(
        metrics=metrics or {}, snapshot=snapshot, evidence={}, worst=(), per_image={}
    )


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path, "cam")
    recorder.begin(probe_of(4), 4, {})
    return recorder


# --- there and back ------------------------------------------------------------------------------


def test_what_a_look_gave_comes_back(tmp_path):
    run = Run(tmp_path, method=["gradcam", "layercam"])
    looks = run.looks(3)
    (record,) = read_run(tmp_path)
    assert [(look.validation, look.epoch, look.step) for look in record.looks] == [
        (0, 0, 9), (1, 1, 19), (2, 2, 29),
    ]  # fmt: skip
    assert record.fingerprint == run.watch.probe.fingerprint
    assert record.ids == run.watch.probe.ids
    for back, look in zip(record.looks, looks, strict=True):
        expected = {name.removeprefix("cam/"): value for name, value in look.metrics.items()}
        assert back.metrics == pytest.approx(expected, nan_ok=True)
        for name, values in look.per_image.items():
            assert back.per_image[name] == pytest.approx(values.tolist(), rel=1e-5, nan_ok=True)
        assert back.predictions == look.snapshot.predictions.tolist()
        assert [(m.method, m.layer) for m in back.maps] == list(look.snapshot.maps)
        for kept, maps in zip(back.maps, look.snapshot.maps.values(), strict=True):
            peak = maps.amax(dim=(1, 2)).numpy()
            error = np.abs(kept.values() - maps.numpy()).max(axis=(1, 2))
            assert (error <= peak / 510 + 1e-6).all()


def test_pictures_and_masks_are_those_of_the_first_images_at_their_own_size(tmp_path):
    probe = probe_of(5, mean=(0.5,) * 3, std=(0.25,) * 3)
    run = Run(tmp_path, probe, pictures=2)
    run.look(0)
    (record,) = read_run(tmp_path)
    assert len(record.images) == len(record.masks) == 2
    data = np.frombuffer(base64.b64decode(record.masks[0]), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) > 127
    assert (mask == probe.masks[0].numpy()).all()
    data = np.frombuffer(base64.b64decode(record.images[1]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1] / 255
    shown = (probe.images[1] * 0.25 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    assert np.abs(image - shown).mean() < 0.05
    assert record.looks[0].drawn == (0, 1)
    assert record.looks[0].maps[0].shape[0] == 2
    assert len(record.looks[0].rows) == 5


def test_large_images_are_made_smaller_and_keep_their_shape(tmp_path):
    probe = probe_of(1, side=300)
    Recorder(tmp_path, "cam").begin(probe, 1, {})
    (record,) = read_run(tmp_path)
    data = np.frombuffer(base64.b64decode(record.images[0]), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (224, 224, 3)


def test_several_labels_have_a_map_each(tmp_path):
    Run(tmp_path, probe_of(3, several=True)).look(0)
    (record,) = read_run(tmp_path)
    look = record.looks[0]
    assert record.multi_label
    assert look.rows == (0, 1, 1, 2, 2)
    assert len(look.confidences[0]) == 3
    assert record.name_of(7) == "7"


def test_maps_of_more_than_32_cells_are_pooled_and_stay_true_to_their_peak(recorder):
    maps = torch.rand(4, 64, 48)
    recorder.add(look_of(maps), "cam")
    kept = read_run(recorder.path.parent.parent)[0].looks[0].maps[0]
    assert kept.shape == (4, 32, 32)
    pooled = torch.nn.functional.adaptive_avg_pool2d(maps, (32, 32))
    assert np.allclose(kept.values(), pooled.numpy(), atol=1 / 510 + 1e-6)


def test_what_json_does_not_know_is_null_and_comes_back_as_nan(recorder):
    maps = torch.rand(4, 3, 3)
    maps[0] = math.nan
    maps[1] = 0
    recorder.add(look_of(maps, metrics={"cam/a": math.nan, "cam/b": math.inf, "cam/c/x": 1.0}))
    written = lines(recorder.path)[-1]
    assert written["metrics"] == {"a": None, "b": None, "c/x": 1.0}
    look = read_run(recorder.path.parent.parent)[0].looks[0]
    assert math.isnan(look.metrics["a"])
    assert math.isnan(look.maps[0].peak[0])
    assert not look.maps[0].relative()[:2].any()
    assert look.maps[0].relative()[2].max() == 255


def test_alerts_are_kept_with_their_validation(recorder):
    alert = Alert("cam", "enrichment", 0.4, 1.0, 3, 30, "confirmed", {"bg_gap": math.nan}, ("00",))
    recorder.add(look_of(torch.rand(4, 3, 3)), "cam", [alert])
    look = read_run(recorder.path.parent.parent)[0].looks[0]
    assert look.alerts == [alert.as_dict()]


# --- what may happen to a run --------------------------------------------------------------------


def test_a_resumed_run_replaces_what_it_repeats(recorder):
    for validation, value in [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (2, 5.0)]:
        recorder.add(look_of(torch.rand(4, 3, 3), None, {"cam/a": value}, validation))
    looks = read_run(recorder.path.parent.parent)[0].looks
    assert [(look.validation, look.metrics["a"]) for look in looks] == [(0, 1), (1, 2), (2, 5)]


def test_the_same_probe_and_settings_go_on_and_others_start_afresh(tmp_path):
    Run(tmp_path).look(0)
    again = Run(tmp_path)
    assert sum(line["kind"] == "probe" for line in lines(again.recorder.path)) == 1
    assert len(read_run(tmp_path)[0].looks) == 1
    Run(tmp_path, alpha=0.5)
    assert read_run(tmp_path)[0].looks == []
    assert read_run(tmp_path)[0].settings["alpha"] == 0.5
    Run(tmp_path, probe_of(5))
    assert len(read_run(tmp_path)[0].ids) == 5


def test_other_class_names_are_another_header(tmp_path):
    Run(tmp_path, probe_of(class_names=["a", "b", "c"]))
    Run(tmp_path, probe_of(class_names=["a", "b", "d"]))
    assert read_run(tmp_path)[0].class_names == ("a", "b", "d")


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_line_is_left_out_and_what_follows_it_is_read(tmp_path, cut):
    run = Run(tmp_path)
    run.looks(2)
    whole = run.recorder.path.read_bytes()
    run.recorder.path.write_bytes(whole[:-cut])
    kept = 2 if cut == 1 else 1  # the line's end alone was lost
    assert len(read_run(tmp_path)[0].looks) == kept
    run.begin()
    run.recorder.add(look_of(torch.rand(4, 3, 3), validation=7))
    assert [look.validation for look in read_run(tmp_path)[0].looks] == [*range(kept), 7]


def test_a_full_disk_costs_a_line_and_not_the_file(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.look(0)
    before = run.recorder.path.read_bytes()

    def full(path, line):
        raise OSError("no space left on device")

    monkeypatch.setattr("lightning_cam.output.record.writer.append_line", full)
    with pytest.raises(OSError, match="no space"):
        run.look(1)
    assert run.recorder.path.read_bytes() == before


@pytest.mark.parametrize("tag", ["cam/val", "../cam", "a" * 300, "cam/<script>", "кот"])
def test_any_tag_is_a_file_in_the_run_and_comes_back(tmp_path, tag):
    Recorder(tmp_path / "run", tag).begin(probe_of(1), 1, {})
    (path,) = (tmp_path / "run" / "lightning_cam").iterdir()
    assert path.suffix == ".jsonl"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert read_run(tmp_path / "run")[0].tag == tag


def test_several_probes_are_several_records_in_the_order_of_their_tags(tmp_path):
    for tag in ("cam/val", "cam/train"):
        Recorder(tmp_path, tag).begin(probe_of(1), 1, {})
    assert [record.tag for record in read_run(tmp_path)] == ["cam/train", "cam/val"]
    assert len(read_run(tmp_path / "lightning_cam")) == 2


# --- what cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False])
def test_no_record_is_said(tmp_path, there):
    folder = tmp_path if there else tmp_path / "missing"
    (tmp_path / "alerts.jsonl").write_text('{"metric": "enrichment"}\n')
    what = "an existing folder" if there else "no folder"
    with pytest.raises(ValueError, match=rf"lightning_cam/\*\.jsonl in it, got {what}"):
        read_run(folder)


def test_another_version_is_said(recorder):
    header = {**lines(recorder.path)[0], "version": 2}
    recorder.path.write_text(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=r"version 1, got version 2 .* by lightning_cam 0\."):
        read_run(recorder.path.parent.parent)


def test_a_header_that_lacks_something_is_said(recorder):
    header = lines(recorder.path)[0]
    del header["ids"]
    recorder.path.write_text(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=r"expected a record of lightning_cam, got .*'ids'"):
        read_run(recorder.path.parent.parent)


# --- settings and cost ---------------------------------------------------------------------------


def test_settings_are_the_same_words_in_every_process():
    rules = [Threshold("enrichment", below=0.8)]
    found = settings_of(Options(target=net, layers=[net()], rules=rules), every=2)
    assert found["target"] == "net"
    assert found["layers"] == ["Sequential"]
    assert found["rules"][0].startswith("Threshold(metric='enrichment'")
    assert found["every"] == 2
    assert json.loads(json.dumps(found)) == found


def test_settings_that_are_no_numbers_are_null():
    assert plain({"a": math.nan, "b": (1, torch.zeros(2))}) == {"a": None, "b": [1, "Tensor"]}


@pytest.mark.parametrize(("side", "most"), [(7, 12_000), (16, 18_000)])
def test_a_validation_of_sixteen_images_is_a_small_line(tmp_path, side, most):
    run = Run(tmp_path, probe_of(16))
    look = run.look(0)
    maps = {key: torch.rand(16, side, side) for key in look.snapshot.maps}
    fields = {name: getattr(look.snapshot, name) for name in Snapshot.__dataclass_fields__}
    snapshot = Snapshot(**{**fields, "maps": maps, "validation": 1})
    before = run.recorder.path.stat().st_size
    run.recorder.add(SimpleNamespace(**{**vars(look), "snapshot": snapshot}))
    assert run.recorder.path.stat().st_size - before < most


def test_recording_draws_nothing_from_the_global_streams(tmp_path):
    run = Run(tmp_path)
    look = run.watch.look(run.model, run.watch.probe.images, 0, 0)
    before = torch.get_rng_state()
    run.begin()
    run.recorder.add(look)
    assert torch.equal(torch.get_rng_state(), before)
