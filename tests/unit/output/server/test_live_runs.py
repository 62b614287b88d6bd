"""Runs that appear while they are served, and those that are shown at first."""

import json
import os

import pytest
from helpers.recorded_run import Run, probe_of

from lightning_cam.output.server import live_runs
from lightning_cam.output.server.live_run import Known
from lightning_cam.output.server.live_runs import LiveRuns


@pytest.fixture(autouse=True)
def _search_at_once(monkeypatch):
    monkeypatch.setattr(live_runs, "_SEARCH_EVERY", 0.0)
    monkeypatch.setattr(live_runs, "_SEARCH_SHARE", 1e9)


def test_runs_that_begin_later_come_after_those_that_are_known(tmp_path):
    Run(tmp_path / "b", probe_of(2)).evaluate(0)
    runs = LiveRuns([tmp_path])
    runs.search()
    (key,) = runs.newest()
    Run(tmp_path / "a", probe_of(2)).evaluate(0)
    found = json.loads(runs.news({key: Known()}, listed=1))
    assert [each["name"] for each in found["listed"]] == ["b", "a"]
    assert [each["key"] for each in found["runs"]] == [key]
    assert not found["more"]
    assert "listed" not in json.loads(runs.news({key: Known()}, listed=2))


def test_of_many_runs_those_written_to_last_are_shown_at_first(tmp_path):
    for n in range(14):
        folder = tmp_path / f"run_{n}" / "lightning_cam"
        folder.mkdir(parents=True)
        (folder / "cam.jsonl").write_text("{}\n")
        os.utime(folder / "cam.jsonl", (1000 + n, 1000 + n))
    runs = LiveRuns([tmp_path])
    runs.search()
    _, listed = runs.page()
    names = {each["key"]: each["name"] for each in listed}
    assert [names[key] for key in runs.newest()] == [f"run_{n}" for n in range(2, 14)]


def test_unknown_runs_records_and_evaluations_have_no_maps(tmp_path):
    Run(tmp_path / "run", probe_of(2)).evaluate(0)
    runs = LiveRuns([tmp_path])
    runs.search()
    (key,) = runs.newest()
    assert not runs.read([key, "unknown"])
    (run,) = runs._runs.values()
    generation = run.records[0].generation
    wrong = [("x", 0, generation, 0), (key, 1, generation, 0), (key, 0, generation + 1, 0)]
    found = runs.maps([*wrong, (key, 0, generation, 1), (key, 0, generation, 0)])
    assert found[:4] == [None] * 4
    assert len(found[4]) == 1


def test_what_is_there_is_read_ahead_of_the_first_request(tmp_path):
    Run(tmp_path / "run", probe_of(2)).evaluate(0)
    runs = LiveRuns([tmp_path])
    runs.search()
    runs.read_ahead().join()
    (run,) = runs._runs.values()
    assert len(run.records[0].parts) == 1
