"""`RenderQueue`: images are drawn in background threads, in order, a bounded number behind."""

import copy
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from helpers.pictures import moving, picture

from lightning_cam.output.render_queue import RenderJob, RenderQueue

_TASKS = Path("/proc/self/task")  # all threads of this process, Python's or not, on Linux
_TIMEOUT = 60.0  # seconds; nothing here takes one


def job(step, draw=list, formats=frozenset()):
    return RenderJob(draw, formats, step)


def wait_until(condition):
    """Wait for what another thread does."""
    end = time.monotonic() + _TIMEOUT
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.001)


def test_results_are_in_the_order_of_the_jobs_each_once():
    queue, results = RenderQueue(), []
    for step in range(20):
        queue.submit(job(step, lambda step=step: time.sleep(0.002 * (step % 3)) or []))
        results += queue.finished()
    results += queue.close()
    assert [each.step for each in results] == list(range(20))
    assert queue.close() == []


def test_images_are_drawn_and_encoded_in_another_thread(monkeypatch):
    threads = []

    def draw():
        threads.append(threading.current_thread())
        return [picture(), moving()]

    queue = RenderQueue()
    queue.submit(job(0, draw, frozenset({"jpeg"})))
    (result,) = queue.close()
    assert threads != [threading.main_thread()]
    still, film = result.pictures
    assert "jpeg" in vars(still)  # encoded, and kept
    assert "png" not in vars(still)
    assert "gif" in vars(film)


def test_jobs_of_an_evaluation_run_in_order_in_one_thread_whatever_one_of_them_raises():
    queue, threads = RenderQueue(), []

    def draw():
        threads.append(threading.get_ident())
        return []

    def failing():
        draw()
        sys.exit(3)

    queue.submit(job(0, failing), job(1, draw), job(2, draw))
    results = queue.close()
    assert [(each.step, each.error is None) for each in results] == [
        (0, False), (1, True), (2, True)
    ]  # fmt: skip
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_one_evaluation_too_many_waits_until_the_first_is_done():
    queue, gate, submitted = RenderQueue(), threading.Event(), []

    def submit_four():
        for step in range(4):
            queue.submit(job(step, lambda: gate.wait(_TIMEOUT) and []), job(step))
            submitted.append(step)

    thread = threading.Thread(target=submit_four, daemon=True)
    thread.start()
    wait_until(lambda: len(submitted) == 3)
    time.sleep(0.05)
    assert submitted == [0, 1, 2]
    gate.set()
    thread.join(_TIMEOUT)
    assert [each.step for each in queue.close()] == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux shows them")
def test_computations_on_several_cores_leave_no_worker_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.rand(1_000_000).sqrt()  # this thread's own worker
        count, seen = len(list(_TASKS.iterdir())), []

        def draw():
            torch.rand(1_000_000).sqrt()
            seen.append(len(list(_TASKS.iterdir())))
            return []

        queue, found = RenderQueue(), []
        queue.submit(job(0, draw))
        wait_until(lambda: found.extend(queue.finished()) or found)
        wait_until(lambda: len(list(_TASKS.iterdir())) <= count)  # without `close`
    finally:
        torch.set_num_threads(before)
    assert seen[0] > count


def test_an_error_is_a_result_and_the_next_job_is_drawn():
    queue = RenderQueue()
    queue.submit(job(0, lambda: 1 / 0))
    queue.submit(job(1, lambda: sys.exit(3)))
    queue.submit(job(2))
    first, second, third = queue.close()
    assert isinstance(first.error, ZeroDivisionError)
    assert "SystemExit" in str(second.error)
    assert third.error is None


def test_an_image_that_cannot_be_encoded_is_an_error():
    queue = RenderQueue(background=False)
    queue.submit(job(0, lambda: [picture(shape=(0, 9, 3))], frozenset({"png"})))
    (result,) = queue.finished()
    assert result.error is not None
    assert result.pictures == ()


def test_where_no_thread_can_be_started_images_are_drawn_at_once(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    queue = RenderQueue()
    queue.submit(job(0, lambda: time.sleep(0.01) or []))
    monkeypatch.setattr(threading.Thread, "start", start)
    queue.submit(job(1))
    assert [each.step for each in queue.finished()] == [0, 1]


def test_without_background_images_are_drawn_at_once_and_interrupts_are_raised():
    queue = RenderQueue(background=False)
    queue.submit(job(0))
    assert [each.step for each in queue.finished()] == [0]

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.submit(job(1, interrupted))


def test_a_copy_has_no_unfinished_jobs():
    queue, gate = RenderQueue(), threading.Event()
    queue.submit(job(0, lambda: gate.wait(_TIMEOUT) and []))
    assert copy.deepcopy(queue).close() == []
    gate.set()
    assert len(queue.close()) == 1
