"""Two processes, gloo: all compute, rank zero writes, nobody waits for ever."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

_SCRIPT = Path(__file__).with_name("ddp_run.py")
_PATIENCE = 40


def run(folder, processes, scenario="plain"):
    """Run the script; a hang ends it and fails the test."""
    command = [sys.executable, str(_SCRIPT), str(folder), str(processes), scenario]
    with subprocess.Popen(  # noqa: S603 - our own script
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            output, _ = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # this run's own group, of which it is leader
            process.wait()
            pytest.fail(f"still running after {_PATIENCE} s: {scenario}")
    assert process.returncode == 0, output[-4000:]
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank*.json"))]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, run(folder, 2)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return folder, run(folder, 1)


def test_both_ranks_know_the_same_metrics(two_processes):
    _, (zero, one) = two_processes
    assert zero["world"] == one["world"] == 2
    assert len(zero["entries"]) == 3
    assert "cam/enrichment" in zero["entries"][0]
    assert watched(zero) == watched(one)


def watched(diary):
    """Return what the callback logged; the module's own loss differs, each rank sees its share."""
    return [{k: v for k, v in e.items() if k.startswith("cam/")} for e in diary["entries"]]


def test_two_processes_see_what_one_sees(two_processes, one_process):
    (two, _), (one,) = two_processes[1], one_process[1]
    for ours, theirs in zip(watched(two), watched(one), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


def test_rank_zero_alone_writes_one_set_of_pictures(two_processes, one_process):
    folder, reference = two_processes[0], one_process[0]
    assert pictures(folder) == pictures(reference)
    assert set(pictures(folder)[1].values()) == {3}
    assert list(folder.rglob("*.png")) == []


def pictures(folder):
    """Return how many event files there are, and how many pictures stand under each tag."""
    files = list(folder.rglob("events.out.*"))
    counts = {}
    for file in files:
        events = EventAccumulator(str(file), size_guidance={"images": 0}).Reload()
        for tag in events.Tags()["images"]:
            counts[tag] = counts.get(tag, 0) + len(events.Images(tag))
    return len(files), counts


@pytest.mark.parametrize("scenario", ["two probes, logger down", "fails on rank 1"])
def test_a_failure_on_one_rank_does_not_hang_the_others(tmp_path, scenario):
    zero, one = run(tmp_path, 2, scenario)
    assert len(zero["entries"]) == len(one["entries"]) == 3
    assert zero["entries"][2].keys() == one["entries"][2].keys()
