"""When a report is written beside the training, and what becomes of a failure."""

import pickle
import threading

import pytest

from lightning_cam.output import report_writer
from lightning_cam.output.report_writer import ReportWriter


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(report_writer.time, "monotonic", lambda: now[0])
    return now


def test_a_report_is_due_a_minute_after_the_start_and_after_the_last(clock):
    writer = ReportWriter(background=False)
    assert not writer.due()
    clock[0] = 160.0
    assert writer.due()
    writer.start(lambda: None)
    assert not writer.due()
    clock[0] = 219.0
    assert not writer.due()
    clock[0] = 220.0
    assert writer.due()
    writer.start_run()
    assert not writer.due()


def test_reports_that_take_long_are_written_less_often(clock):
    writer = ReportWriter(background=False)
    writer.start(lambda: clock.__setitem__(0, 110.0))  # ten seconds
    clock[0] = 110.0 + 499.0
    assert not writer.due()
    clock[0] = 110.0 + 500.0
    assert writer.due()


def test_nobody_waits_for_it_and_no_second_one_begins(clock):
    writer, gate, written = ReportWriter(), threading.Event(), []
    writer.start(lambda: written.append(gate.wait(60)))
    clock[0] = 1e6
    assert not writer.due()
    assert written == []
    gate.set()
    writer.wait()
    assert written == [True]


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)])
def test_a_failure_is_kept_for_the_thread_that_asks(error):
    writer = ReportWriter()

    def fail():
        raise error

    writer.start(fail)
    writer.wait()
    assert isinstance(writer.error(), Exception)
    assert writer.error() is None


def test_a_copy_in_another_process_has_no_thread():
    writer, gate = ReportWriter(), threading.Event()
    writer.start(lambda: gate.wait(60))
    pickle.loads(pickle.dumps(writer)).wait()  # noqa: S301
    gate.set()
    writer.wait()
