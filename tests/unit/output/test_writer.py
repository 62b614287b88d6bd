"""`OutputWriter`: files, images and alerts of an evaluation, each of which may fail by itself."""

import json
from threading import Event

import pytest
from helpers.monitoring import evaluate, probe_monitor
from helpers.pictures import picture
from helpers.recorded_run import net, probe_of

from lightning_cam.monitor import Alert
from lightning_cam.output import report_writer
from lightning_cam.output import writer as module
from lightning_cam.output.record import read_run
from lightning_cam.output.run_files import ProbeHeader
from lightning_cam.output.writer import OutputWriter, ProbeOutput
from lightning_cam.runtime.errors import ErrorPolicy

ALERT = Alert("cam", "enrichment", 0.4, 1.0, 3, 39, "confirmed")


class Sink:
    """A sink that keeps what it gets, and raises in the methods named in `fails`."""

    def __init__(self, fails=(), formats=()):
        self.fails, self.formats = fails, formats
        self.written, self.alerts, self.prepared, self.reports = [], [], [], []

    def _note(self, name, kept, value):
        if name in self.fails:
            raise OSError(f"{name} failed")
        kept.append(value)

    def prepare(self, tag, scalar_names):
        self._note("prepare", self.prepared, (tag, list(scalar_names)))

    def write(self, pictures, step):
        self._note("write", self.written, ([each.tag for each in pictures], step))

    def alert(self, tag, message, step):
        self._note("alert", self.alerts, (tag, message, step))

    def attach_report(self, tag, path, step):
        self._note("attach_report", self.reports, (tag, path, step))


@pytest.fixture(scope="module")
def evaluation():
    model = net()
    return evaluate(probe_monitor(model, probe_of(), interventions_every=0), model)[0]


@pytest.fixture
def messages():
    return []


@pytest.fixture
def write(messages, evaluation, monkeypatch):
    """Return a function that writes an evaluation to sinks with a new or a given writer."""

    def write(*sinks, writer=None, folder=None, draw=None, step=39, alerts=(), **options):
        writer = writer or new_writer()
        monkeypatch.setattr(module, "sinks_for", lambda *_: list(sinks))
        header = ProbeHeader("cam", probe_of(), 2, dict, "cpu")
        output = ProbeOutput(header, evaluation, draw or (lambda: [picture("cam/timeline")]))
        options = {"record": True} | options
        writer.write(folder, [], [output], alerts, step, ["cam/iou"], **options)
        return writer

    def new_writer():
        return OutputWriter("cam", ErrorPolicy(warn=messages.append), background=False)

    return write


# --- images and alerts ----------------------------------------------------------------------------


def test_all_sinks_get_the_names_the_alerts_and_the_images(write):
    sinks = [Sink(), Sink()]
    write(*sinks, alerts=[ALERT])
    for sink in sinks:
        assert sink.prepared == [("cam", ["cam/iou"])]
        assert sink.alerts == [("cam/alerts", str(ALERT), 39)]
        assert sink.written == [(["cam/timeline"], 39)]


def test_sinks_without_the_optional_members_are_served_too(write):
    class Small:
        written = ()

        def write(self, pictures, step):
            self.written = [each.tag for each in pictures]

        def alert(self, tag, message, step):
            raise AssertionError

    sink = Small()
    write(sink)
    assert sink.written == ["cam/timeline"]


def test_images_are_encoded_as_the_sinks_ask(write):
    drawn = [picture()]
    write(Sink(formats=("jpeg",)), Sink(formats=("png",)), draw=lambda: drawn)
    assert {"jpeg", "png"} <= set(vars(drawn[0]))


@pytest.mark.parametrize(
    ("method", "skipped"),
    [
        ("prepare", "the layout of a logger's charts"),
        ("alert", "an alert in a logger"),
        ("write", "images in a logger"),
    ],
)
def test_a_sink_that_raises_costs_one_warning_and_others_still_get_images(
    write, messages, method, skipped
):
    good = Sink()
    writer = write(Sink(fails=[method]), good, alerts=[ALERT])
    write(Sink(fails=[method]), good, writer=writer, step=40, alerts=[ALERT])
    assert len(messages) == 1
    assert messages[0].startswith(f"lightning_cam skipped {skipped}; training goes on.")
    assert [step for _, step in good.written] == [39, 40]
    assert len(good.alerts) == len(good.prepared) == 2


