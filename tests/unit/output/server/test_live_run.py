"""What is new in a run: increments, words about it, and records that cannot be shown."""

import json

import pytest
from helpers.recorded_run import Run, probe_of

from lightning_cam.output.server import live_run
from lightning_cam.output.server.live_run import Known, LiveRun


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run", probe_of(3))
    made.evaluate_epochs(2)
    return made


def live(tmp_path):
    found = LiveRun((tmp_path / "run").resolve())
    found.read()
    return found


def news(run, known=None, room=10**9):
    text, full = run.news(0, "name", known or Known(), room)
    return (json.loads(text) if text else None), full


def after(found):
    """Return what a page has after an answer."""
    records = {
        each["record"]: (each["generation"], each["from"] + len(each["parts"]))
        for each in found["probes"]
    }
    return Known(found.get("version", ""), records)


def test_only_what_a_page_does_not_have_is_sent(run, tmp_path):
    served = live(tmp_path)
    first, full = news(served)
    (probe,) = first["probes"]
    assert not full
    assert (probe["from"], len(probe["parts"])) == (0, 2)
    assert probe["facts"]["ids"] == ["00", "01", "02"]
    assert {"head", "alerts", "numbers", "about", "colours"} == set(first["words"])
    assert news(served, after(first)) == (None, False)
    run.evaluate(2)
    served.read()
    second, _ = news(served, after(first))
    (probe,) = second["probes"]
    assert (probe["from"], len(probe["parts"])) == (2, 1)
    assert "facts" not in probe
    assert "3 evaluations" in second["words"]["head"]


def test_what_does_not_fit_is_sent_later(run, tmp_path):
    served = live(tmp_path)
    first, full = news(served, room=1)
    assert full
    assert [len(each["parts"]) for each in first["probes"]] == [1]
    second, _ = news(served, after(first))
    assert [each["from"] for each in second["probes"]] == [1]


def test_after_a_resumed_run_the_page_begins_again(run, tmp_path):
    served = live(tmp_path)
    known = after(news(served)[0])
    lines = run.recorder.path.read_text().splitlines()
    run.recorder.path.write_text("\n".join([*lines[:2], lines[2], ""]))
    with run.recorder.path.open("a") as file:
        file.write(lines[2] + "\n")
    served.read()
    (probe,) = news(served, known)[0]["probes"]
    assert probe["from"] == 0
    assert len(probe["parts"]) == 2


def test_another_probe_of_the_run_appears(run, tmp_path):
    served = live(tmp_path)
    known = after(news(served)[0])
    Run(tmp_path / "run", probe_of(2), tag="cam/other").evaluate(0)
    served.read()
    (probe,) = news(served, known)[0]["probes"]
    assert (probe["record"], probe["facts"]["tag"]) == (1, "cam/other")


def test_a_run_that_cannot_be_put_into_words_says_so(run, tmp_path, monkeypatch):
    render = live_run.render_parts

    def failing(summary):
        if summary.records:
            raise RecursionError
        return render(summary)

    monkeypatch.setattr(live_run, "render_parts", failing)
    found, _ = news(live(tmp_path))
    assert "What it says cannot be shown: RecursionError." in found["words"]["head"]
    assert len(found["probes"][0]["parts"]) == 2


def test_the_key_says_nothing_of_the_path(run, tmp_path):
    served = live(tmp_path)
    assert len(served.key) == 10
    assert str(tmp_path) not in json.dumps(news(served)[0])
