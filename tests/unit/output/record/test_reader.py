"""`read_run`: repeated evaluations, damaged files, several probes, files that are no record."""

import json

import pytest
from helpers.recorded_run import Run, probe_of

from lightning_cam.output.record import Recorder, read_run


def header_of(run):
    return json.loads(run.recorder.path.read_text(encoding="utf-8").splitlines()[0])


def write_lines(run, *contents):
    run.recorder.path.write_text("\n".join(map(json.dumps, contents)) + "\n", encoding="utf-8")


def test_a_resumed_run_replaces_the_evaluations_that_it_repeats(tmp_path):
    run = Run(tmp_path, interventions_every=0)
    lines = []
    for epoch in range(4):
        run.evaluate(epoch)
        lines = run.recorder.path.read_text(encoding="utf-8").splitlines()
    repeated = json.loads(lines[3]) | {"epoch": 77}  # the evaluation with index 2
    with run.recorder.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(repeated) + "\n")
    found = read_run(tmp_path)[0].evaluations
    assert [(each.index, each.epoch) for each in found] == [(0, 0), (1, 1), (2, 77)]


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_an_interrupted_line_is_left_out(tmp_path, cut):
    run = Run(tmp_path)
    run.evaluate_epochs(2)
    whole = run.recorder.path.read_bytes()
    run.recorder.path.write_bytes(whole[:-cut])
    if cut == 1:  # only the line's end was lost
        assert len(read_run(tmp_path)[0].evaluations) == 2
        return
    with pytest.warns(RuntimeWarning, match=r"leaves out line 3 of .*cam\.jsonl: incomplete"):
        assert len(read_run(tmp_path)[0].evaluations) == 1
    assert len(read_run(tmp_path)[0].evaluations) == 1  # and without a second warning


def test_lines_that_are_no_json_objects_are_left_out(tmp_path):
    run = Run(tmp_path)
    run.evaluate(0)
    text = run.recorder.path.read_text(encoding="utf-8")
    deep = "[" * 100_000
    run.recorder.path.write_text(f"7\nnot json\n{text}[1, 2]\n\n{deep}\n", encoding="utf-8")
    with pytest.warns(RuntimeWarning, match="leaves out lines 1, 2, 5, 7 of"):
        assert len(read_run(tmp_path)[0].evaluations) == 1


def test_several_probes_are_several_records_in_the_order_of_their_tags(tmp_path):
    for tag in ("cam/val", "cam/train"):
        Recorder(tmp_path, tag).begin(probe_of(1), 1, {})
    assert [record.tag for record in read_run(tmp_path)] == ["cam/train", "cam/val"]
    assert len(read_run(tmp_path / "lightning_cam")) == 2


def test_class_names_are_known_by_index(tmp_path):
    Recorder(tmp_path, "cam").begin(probe_of(2, class_names=["cat", "dog", "owl"]), 2, {})
    (record,) = read_run(tmp_path)
    assert [record.name_of(label) for label in (0, 2, 7, -1)] == ["cat", "owl", "7", "?"]


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_a_record_is_reported(tmp_path, exists):
    folder = tmp_path if exists else tmp_path / "missing"
    (tmp_path / "alerts.jsonl").write_text('{"metric": "enrichment"}\n')
    got = "a folder without any" if exists else "no folder"
    with pytest.raises(ValueError, match=rf"lightning_cam/\*\.jsonl in it, got {got}"):
        read_run(folder)


def test_another_version_is_reported(tmp_path):
    run = Run(tmp_path)
    write_lines(run, {**header_of(run), "version": 3})
    with pytest.raises(ValueError, match=r"version 2, got version 3 .* by lightning_cam 0\."):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["ids", "settings", "images"])
def test_a_header_that_lacks_something_is_reported(tmp_path, name):
    run = Run(tmp_path)
    header = header_of(run)
    del header[name]
    write_lines(run, header)
    with pytest.raises(
        ValueError, match=rf"sound record .*cam\.jsonl: expected '{name}', got none"
    ):
        read_run(tmp_path)


def test_an_evaluation_that_lacks_something_is_reported(tmp_path):
    run = Run(tmp_path)
    write_lines(run, header_of(run), {"kind": "evaluation", "index": 0})
    with pytest.raises(
        ValueError,
        match=r"expected a sound record of lightning_cam, got .*cam\.jsonl: expected 'epoch",
    ):
        read_run(tmp_path)