def test_sinks_that_cannot_be_made_cost_one_warning(write, messages, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError("no connection")

    writer = OutputWriter("cam", ErrorPolicy(warn=messages.append), background=False)
    monkeypatch.setattr(module, "sinks_for", fail)
    writer.write(tmp_path, [], [], [ALERT], 39, [], record=True)
    assert len(messages) == 1
    assert (tmp_path / "alerts.jsonl").exists()


def test_images_that_cannot_be_drawn_cost_one_warning(write, messages):
    sink = Sink()
    writer = write(sink, draw=lambda: 1 / 0)
    write(sink, writer=writer, step=40)
    assert len(messages) == 1
    assert "lightning_cam skipped images; training goes on. ZeroDivisionError" in messages[0]
    assert sink.written == [(["cam/timeline"], 40)]


def test_without_drawing_there_are_alerts_and_a_record_but_no_images(
    messages, evaluation, monkeypatch, tmp_path
):
    sink = Sink()
    monkeypatch.setattr(module, "sinks_for", lambda *_: [sink])
    writer = OutputWriter("cam", ErrorPolicy(strict=True), background=False)
    header = ProbeHeader("cam", probe_of(), 2, dict, "cpu")
    output = ProbeOutput(header, evaluation, lambda: pytest.fail("drawn"))
    writer.write(tmp_path, [], [output], [ALERT], 39, [], record=True, draw=False)
    assert len(sink.alerts) == 1
    assert sink.written == []
    assert len(read_run(tmp_path)[0].evaluations) == 1


# --- files ----------------------------------------------------------------------------------------


def test_the_record_and_the_alerts_are_written_into_the_folder(write, tmp_path):
    writer = write(Sink(), folder=tmp_path, alerts=[ALERT])
    assert len(read_run(tmp_path)[0].evaluations) == 1
    assert json.loads((tmp_path / "alerts.jsonl").read_text())["metric"] == "enrichment"
    assert writer.close(report=True) == tmp_path / "report.html"


def test_evaluations_that_are_no_part_of_the_run_are_not_recorded(write, tmp_path):
    sink = Sink()
    writer = write(sink, folder=tmp_path, alerts=[ALERT], record=False)
    assert not (tmp_path / "lightning_cam").exists()
    assert (tmp_path / "alerts.jsonl").exists()
    assert len(sink.written) == 1
    assert writer.close(report=True) is None


def test_without_a_folder_nothing_is_written(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = write(Sink(), alerts=[ALERT])
    assert writer.close(report=True) is None
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written_cost_a_warning_each_and_images_are_logged(
    write, messages, tmp_path
):
    blocked, sink = tmp_path / "file", Sink()
    blocked.write_text("not a folder")
    writer = write(sink, folder=blocked, alerts=[ALERT])
    write(sink, writer=writer, folder=blocked, step=40, alerts=[ALERT])
    assert [message.split(";")[0] for message in messages] == [
        "lightning_cam skipped a line in alerts.jsonl",
        "lightning_cam skipped the record of an evaluation",
    ]
    assert len(sink.written) == 2


def test_another_folder_is_another_run(write, tmp_path):
    writer = write(Sink(), folder=tmp_path / "one")
    write(Sink(), writer=writer, folder=tmp_path / "two")
    assert writer.close(report=True) == tmp_path / "two" / "report.html"
    assert len(read_run(tmp_path / "one")[0].evaluations) == 1


def test_a_new_run_without_evaluations_has_no_report(write, tmp_path):
    writer = write(Sink(), folder=tmp_path)
    writer.start_run()
    assert writer.close(report=True) is None


# --- in the background ----------------------------------------------------------------------------


def test_images_of_the_background_go_to_the_sinks_of_their_step(
    write, messages, evaluation, monkeypatch
):
    """Images of three evaluations are finished only after the sinks of all of them were made."""
    writer, gate = OutputWriter("cam", ErrorPolicy(warn=messages.append), background=True), Event()
    sinks = [Sink() for _ in range(3)]
    for step, sink in enumerate(sinks):
        write(sink, writer=writer, step=step, draw=lambda: gate.wait(60) and [picture("cam/x")])
    gate.set()
    writer.close(report=False)
    assert [sink.written for sink in sinks] == [[(["cam/x"], step)] for step in range(3)]
    assert messages == []


def test_strict_raises(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    writer = OutputWriter("cam", ErrorPolicy(strict=True), background=False)
    with pytest.raises(OSError, match="file"):
        writer.write(tmp_path / "file", [], [], [ALERT], 0, [], record=True)


# --- the report in loggers ------------------------------------------------------------------------


def test_sinks_get_the_report_at_the_end(write, tmp_path):
    sink = Sink()
    writer = write(sink, folder=tmp_path)
    write(sink, writer=writer, folder=tmp_path, step=78)
    assert sink.reports == []
    path = writer.close(report=True)
    assert sink.reports == [("cam", path, 78)]


def test_without_a_report_sinks_get_none(write, tmp_path):
    sink = Sink()
    write(sink, folder=tmp_path).close(report=False)
    write(sink).close(report=True)
    assert sink.reports == []


def test_a_logger_that_does_not_take_the_report_costs_one_warning(write, tmp_path, messages):
    good = Sink()
    path = write(Sink(fails=["attach_report"]), good, folder=tmp_path).close(report=True)
    assert path == tmp_path / "report.html"
    assert good.reports == [("cam", path, 39)]
    assert len(messages) == 1
    assert "the report in a logger" in messages[0]


# --- the report while the training goes on --------------------------------------------------------


@pytest.fixture
def _always_due(monkeypatch):
    monkeypatch.setattr(report_writer, "EVERY", 0.0)
    monkeypatch.setattr(report_writer, "_SHARE", 1e9)


@pytest.mark.usefixtures("_always_due")
@pytest.mark.parametrize("background", [True, False])
def test_the_report_is_there_before_the_end(write, messages, tmp_path, background):
    writer = OutputWriter("cam", ErrorPolicy(warn=messages.append), background=background)
    write(Sink(), writer=writer, folder=tmp_path, report=True)
    writer._queue.close()
    writer._report.wait()
    assert (tmp_path / "report.html").exists()
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
    assert messages == []


@pytest.mark.usefixtures("_always_due")
@pytest.mark.parametrize("options", [{"report": False}, {"report": True, "record": False}])
def test_without_the_option_or_a_record_there_is_none(write, tmp_path, options):
    write(Sink(), folder=tmp_path, **options)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("_always_due")
def test_a_report_that_cannot_be_written_costs_one_warning(write, messages, tmp_path):
    (tmp_path / "report.html").mkdir()
    writer = write(Sink(), folder=tmp_path, report=True)
    write(Sink(), writer=writer, folder=tmp_path, step=40, report=True)
    writer.close(report=True)
    assert len(messages) == 1
    assert messages[0].startswith("lightning_cam skipped the report; training goes on.")
