"""Reading the probe leaves no trace in the data: every step sees the pixels that it would see."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.training import QUIET
from robustness.non_interference import stranger_data
from robustness.non_interference.bitwise import differences, snapshot
from robustness.non_interference.comparison import SMALL, differing_items, train
from robustness.non_interference.configurations import Configuration
from robustness.non_interference.data import Squares
from robustness.non_interference.stranger_data import HIDING_PLACES, OneDataset, Transformed
from torch.utils.data import DataLoader

from lightning_cam import Threshold
from lightning_cam.probe import worker

pytestmark = QUIET

ONE_EPOCH = {"max_epochs": 1}


def compared(folder, configuration):
    """Train without and with the callback; return what differs, and the last data module."""
    made = []

    def data():
        made.append(configuration.data())
        return made[-1]

    callback = {"alerts": [Threshold("entropy", above=0.0, patience=1)], **configuration.callback}
    watched = replace(configuration, data=data, callback=callback)
    without = train(watched, folder / "without", SMALL, monitored=False)
    monitored = train(watched, folder / "with", SMALL)
    assert monitored.evaluations
    assert not monitored.skipped
    return differing_items(without.records, monitored.records), made


def in_the_main_process(monkeypatch):
    """Make every start of a worker for the probe fail."""

    def run(*_):
        raise worker._NotReadError("no worker could be started")

    monkeypatch.setattr(worker, "_run", run)


# --- files ---------------------------------------------------------------------------------------
#
# These fail when the probe is read in the main process and its traces are left there: with
# `return _NotReadError` at the start of `worker._run` and without `_attributes_kept`, the forked
# workers of the training share the position of the file that the main process has opened (other
# pixels, or BadZipFile), and what spawned workers are sent cannot be pickled. Those that open their
# file at once fail without `own_file_positions`.

KINDS = {
    "zip": stranger_data.Zipped,
    "records": stranger_data.Records,
    "records in order": stranger_data.InOrder,
}
LOADING = {
    "fork": {"num_workers": 2, "multiprocessing_context": "fork"},
    "fork, persistent": {
        "num_workers": 2,
        "multiprocessing_context": "fork",
        "persistent_workers": True,
    },
    "spawn": {"num_workers": 2, "multiprocessing_context": "spawn", "persistent_workers": True},
}


def reading_files():
    """Yield kinds of files, ways to load them, and sanity steps; spawned workers start slowly."""
    for kind, loading, sanity in itertools.product(KINDS, LOADING, (0, 2)):
        quick = loading == "fork" and not sanity
        if loading != "spawn" or kind == "zip" or (kind == "records" and sanity):
            marks = [] if quick else [pytest.mark.slow, pytest.mark.sweep]
            name = f"{kind}-{loading}-{'sanity check' if sanity else 'no sanity check'}"
            yield pytest.param(kind, loading, sanity, id=name, marks=marks)


@pytest.mark.ddp
@pytest.mark.parametrize(("kind", "loading", "sanity"), list(reading_files()))
def test_files_opened_at_first_access(tmp_path, kind, loading, sanity):
    stranger_data.write_files(tmp_path)
    data = partial(OneDataset, partial(KINDS[kind], tmp_path), **LOADING[loading])
    trainer = {**ONE_EPOCH, "num_sanity_val_steps": sanity}
    differing, made = compared(tmp_path, Configuration("files", data=data, trainer=trainer))
    assert differing == {}
    assert [each.whole.file for each in made] == [None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_files_opened_at_once(tmp_path, kind):
    stranger_data.write_files(tmp_path)
    data = partial(OneDataset, partial(KINDS[kind], tmp_path, at_once=True))
    differing, made = compared(tmp_path, Configuration("files", data=data, trainer=ONE_EPOCH))
    for each in made:  # else the garbage collector does, with a warning, in a test that has none
        each.whole.file.close()
    assert differing == {}


@pytest.mark.ddp
@pytest.mark.parametrize("kind", KINDS)
def test_files_where_no_worker_can_be_started_for_the_probe(tmp_path, monkeypatch, kind):
    in_the_main_process(monkeypatch)
    stranger_data.write_files(tmp_path)
    data = partial(OneDataset, partial(KINDS[kind], tmp_path), **LOADING["fork"])
    differing, made = compared(tmp_path, Configuration("files", data=data, trainer=ONE_EPOCH))
    assert differing == {}
    assert [each.whole.file for each in made] == [None, None]


@pytest.mark.slow
@pytest.mark.ddp
def test_files_in_two_processes(tmp_path):
    command = [sys.executable, "-m", "robustness.non_interference.two_processes", str(tmp_path)]
    home = Path(__file__).parents[1]
    paths = [str(home), str(home.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run(command, check=True, timeout=300, env=environment)  # noqa: S603 - our own code
    for rank in (0, 1):
        plain, ours = (torch.load(tmp_path / f"{kind}-{rank}.pt") for kind in (False, True))
        assert len(plain) > 4
        assert differences(snapshot(plain), snapshot(ours)) == []


@pytest.mark.ddp
def test_without_fork_a_loader_with_workers_is_read_by_one(tmp_path, monkeypatch):
    stranger_data.write_files(tmp_path)
    monkeypatch.setattr(worker, "_fork", lambda: None)
    data = stranger_data.Zipped(tmp_path)
    of_workers = worker.read_in_worker(DataLoader(data, 4, num_workers=1), 4, 0)
    assert of_workers[1] == ""
    alone = worker.read_in_worker(DataLoader(data, 4), 4, 0)
    assert alone[1] == "read in the main process: this system cannot fork a process"
    assert data.file is None
    pixels = [reading.batches[0].data[0] for reading, _ in (of_workers, alone)]
    assert torch.equal(*pixels)


# --- streams -------------------------------------------------------------------------------------


def test_a_stream_that_can_be_read_only_once(tmp_path):
    configuration = Configuration(
        "once", data=stranger_data.OnceData, trainer=ONE_EPOCH, callback={"probe": "train"}
    )
    differing, _ = compared(tmp_path, configuration)
    assert differing == {}


# --- generators ----------------------------------------------------------------------------------

WHERE = pytest.mark.parametrize(
    "where", [pytest.param("worker", marks=pytest.mark.slow), "main process"]
)


@WHERE
@pytest.mark.parametrize("place", HIDING_PLACES)
def test_generators_of_a_transform(tmp_path, monkeypatch, place, where):
    if where == "main process":
        monkeypatch.setattr(worker, "_fork", lambda: None)
    data = partial(OneDataset, partial(Transformed, HIDING_PLACES[place]))
    differing, _ = compared(tmp_path, Configuration(place, data=data, trainer=ONE_EPOCH))
    assert differing == {}


@pytest.mark.slow
@pytest.mark.sweep
@WHERE
@pytest.mark.parametrize("place", HIDING_PLACES)
def test_generators_of_a_collate_function(tmp_path, monkeypatch, place, where):
    if where == "main process":
        monkeypatch.setattr(worker, "_fork", lambda: None)
    data = partial(stranger_data.Collating, HIDING_PLACES[place])
    differing, _ = compared(tmp_path, Configuration(place, data=data, trainer=ONE_EPOCH))
    assert differing == {}


def test_the_stream_of_opencv(tmp_path):
    data = partial(OneDataset, partial(Transformed, stranger_data.opencv_noise))
    estimating = {"estimate_masks": True}  # GrabCut draws from it too
    configuration = Configuration("OpenCV", data=data, trainer=ONE_EPOCH, callback=estimating)
    differing, _ = compared(tmp_path, configuration)
    assert differing == {}


def test_generators_of_batch_hooks(tmp_path):
    data = partial(OneDataset, partial(Squares, stranger_data.COUNT, 0, masks=False))
    hooked = Configuration("hooks", stranger_data.NoisyHook, data=data, trainer=ONE_EPOCH)
    assert compared(tmp_path / "module", hooked)[0] == {}
    of_data = Configuration("hooks", data=stranger_data.HookedData, trainer=ONE_EPOCH)
    assert compared(tmp_path / "data", of_data)[0] == {}


def test_generators_of_the_forward_pass(tmp_path):
    configuration = Configuration("forward", stranger_data.NoisyForward, trainer=ONE_EPOCH)
    assert compared(tmp_path, configuration)[0] == {}


# --- validation data that is made late -----------------------------------------------------------


def test_validation_data_that_draws_its_split_when_it_is_asked_for(tmp_path):
    late = {"max_epochs": 4, "num_sanity_val_steps": 0, "check_val_every_n_epoch": 2}
    trainer = {**late, "val_check_interval": 1.0, "accumulate_grad_batches": 1}
    configuration = Configuration("late", data=stranger_data.LateSplit, trainer=trainer)
    differing, made = compared(tmp_path, configuration)
    assert differing == {}
    assert made[0].asked == made[1].asked == [14]
