"""`RunFiles`: alerts, one record per probe, the report."""

import json
import shutil
import threading
from types import SimpleNamespace

import pytest
from helpers.monitoring import evaluate, probe_monitor
from helpers.recorded_run import net, probe_of

from lightning_cam.monitor import Alert
from lightning_cam.output.record import Recorder, read_run
from lightning_cam.output.run_files import ProbeHeader, RunFiles, run_folder


@pytest.fixture(scope="module")
def evaluation():
    model = net()
    return evaluate(probe_monitor(model, probe_of(), interventions_every=0), model)[0]


def header(tag="cam", num_pictures=2, **settings):
    return ProbeHeader(tag, probe_of(), num_pictures, lambda: settings, "cpu")


def test_alerts_are_appended_as_lines(tmp_path):
    files = RunFiles(tmp_path / "run")
    for epoch in range(2):
        files.add_alert(Alert("cam", "enrichment", 0.4, 1.0, epoch, epoch, "confirmed"))
    lines = (tmp_path / "run" / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]


@pytest.mark.parametrize("torn", [b'{"probe": "cam", "met', b"\xff\x00\xfe garbage", b'{"a": 1}'])
def test_after_a_torn_line_the_next_alert_starts_on_a_line_of_its_own(tmp_path, torn):
    files = RunFiles(tmp_path)
    for epoch in range(2):
        files.add_alert(Alert("cam", "enrichment", 0.4, 1.0, epoch, epoch, "confirmed"))
        if not epoch:
            with (tmp_path / "alerts.jsonl").open("ab") as file:
                file.write(torn)
    first, middle, last = (tmp_path / "alerts.jsonl").read_bytes().splitlines()
    assert middle == torn
    assert [json.loads(line)["epoch"] for line in (first, last)] == [0, 1]


def test_each_probe_has_a_record_with_its_settings(tmp_path, evaluation):
    files = RunFiles(tmp_path)
    for tag in ("cam/train", "cam/val"):
        files.add_evaluation(header(tag, alpha=0.3), evaluation)
    records = read_run(tmp_path)
    assert [record.tag for record in records] == ["cam/train", "cam/val"]
    assert all(record.settings == {"alpha": 0.3} for record in records)
    assert all(len(record.evaluations) == 1 for record in records)


@pytest.mark.parametrize(("num_pictures", "recorded"), [(0, 0), (1, 4), (16, 4)])
def test_images_are_recorded_unless_none_are_drawn(tmp_path, evaluation, num_pictures, recorded):
    RunFiles(tmp_path).add_evaluation(header(num_pictures=num_pictures), evaluation)
    assert len(read_run(tmp_path)[0].images) == recorded


def test_a_record_that_was_deleted_is_begun_again(tmp_path, evaluation):
    files = RunFiles(tmp_path / "run")
    files.add_evaluation(header(), evaluation)
    shutil.rmtree(tmp_path / "run")
    files.add_evaluation(header(), evaluation)
    assert len(read_run(tmp_path / "run")[0].evaluations) == 1


def test_a_report_is_written_where_something_was_recorded(tmp_path, evaluation):
    files = RunFiles(tmp_path)
    assert files.write_report() is None
    files.add_evaluation(header(), evaluation)
    assert files.write_report() == tmp_path / "report.html"


def test_a_report_waits_for_the_record_that_another_callback_begins(
    tmp_path, evaluation, monkeypatch
):
    early, late = RunFiles(tmp_path), RunFiles(tmp_path)
    early.add_evaluation(header("early"), evaluation)
    begun, go_on, begin = threading.Event(), threading.Event(), Recorder.begin

    def interrupted(recorder, *args):
        recorder.path.touch()
        begun.set()
        go_on.wait(10)
        begin(recorder, *args)

    monkeypatch.setattr(Recorder, "begin", interrupted)
    writing = threading.Thread(target=late.add_evaluation, args=(header("late"), evaluation))
    writing.start()
    begun.wait(10)
    threading.Timer(0.2, go_on.set).start()
    page = early.write_report().read_text()
    writing.join()
    assert '"late"' in page


def test_a_report_of_a_running_training_shows_the_records_of_all_callbacks(tmp_path, evaluation):
    early, late = RunFiles(tmp_path), RunFiles(tmp_path)
    early.add_evaluation(header("early"), evaluation)
    late.add_evaluation(header("late"), evaluation)
    early.running_report()()
    page = (tmp_path / "report.html").read_text()
    assert '"early"' in page
    assert '"late"' in page


def test_the_folder_is_the_given_one_or_that_of_the_first_logger_that_has_one(tmp_path):
    none, saving = SimpleNamespace(save_dir=None), SimpleNamespace(save_dir=str(tmp_path / "a"))
    versioned = SimpleNamespace(save_dir=str(tmp_path), log_dir=str(tmp_path / "version_0"))
    assert run_folder(tmp_path, [saving]) == tmp_path
    assert run_folder(None, [none, saving, versioned]) == tmp_path / "a"
    assert run_folder(None, [versioned]) == tmp_path / "version_0"
    assert run_folder(None, [none]) is run_folder(None, []) is None
