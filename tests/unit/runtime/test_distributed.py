"""Shares of items and results of a group of processes, here without starting any process."""

import threading

import pytest
import torch
import torch.distributed as dist
from torch import nn

from lightning_cam.runtime import distributed
from lightning_cam.runtime.distributed import (
    DistributedContext,
    PeerProcessError,
    Shard,
    sharing_of,
)

# --- shards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [7, 8, 9, 16, 17])
def test_shards_cover_all_items_once_and_are_equally_long(count, world_size):
    shards = [DistributedContext(rank, world_size).shard(count) for rank in range(world_size)]
    computed = [list(range(count))[shard.rows] for shard in shards]
    own = [rows[shard.duplicates :] for rows, shard in zip(computed, shards, strict=True)]
    assert [item for rows in own for item in rows] == list(range(count))
    assert len({len(rows) for rows in computed}) == 1
    assert len(computed[0]) == -(-count // world_size)


def test_the_last_process_repeats_items_of_earlier_ones():
    assert DistributedContext(0, 2).shard(5) == Shard(0, 3, 0)
    assert DistributedContext(1, 2).shard(5) == Shard(2, 5, 3)
    assert DistributedContext(1, 2).shard(5).duplicates == 1


def test_a_process_for_which_no_item_is_left_repeats_a_whole_shard():
    shard = DistributedContext(3, 4).shard(5)
    assert list(range(5))[shard.rows] == [3, 4]
    assert shard.duplicates == 2


def test_replicated_items_are_computed_by_all_and_counted_on_rank_0():
    assert DistributedContext(0, 2).shard(5, replicated=True) == Shard(0, 5, 0)
    assert DistributedContext(1, 2).shard(5, replicated=True).rows == slice(0, 5)
    assert DistributedContext(1, 2).shard(5, replicated=True).duplicates == 5


# --- one process ----------------------------------------------------------------------------------


def test_without_a_group_the_context_is_this_process_alone():
    assert DistributedContext.current() == DistributedContext(0, 1)


def test_alone_results_and_errors_are_those_of_the_work():
    context = DistributedContext()
    assert context.all_gather(lambda: 3) == [3]
    assert context.run_on_all(lambda: 4) == 4
    assert context.broadcast(5) == 5
    assert context.broadcast_if_different(6, "fingerprint") == 6
    with pytest.raises(KeyError):
        context.all_gather(lambda: {}["missing"])
    with pytest.raises(KeyError):
        context.run_on_all(lambda: {}["missing"])


# --- several ranks, in threads --------------------------------------------------------------------


class ThreadGroup:
    """Runs a function once per rank, each in a thread; objects are exchanged at a barrier."""

    def __init__(self, world_size, monkeypatch):
        self._world_size = world_size
        self._barrier = threading.Barrier(world_size, timeout=20)
        self._rank = threading.local()
        self._values = [None] * world_size
        monkeypatch.setattr(distributed, "_all_gather_object", self._gather)

    def _gather(self, value, world_size):
        assert world_size == self._world_size
        self._values[self._rank.value] = value
        self._barrier.wait()
        gathered = list(self._values)
        self._barrier.wait()
        return gathered

    def run(self, work):
        """Return `work(context)` of each rank, an exception in place of a result that raised."""
        results = [None] * self._world_size

        def run(rank):
            self._rank.value = rank
            try:
                results[rank] = work(DistributedContext(rank, self._world_size))
            except Exception as error:  # noqa: BLE001 - compared by the test
                results[rank] = error

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(self._world_size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return results


def test_results_are_gathered_in_the_order_of_ranks(monkeypatch):
    group = ThreadGroup(3, monkeypatch)
    assert group.run(lambda c: c.all_gather(lambda: c.rank * 10)) == [[0, 10, 20]] * 3
    assert group.run(lambda c: c.broadcast(f"of {c.rank}")) == ["of 0"] * 3


def test_equal_fingerprints_keep_each_processs_own_value(monkeypatch):
    group = ThreadGroup(2, monkeypatch)
    found = group.run(lambda c: c.broadcast_if_different(c.rank, "same"))
    assert found == [0, 1]


def test_a_failure_on_one_rank_is_raised_on_all(monkeypatch):
    def work(context):
        def fail_on_one():
            if context.rank == 1:
                raise ValueError("only here")
            return context.rank

        return context.all_gather(fail_on_one)

    found = ThreadGroup(3, monkeypatch).run(work)
    assert [type(each) for each in found] == [PeerProcessError] * 3
    assert {str(each) for each in found} == {"process 1 failed: ValueError: only here"}
    assert isinstance(found[1].__cause__, ValueError)
    assert found[0].__cause__ is None


@pytest.mark.parametrize("failing_call", [0, 1, 2])
def test_work_with_calls_of_its_own_ends_on_all_ranks_or_on_none(monkeypatch, failing_call):
    """Rank 0 fails before, between or after two collective calls; rank 1 waits in the next one."""

    def work(context):
        def body():
            for call in range(3):
                if context.rank == 0 and call == failing_call:
                    raise ValueError("rank 0")
                if call < 2:
                    context.all_gather(lambda: None)
            return "done"

        return context.run_on_all(body)

    found = ThreadGroup(2, monkeypatch).run(work)
    assert [type(each) for each in found] == [PeerProcessError] * 2


def test_work_that_succeeds_on_all_ranks_returns_each_ones_result(monkeypatch):
    found = ThreadGroup(2, monkeypatch).run(
        lambda c: c.run_on_all(lambda: (c.rank, c.all_gather(lambda: 1)))
    )
    assert found == [(0, [1, 1]), (1, [1, 1])]


# --- how passes may be shared ---------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2])
def test_passes_of_an_ordinary_model_are_independent(world_size):
    assert sharing_of(nn.Linear(2, 2), world_size) == "independent"


@pytest.fixture
def group_of_one():
    """Start a process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_passes_of_a_model_with_sharded_parameters_are_replicated():
    """A mesh that does not hold all processes, as with tensor parallelism."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard as OverDimension
    from torch.distributed.tensor import distribute_tensor

    mesh = init_device_mesh("cpu", (1,))
    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(distribute_tensor(torch.ones(2, 2), mesh, [OverDimension(0)]))
    assert DistributedContext.current() == DistributedContext(0, 1)
    assert sharing_of(model, 2) == "replicated"
    assert sharing_of(model, 1) == "independent"
