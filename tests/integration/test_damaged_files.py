"""A run's files that were damaged: `report` names the file, a resumed run goes on."""

import copy
import json
import math
import warnings

import pytest
import torch
from helpers.nets import ConvNet
from helpers.recorded_run import Run

from lightning_cam import CAMMonitor, Probe, Threshold
from lightning_cam.cli import main
from lightning_cam.output.record import read_run
from lightning_cam.output.record.reader import read_record

ALERT = Threshold("entropy", above=-1.0, patience=1, warmup=0, clear_after=1, margin=0.0)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The lines of a sound record: a header and two evaluations, the first with an alert."""
    run = Run(tmp_path_factory.mktemp("run"), alerts=[ALERT])
    run.evaluate_epochs(2)
    found = [json.loads(line) for line in run.recorder.path.read_text("utf-8").splitlines()]
    assert found[1]["alerts"]
    return found


@pytest.fixture
def path(tmp_path):
    """Where a run's record is."""
    (tmp_path / "run" / "lightning_cam").mkdir(parents=True)
    return tmp_path / "run" / "lightning_cam" / "cam.jsonl"


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def report(path, capsys):
    """Return the exit code, and what was printed, of the command on a record."""
    code = main(["report", str(path.parents[1])])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert (path.parents[1] / "report.html").exists() == (code == 0)
    if code:
        (line,) = printed.err.splitlines()
        assert str(path) in line
    return code, printed.err


# --- report ---------------------------------------------------------------------------------------

CONTENTS = {
    "empty": (b"", "an empty file"),
    "garbage": (b"\xff\xfe\x00\x01" * 999 + b"\n" + b"\x00" * 99, "a file without a header"),
    "half a header": (b'{"kind": "probe", "version": 2, "ta', "a file without a header"),
    "another header": (b'{"kind": "probe", "version": 99}\n', "got version 99"),
    "no version": (b'{"kind": "probe", "environment": 7}\n', "got version None"),
    "nothing in it": (b'{"kind": "probe", "version": 2}\n', "expected 'tag', got none"),
}


@pytest.mark.filterwarnings("ignore:lightning_cam leaves out")
@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_record_is_named_in_one_line(path, capsys, name):
    content, message = CONTENTS[name]
    path.write_bytes(content)
    # Lines that are left out have a warning of their own, printed where the report is made.
    code, err = report(path, capsys)
    assert code == 2
    assert message in err


def test_a_record_without_its_header_is_named(path, lines, capsys):
    written(path, lines[1:])
    assert report(path, capsys)[0] == 2


def test_one_damaged_record_of_two_is_named(path, lines, capsys):
    written(path.with_name("other.jsonl"), [lines[0] | {"tag": "other"}, *lines[1:]])
    path.write_bytes(b"")
    assert report(path, capsys)[0] == 2


def test_a_torn_line_is_left_out_with_a_note(path, lines, capsys):
    written(path, lines)
    path.write_bytes(path.read_bytes()[:-99])
    code, err = report(path, capsys)
    assert code == 0
    assert f"leaves out line 3 of {path}" in err


def leaves(value, at=()):
    yield at
    items = value.items() if isinstance(value, dict) else []
    items = list(enumerate(value))[:2] if isinstance(value, list) else items
    for key, inner in items:
        yield from leaves(inner, (*at, key))


REPLACEMENTS = ["text", "", None, -1, 10**30, 1.5, math.nan, -math.inf, True, [], [[]], {}]


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("number", [0, 1])
def test_a_record_with_any_part_replaced_is_drawn_or_refused(path, lines, capsys, number):
    refused = 0
    for place in leaves(lines[number]):
        if not place or place[0] in ("settings", "environment", "mean", "std"):
            continue
        for value in REPLACEMENTS:
            altered = copy.deepcopy(lines)
            holder = altered[number]
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = value
            written(path, altered)
            (path.parents[1] / "report.html").unlink(missing_ok=True)
            refused += report(path, capsys)[0] == 2
    assert refused > 100


@pytest.mark.parametrize("value", REPLACEMENTS)
@pytest.mark.parametrize("name", ["settings", "environment", "rows", "maps", "alerts", "images"])
def test_parts_of_the_wrong_type(path, lines, capsys, name, value):
    number = 0 if name in lines[0] else 1
    altered = copy.deepcopy(lines)
    altered[number][name] = value
    written(path, altered)
    report(path, capsys)


@pytest.mark.parametrize("name", ["images", "masks"])
def test_bytes_that_are_no_image_are_refused(path, lines, capsys, name):
    altered = copy.deepcopy(lines)
    altered[0][name][0] = "AAAA"
    written(path, altered)
    code, err = report(path, capsys)
    assert code == 2
    assert "expected encoded images" in err


# --- a run that is resumed ------------------------------------------------------------------------


def evaluated(folder, epochs, start=0):
    """Evaluate with a monitor that writes into a folder; return its warnings."""
    torch.manual_seed(0)
    messages, model = [], ConvNet()
    probe = Probe(torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0]))
    monitor = CAMMonitor(probe, log_dir=folder, warn=messages.append, alerts=[ALERT], draw=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch in range(start, start + epochs):
            assert not monitor.evaluate(model, epoch=epoch).failed
        monitor.close()
    return messages + [str(each.message) for each in caught]


DAMAGES = {
    "torn": lambda lines: b"\n".join(lines)[:-40],
    "garbage in the middle": lambda lines: b"\n".join([lines[0], b"\xff\x00{", *lines[1:], b""]),
    "wrong types": lambda lines: b"\n".join([lines[0], b'{"kind": "evaluation", "index": "x"}\n']),
    "another version": lambda lines: lines[0].replace(b'"version":2', b'"version":3') + b"\n",
    "no header": lambda lines: b"\n".join([*lines[1:], b""]),
    "garbage": lambda _: b"\x00\xff" * 50,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_goes_on_after_a_damaged_record_with_one_warning(tmp_path, name):
    assert evaluated(tmp_path, 2) == []
    path = tmp_path / "lightning_cam" / "cam.jsonl"
    path.write_bytes(DAMAGES[name](path.read_bytes().splitlines()))
    (tmp_path / "report.html").unlink()
    messages = evaluated(tmp_path, 2, start=2)
    assert len(messages) == 1, messages
    assert str(path) in messages[0]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert [each.epoch for each in read_record(path).evaluations][-2:] == [2, 3]


@pytest.mark.parametrize("torn", [b'{"probe": "cam", "metr', b"\x00\xff\n\xfe"])
def test_a_run_goes_on_after_a_torn_line_of_alerts(tmp_path, torn):
    evaluated(tmp_path, 1)
    with (tmp_path / "alerts.jsonl").open("ab") as file:
        file.write(torn)
    assert evaluated(tmp_path, 1, start=1) == []
    lines = (tmp_path / "alerts.jsonl").read_bytes().splitlines()
    assert [json.loads(lines[n])["epoch"] for n in (0, -1)] == [0, 1]
    assert len(read_run(tmp_path)) == 1
    assert main(["report", str(tmp_path)]) == 0
