"""`read_in_worker`: the samples come from another process, and nothing stays behind in this one."""

import multiprocessing
import os
import threading

import pytest
import torch
from helpers.datasets import Listed, numbered_image, streams
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lightning_cam.probe import worker
from lightning_cam.probe.worker import read_in_worker


class Recording(Listed):
    """Puts the process that read it into each item, as its label."""

    def __getitem__(self, index):
        image, _ = super().__getitem__(index)
        return image, os.getpid()


def processes(data):
    """Return the processes that read the samples."""
    return {int(value) for value in data.items["[1]"].values}


def children():
    return len(multiprocessing.active_children())


def test_samples_are_read_in_another_process():
    loader = DataLoader(Recording(), 5)
    before = streams()
    data, note = read_in_worker(loader, 5, 0)
    assert os.getpid() not in processes(data)
    assert len(processes(data)) == 1
    assert note == ""
    assert loader.dataset.loaded == []
    assert streams() == before
    assert children() == 0


def test_the_loader_s_way_to_start_processes_is_used():
    loader = DataLoader(Listed(), 5, num_workers=1, multiprocessing_context="spawn")
    data, note = read_in_worker(loader, 5, 0)
    assert len(data.indices) == 5
    assert note == ""


def unpicklable(items):
    return torch.utils.data.default_collate(items)


def test_where_no_process_can_be_started_this_one_reads():
    def local(items):  # cannot be sent to a process that is spawned
        return unpicklable(items)

    loader = DataLoader(
        Recording(), 5, num_workers=1, multiprocessing_context="spawn", collate_fn=local
    )
    before = streams()
    data, note = read_in_worker(loader, 5, 0)
    assert processes(data) == {os.getpid()}
    assert "read in the main process: no worker could be started" in note
    assert streams() == before


def test_without_fork_this_process_reads(monkeypatch):
    monkeypatch.setattr(worker, "_fork", lambda: None)
    data, note = read_in_worker(DataLoader(Recording(), 5), 5, 0)
    assert processes(data) == {os.getpid()}
    assert "cannot fork" in note


class Dying(Listed):
    def __getitem__(self, index):
        if os.getpid() != self.home:
            os._exit(3)
        return super().__getitem__(index)


def test_a_worker_that_dies_is_replaced_by_this_process():
    dataset = Dying()
    dataset.home = os.getpid()
    data, note = read_in_worker(DataLoader(dataset, 5), 5, 0)
    assert len(data.indices) == 5
    assert "ended before" in note


class Failing(Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise self.error


class UnpicklableError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


@pytest.mark.parametrize(
    ("error", "raised", "match"),
    [
        (OSError("disk"), OSError, "disk"),
        (KeyError("image"), KeyError, "image"),
        (UnpicklableError("a", "b"), RuntimeError, "UnpicklableError: a b"),
    ],
    ids=["OSError", "KeyError", "one that cannot be sent"],
)
def test_what_the_dataset_raises_is_raised_here(error, raised, match):
    with pytest.raises(raised, match=match):
        read_in_worker(DataLoader(Failing(error), 2), 2, 0)
    assert children() == 0


class Sleeping(Listed):
    def __getitem__(self, index):
        if os.getpid() != self.home:
            import time

            time.sleep(60)
        return super().__getitem__(index)


def test_a_worker_that_hangs_is_given_up():
    dataset = Sleeping()
    dataset.home = os.getpid()
    data, note = read_in_worker(DataLoader(dataset, 5, num_workers=1, timeout=1), 5, 0)
    assert len(data.indices) == 5
    assert "read nothing for 1 seconds" in note
    assert children() == 0


def open_file(worker_id):
    get_worker_info().dataset.opened = worker_id


class Opening(Listed):
    opened = None

    def __getitem__(self, index):
        assert self.opened == 0
        return super().__getitem__(index)


def test_the_loader_s_worker_init_fn_runs_before():
    loader = DataLoader(Opening(), 5, num_workers=2, worker_init_fn=open_file)
    assert len(read_in_worker(loader, 5, 0)[0].indices) == 5
    assert loader.dataset.opened is None


def test_a_slow_dataset_shows_its_progress(capsys, monkeypatch):
    monkeypatch.setattr(worker, "_SILENT", 0.0)
    before = set(threading.enumerate())
    read_in_worker(DataLoader(Listed(), 5), 5, 0)
    assert "lightning_cam: reading images" in capsys.readouterr().err
    assert set(threading.enumerate()) <= before


def test_a_quick_one_shows_none(capsys):
    read_in_worker(DataLoader(Listed(), 5), 5, 0)
    assert capsys.readouterr().err == ""


class Counting(Dataset):
    """Unlisted labels of three classes in turn, or as many as given."""

    def __init__(self, classes=3):
        self.classes_ = classes

    def __len__(self):
        return 10_000

    def __getitem__(self, index):
        return numbered_image(index), index % self.classes_


@pytest.mark.parametrize(("classes", "most"), [(2, 32), (3, 64), (1000, 128)])
def test_few_samples_are_read_to_find_labels_that_are_not_listed(classes, most, monkeypatch):
    monkeypatch.setattr(worker, "_fork", lambda: None)
    read = []
    dataset = Counting(classes)
    original = Counting.__getitem__
    monkeypatch.setattr(
        Counting, "__getitem__", lambda self, index: read.append(index) or original(self, index)
    )
    read_in_worker(DataLoader(dataset, 8), 16, 0)
    assert len(set(read)) <= most
    assert len(read) == len(set(read))  # none twice
