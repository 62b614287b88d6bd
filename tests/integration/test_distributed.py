"""Several processes over gloo: all compute, rank 0 writes, none waits for ever."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.ddp_run import PROCESSES
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_cam.output.record import read_run

pytestmark = [pytest.mark.slow, pytest.mark.ddp]

_TIMEOUT = 600  # seconds; each scenario kills its own processes after 120


STRATEGIES = ["ddp_notebook", "ddp_spawn"]


def run(module, *arguments):
    """Run one of our own modules as a command."""
    subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-m", module, *map(str, arguments)],
        check=True,
        capture_output=True,
        timeout=_TIMEOUT,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run all scenarios after each other and return the folder with their files."""
    found = tmp_path_factory.mktemp("processes")
    run("helpers.ddp_run", found, *PROCESSES)
    return found


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Train with all strategies that start processes; return the folder with a folder of each."""
    found = tmp_path_factory.mktemp("launched")
    run("helpers.launched_run", found, *STRATEGIES)
    return found


def ranks_of(folder, scenario):
    """Return what each rank logged."""
    if scenario.startswith("sharded") and torch.__version__ < (2, 7):
        pytest.skip("this torch cannot shard parameters on CPU")
    found = [json.loads(path.read_text()) for path in sorted((folder / scenario).glob("rank*"))]
    assert not (folder / scenario / "hung").exists()
    assert [each["world_size"] for each in found] == [PROCESSES[scenario]] * PROCESSES[scenario]
    return found


_PAIRS = [
    ("two", "one"),
    ("four", "one"),
    ("uneven", "uneven, one"),
    ("few images", "few images, one"),
    ("sharded", "sharded, one"),
    ("sharded, exchanges", "sharded, exchanges, one"),
]


@pytest.mark.parametrize(("many", "single"), _PAIRS)
def test_several_processes_log_what_one_logs(folder, many, single):
    (one,) = ranks_of(folder, single)
    for rank in ranks_of(folder, many):
        assert len(rank["metrics"]) == len(one["metrics"]) == 3
        for ours, theirs in zip(rank["metrics"], one["metrics"], strict=True):
            assert ours.keys() == theirs.keys()
            assert ours == pytest.approx(theirs, rel=2e-6, abs=1e-6, nan_ok=True)
        for ours, theirs in zip(rank["maps"], one["maps"], strict=True):
            assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-5)


def test_a_sharded_model_gives_the_maps_of_a_whole_one(folder):
    (sharded,), (whole,) = ranks_of(folder, "sharded, one"), ranks_of(folder, "one")
    for ours, theirs in zip(sharded["maps"], whole["maps"], strict=True):
        assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-5)
    missing = whole["metrics"][0].keys() - sharded["metrics"][0].keys()
    assert {name.rpartition("_")[2] for name in missing} == {"untrained"}


@pytest.mark.parametrize("scenario", PROCESSES)
def test_every_rank_has_the_same_metrics_and_finishes(folder, scenario):
    first, *others = ranks_of(folder, scenario)
    for other in others:
        assert str(first["metrics"]) == str(other["metrics"])  # as text, where NaN equals NaN
        assert first["maps"] == other["maps"]
        assert first["probe"] == other["probe"]
    assert first["epochs"] == (1 if scenario == "alerts" else 3)


_FAILURES = ["fails before", "fails inside", "fails after", "fails twice"]


@pytest.mark.parametrize("scenario", _FAILURES)
def test_a_failure_on_one_rank_costs_one_warning_and_that_evaluation(folder, scenario):
    zero, one = ranks_of(folder, scenario)
    (message,) = zero["warnings"]
    assert "this rank is tired" in message
    assert "skipped an evaluation" in message
    assert one["warnings"] == []
    before, failed, after = (metrics["cam/entropy"] for metrics in zero["metrics"])
    assert failed == before != after
    assert math.isfinite(after)


def test_a_rank_that_runs_out_of_memory_takes_smaller_chunks(folder):
    zero, _ = ranks_of(folder, "little memory")
    (one,) = ranks_of(folder, "one")
    assert zero["warnings"] == []
    assert torch.allclose(torch.tensor(zero["maps"][-1]), torch.tensor(one["maps"][-1]), atol=1e-5)


def test_the_actions_of_an_alert_are_taken_on_every_rank_or_fail_on_all(folder):
    zero, _ = ranks_of(folder, "alerts")
    assert [message for message in zero["warnings"] if "no mail from rank 1" in message]
    assert [message for message in zero["warnings"] if "FileExistsError" in message]
    assert len(zero["warnings"]) == 2
    assert len(zero["metrics"]) == 1  # every rank stopped


@pytest.mark.parametrize(("scenario", "probes"), [("counted", 1), ("counted, two probes", 2)])
def test_an_evaluation_takes_two_collective_operations_for_each_probe(folder, scenario, probes):
    """With exchanges and noise floor; the first one also finds the run's folder and compares."""
    for rank in ranks_of(folder, scenario):
        first, *others = rank["collectives"]
        assert others == [2 * probes] * 2
        assert first <= 4 * probes + 1


def test_a_logger_that_is_down_costs_one_warning(folder):
    zero, one = ranks_of(folder, "two probes, logger down")
    assert (len(zero["warnings"]), one["warnings"]) == (1, [])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_processes_that_lightning_starts_itself(launched, strategy):
    logged = json.loads((launched / strategy / "metrics.json").read_text())
    assert math.isfinite(logged["cam/enrichment"])
    (record,) = read_run(launched / strategy / "tb/version_0")
    assert len(record.evaluations) == 2
    last = record.evaluations[-1].metrics
    assert logged["cam/enrichment"] == pytest.approx(last["enrichment"], rel=1e-5)
    assert (launched / strategy / "tb/version_0/report.html").exists()


@pytest.mark.parametrize("many", ["two", "four"])
def test_only_rank_0_writes_files(folder, many):
    reference = folder / "one"
    assert images_in(folder / many) == images_in(reference)
    assert set(images_in(folder / many)[1].values()) == {3}
    assert written(folder / many) == written(reference)


def images_in(folder):
    """Return the number of event files, and of images by tag."""
    files = list(folder.rglob("events.out.*"))
    counts = {}
    for file in files:
        events = EventAccumulator(str(file), size_guidance={"images": 0}).Reload()
        for tag in events.Tags()["images"]:
            counts[tag] = counts.get(tag, 0) + len(events.Images(tag))
    return len(files), counts


def written(folder):
    """Return the other files, and the number of lines in the record."""
    record = (folder / "tb/version_0/lightning_cam/cam.jsonl").read_text().splitlines()
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = {name for name in names if "events.out" not in name and "rank" not in name}
    return kept, len(record)
