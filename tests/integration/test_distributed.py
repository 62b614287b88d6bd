"""Two, three and four processes, gloo: all compute, rank zero writes, nobody waits for ever."""

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
from torch import nn

from lightning_cam import _lightning
from lightning_cam.runtime.sharding import sharing
from lightning_cam.runtime.distributed import Share, DistributedContext

_SCRIPT = Path(__file__).with_name("ddp_run.py")
_HANGS = 600  # seconds; each scenario ends its own processes after 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return where all scenarios left their files, run after each other by one interpreter."""
    found = tmp_path_factory.mktemp("processes")
    subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(_SCRIPT), str(found), *PROCESSES],
        check=True,
        capture_output=True,
        timeout=_HANGS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return found


def diaries(folder, scenario):
    """Return what each rank saw; a rank that hung left nothing."""
    found = [json.loads(path.read_text()) for path in sorted((folder / scenario).glob("rank*"))]
    assert not (folder / scenario / "hung").exists()
    assert [each["world"] for each in found] == [PROCESSES[scenario]] * PROCESSES[scenario]
    return found


_PAIRS = [
    ("two", "one"),
    ("four", "one"),
    ("uneven", "uneven, one"),
    ("few images", "few images, one"),
    ("sharded", "sharded, one"),
]


@pytest.mark.parametrize(("many", "single"), _PAIRS)
def test_several_processes_see_what_one_sees(folder, many, single):
    (one,) = diaries(folder, single)
    for rank in diaries(folder, many):
        assert len(rank["entries"]) == len(one["entries"]) == 3
        for ours, theirs in zip(rank["entries"], one["entries"], strict=True):
            assert ours.keys() == theirs.keys()
            assert ours == pytest.approx(theirs, rel=2e-6, abs=1e-6, nan_ok=True)
        for ours, theirs in zip(rank["maps"], one["maps"], strict=True):
            assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-5)


def test_a_sharded_model_gives_the_maps_of_a_whole_one(folder):
    (sharded,), (whole,) = diaries(folder, "sharded, one"), diaries(folder, "one")
    for ours, theirs in zip(sharded["maps"], whole["maps"], strict=True):
        assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-5)
    missing = whole["entries"][0].keys() - sharded["entries"][0].keys()
    assert {name.rpartition("_")[2] for name in missing} == {"untrained"}


@pytest.mark.parametrize("scenario", PROCESSES)
def test_every_rank_knows_the_same_and_comes_to_the_end(folder, scenario):
    first, *others = diaries(folder, scenario)
    for other in others:
        assert str(first["entries"]) == str(other["entries"])  # as text, where NaN is itself
        assert first["maps"] == other["maps"]
        assert first["probe"] == other["probe"]
    assert first["epochs"] == (1 if scenario == "alerts" else 3)


_FAILURES = ["fails before", "fails inside", "fails after", "fails twice"]


@pytest.mark.parametrize("scenario", _FAILURES)
def test_a_failure_on_one_rank_costs_one_warning_and_that_look(folder, scenario):
    zero, one = diaries(folder, scenario)
    assert [("this rank is tired" in words, "skipped a look" in words) for words in zero["warned"]]
    assert (len(zero["warned"]), one["warned"]) == (1, [])
    before, sick, after = (entry["cam/entropy"] for entry in zero["entries"])
    assert sick == before != after
    assert math.isfinite(after)


def test_a_rank_without_memory_takes_smaller_chunks_and_nobody_notices(folder):
    zero, _ = diaries(folder, "little memory")
    (one,) = diaries(folder, "one")
    assert zero["warned"] == []
    assert torch.allclose(torch.tensor(zero["maps"][-1]), torch.tensor(one["maps"][-1]), atol=1e-5)


def test_what_an_alert_does_takes_every_rank_or_none(folder):
    zero, _ = diaries(folder, "alerts")
    assert [words for words in zero["warned"] if "no mail from here" in words]
    assert [words for words in zero["warned"] if "FileExistsError" in words]
    assert len(zero["warned"]) == 2
    assert len(zero["entries"]) == 1  # every one of them stopped


def test_a_logger_that_is_down_costs_one_warning(folder):
    zero, one = diaries(folder, "two probes, logger down")
    assert (len(zero["warned"]), one["warned"]) == (1, [])


@pytest.mark.parametrize("many", ["two", "four"])
def test_rank_zero_alone_writes_one_set_of_files(folder, many):
    reference = folder / "one"
    assert pictures(folder / many) == pictures(reference)
    assert set(pictures(folder / many)[1].values()) == {3}
    assert written(folder / many) == written(reference)


def pictures(folder):
    """Return how many event files there are, and how many pictures stand under each tag."""
    files = list(folder.rglob("events.out.*"))
    counts = {}
    for file in files:
        events = EventAccumulator(str(file), size_guidance={"images": 0}).Reload()
        for tag in events.Tags()["images"]:
            counts[tag] = counts.get(tag, 0) + len(events.Images(tag))
    return len(files), counts


def written(folder):
    """Return the other files, and the number of lines of the record."""
    record = (folder / "tb/version_0/lightning_cam/cam.jsonl").read_text().splitlines()
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = {name for name in names if "events.out" not in name and "rank" not in name}
    return kept, len(record)


# --- the parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 32])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 50])
def test_shares_are_equally_long_and_hold_every_item_once(count, size):
    shares = [DistributedContext(rank, size).share(count) for rank in range(size)]
    assert len({share.stop - share.start for share in shares}) == 1
    own = [list(range(count))[share.rows][share.skipped :] for share in shares]
    assert [item for part in own for item in part] == list(range(count))


def test_a_team_that_works_alike_counts_the_first_ones_work():
    assert DistributedContext(0, 2, alike=True).share(5) == Share(0, 5, 0)
    assert DistributedContext(1, 2, alike=True).share(5).skipped == 5


def test_whole_models_are_run_apart():
    assert sharing(nn.Linear(2, 2), 4) == "apart"


def test_flat_shards_are_refused_at_setup():
    class FSDPStrategy:
        pass

    class Trainer:
        strategy = FSDPStrategy()

    with pytest.raises(ValueError, match="ModelParallelStrategy"):
        _lightning.check_strategy(Trainer())
