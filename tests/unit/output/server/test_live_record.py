"""A record that grows: its evaluations one by one, damaged lines left out, resumed runs."""

import json

import pytest
from helpers.recorded_run import Run, probe_of

from lightning_cam.output.record import read_run
from lightning_cam.output.report.payload import payload
from lightning_cam.output.server import live_record
from lightning_cam.output.server.live_record import LiveRecord


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Return the lines of a record: a header and three evaluations."""
    folder = tmp_path_factory.mktemp("run")
    Run(folder, probe_of(3, class_names=["cat", "dog", "owl"])).evaluate_epochs(3)
    return (folder / "lightning_cam" / "cam.jsonl").read_text().splitlines()


@pytest.fixture
def path(tmp_path):
    return tmp_path.resolve() / "cam.jsonl"


def write(path, *lines, mode="a"):
    with path.open(mode) as file:
        file.writelines(f"{line}\n" for line in lines)


def changed(line, **parts):
    return json.dumps(json.loads(line) | parts)


def test_evaluations_come_one_by_one_with_what_the_report_shows(path, lines, tmp_path):
    record = LiveRecord(path)
    record.read()  # the file is not there yet
    assert record.record is None
    for n, line in enumerate(lines):
        write(path, line)
        assert record.read()
        assert not record.read()
        assert len(record.parts) == n
    (tmp_path / "lightning_cam").mkdir()
    path.rename(tmp_path / "lightning_cam" / "cam.jsonl")
    data = payload([("run", read_run(tmp_path))])
    (probe,) = data["runs"][0]["probes"]
    facts = json.loads(record.facts)
    assert facts == {name: probe[name] for name in facts}
    assert record.pictures == data["pictures"]
    parts = [json.loads(part.text) for part in record.parts]
    for name in ("epochs", "steps", "answers"):
        assert [part[name][0] for part in parts] == probe[name]
    assert [part["metrics"]["enrichment"][0] for part in parts] == probe["metrics"]["enrichment"]
    assert [part["maps"][0]["cells"] for part in parts] == [[None]] * 3


def test_the_maps_of_an_evaluation_are_read_when_they_are_asked_for(path, lines):
    write(path, *lines)
    record = LiveRecord(path)
    record.read()
    expected = json.loads(lines[2])["maps"][0]
    assert record.cells_of(1) == [(expected["method"], expected["layer"], expected["cells"])]
    assert record.cells_of(3) is None
    assert record.cells_of(-1) is None
    path.write_text("{}\n" * 1000)  # whatever is there now is no evaluation of this record
    assert record.cells_of(1) is None
    path.unlink()
    assert record.cells_of(1) is None


def test_what_is_kept_of_an_evaluation_is_small(path, lines):
    write(path, *lines)
    record = LiveRecord(path)
    record.read()
    (kept, *_) = record.record.evaluations
    assert kept.metrics
    assert kept.per_image == {}
    assert [(m.cells, m.peak) for m in kept.maps] == [("", ())]
    assert record.record.images == ()


@pytest.mark.parametrize(
    "damaged",
    [
        "no JSON",
        "[1, 2]",
        "3",
        "[" * 100_000,
        '{"kind": "evaluation"}',
        "\x00\x00",
        "9" * 5000,
    ],
)
def test_damaged_lines_are_left_out_and_counted(path, lines, damaged):
    write(path, lines[0], lines[1], damaged, lines[2])
    record = LiveRecord(path)
    record.read()
    assert len(record.parts) == 2
    assert record.notes == ["1 line of cam.jsonl left out: damaged."]


@pytest.mark.parametrize(
    "part",
    [
        {"rows": [10**6]},
        {"drawn": [99]},
        {"metrics": {"enrichment": "<script>"}},
        {"per_image": {"enrichment": [1e999, 1, 1]}},
        {"maps": [{"method": "a", "layer": "b", "shape": [1, 9**9, 9**9], "peak": [1.0]}]},
        {"time": 1e300},
        {"epoch": None},
        {"alerts": [{}]},
    ],
)
def test_evaluations_that_no_recorder_wrote_are_left_out(path, lines, part):
    write(path, *lines[:2], changed(lines[2], **part), lines[3])
    record = LiveRecord(path)
    record.read()
    assert len(record.parts) == 2
    assert record.notes == ["1 line of cam.jsonl left out: damaged."]


@pytest.mark.parametrize("image", ["bm8gaW1hZ2U=", "!"])
def test_a_header_with_damaged_images_is_left_out(path, lines, image):
    write(path, changed(lines[0], images=[image] * 3), *lines[1:])
    record = LiveRecord(path)
    record.read()
    assert record.record is None
    assert record.parts == []
    assert record.notes


def test_images_that_would_take_much_memory_are_refused(path, lines):
    import base64
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")  # 50 KB
    write(path, changed(lines[0], masks=[base64.b64encode(file.getvalue()).decode()] * 3))
    record = LiveRecord(path)
    record.read()
    assert record.record is None


def test_a_record_of_another_version_says_so(path, lines):
    write(path, changed(lines[0], version=99), *lines[1:])
    record = LiveRecord(path)
    record.read()
    assert record.parts == []
    (note,) = record.notes
    assert "expected a record of version 2, got version 99" in note


def test_what_a_resumed_run_repeats_is_replaced(path, lines):
    write(path, *lines)
    record = LiveRecord(path)
    record.read()
    before = record.generation
    write(path, changed(lines[2], epoch=7))
    record.read()
    assert record.generation != before
    assert [json.loads(part.text)["epochs"] for part in record.parts] == [[0], [7]]
    assert record.cells_of(1) is not None


def test_another_header_begins_another_record(path, lines):
    write(path, *lines)
    record = LiveRecord(path)
    record.read()
    before = record.generation
    write(path, changed(lines[0], tag="cam/other"))
    record.read()
    assert record.generation != before
    assert record.record.tag == "cam/other"
    assert record.parts == []


def test_a_file_that_is_gone_keeps_what_was_read_and_says_so(path, lines):
    write(path, *lines)
    record = LiveRecord(path)
    record.read()
    path.unlink()
    assert record.read()  # there is a note now
    assert record.notes == ["cam.jsonl is gone, or cannot be read any more."]
    assert len(record.parts) == 3


def test_the_number_of_evaluations_is_bounded(path, lines, monkeypatch):
    monkeypatch.setattr(live_record, "_MOST_EVALUATIONS", 2)
    write(path, *lines)
    record = LiveRecord(path)
    record.read()
    assert len(record.parts) == len(record.record.evaluations) == 2
    assert record.notes == ["cam.jsonl has more than the 2 evaluations shown."]
