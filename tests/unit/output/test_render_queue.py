"""Drawing beside the training: in order, bounded, and gone when it is done."""

import copy
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from lightning_cam.output.render_queue import RenderJob, RenderQueue

_TASKS = Path("/proc/self/task")  # this process's threads, Python's or not, as Linux shows them
_PATIENCE = 60.0  # seconds; nothing here takes one


def order(step, draw=list):
    return RenderJob(draw, frozenset(), step)


def until(condition):
    """Wait for what another thread does."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.001)


def test_deliveries_come_in_the_order_of_the_orders_each_once():
    scribe, taken = RenderQueue(), []
    for step in range(20):
        scribe.order(order(step, lambda step=step: time.sleep(0.002 * (step % 3)) or []))
        taken += scribe.take()
    taken += scribe.close()
    assert [each.step for each in taken] == list(range(20))
    assert scribe.close() == []


def test_a_fourth_order_waits_until_the_first_is_done():
    scribe, gate, ordered = RenderQueue(), threading.Event(), []

    def four():
        for step in range(4):
            scribe.order(order(step, lambda: gate.wait(_PATIENCE) and []))
            ordered.append(step)

    thread = threading.Thread(target=four, daemon=True)
    thread.start()
    until(lambda: len(ordered) == 3)
    time.sleep(0.05)
    assert ordered == [0, 1, 2]
    gate.set()
    thread.join(_PATIENCE)
    assert [each.step for each in scribe.close()] == [0, 1, 2, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux shows them")
def test_what_was_computed_on_several_cores_leaves_no_worker_behind():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.rand(1_000_000).sqrt()  # this thread's own worker
        count, seen = len(list(_TASKS.iterdir())), []

        def draw():
            torch.rand(1_000_000).sqrt()
            seen.append(len(list(_TASKS.iterdir())))
            return []

        scribe, found = RenderQueue(), []
        scribe.order(order(0, draw))
        until(lambda: found.extend(scribe.take()) or found)
        until(lambda: len(list(_TASKS.iterdir())) <= count)  # without being closed
    finally:
        torch.set_num_threads(before)
    assert seen[0] > count


def test_an_error_is_delivered_and_the_next_order_drawn():
    scribe = RenderQueue()
    scribe.order(order(0, lambda: 1 / 0))
    scribe.order(order(1, lambda: sys.exit(3)))
    scribe.order(order(2))
    first, second, third = scribe.close()
    assert isinstance(first.error, ZeroDivisionError)
    assert "SystemExit" in str(second.error)
    assert third.error is None


def test_without_threads_left_it_draws_at_once(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    scribe = RenderQueue()
    scribe.order(order(0, lambda: time.sleep(0.01) or []))
    monkeypatch.setattr(threading.Thread, "start", start)
    scribe.order(order(1))
    assert [each.step for each in scribe.take()] == [0, 1]


def test_in_place_it_draws_at_once_and_lets_an_interrupt_pass():
    scribe = RenderQueue(background=False)
    scribe.order(order(0))
    assert [each.step for each in scribe.take()] == [0]

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scribe.order(order(1, interrupted))


def test_a_copy_starts_with_nothing_on_its_way():
    scribe, gate = RenderQueue(), threading.Event()
    scribe.order(order(0, lambda: gate.wait(_PATIENCE) and []))
    assert copy.deepcopy(scribe).close() == []
    gate.set()
    assert len(scribe.close()) == 1
