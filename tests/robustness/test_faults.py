"""Every fault of `python -m benchmarks.faults` costs one warning, and training notices none."""

import pytest
import torch
from helpers.training import QUIET

from benchmarks.faults import FAULTS, SICK, injected, same, preserve_model_state
from lightning_cam.runtime.errors import ErrorPolicy
from lightning_cam.runtime.chunking import AdaptiveChunkSize, is_out_of_memory

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return preserve_model_state(tmp_path_factory.mktemp("preserve_model_state"))


def test_there_are_enough_faults():
    assert len(FAULTS) >= 25


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_one_warning_and_nothing_else(name, reference, tmp_path):
    fault, found = FAULTS[name], injected(name, tmp_path)
    assert (found.ended is None) if fault.ends is None else isinstance(found.ended, fault.ends)
    assert found.epochs == fault.epochs
    assert same(found.state, reference[found.epochs - 1])
    assert [fault.seen in words for words in found.warnings] == [True] * bool(fault.seen)
    assert found.halves == []
    assert found.hooks == 0


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.strict])
def test_strict_raises(name, tmp_path):
    assert isinstance(injected(name, tmp_path, strict=True).ended, Exception)


def test_another_training_is_told_from_the_undisturbed_one(reference):
    assert not same(reference[SICK], reference[SICK - 1])
    other = [t.clone() for t in reference[0]]
    other[0].flatten()[0] += 1e-6
    assert not same(other, reference[0])


# --- the parts -----------------------------------------------------------------------------------


def ran_with(most, start=64, count=32, *, fixed=False):
    """Return the chunk sizes tried where memory holds `most` images."""
    tried = []

    def compute(size):
        tried.append(size)
        if min(size, count) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    chunk = AdaptiveChunkSize(start, fixed=fixed)
    try:
        chunk.fitting(compute, count)
    except torch.OutOfMemoryError:
        tried.append("gave up")
    return tried, chunk.now


def test_chunks_are_halved_until_they_fit_and_stay_so():
    assert ran_with(5) == ([64, 16, 8, 4], 4)
    assert ran_with(0) == ([64, 16, 8, 4, 2, 1, "gave up"], 1)
    assert ran_with(5, fixed=True) == ([64, "gave up"], 16)


def test_other_errors_are_not_tried_again():
    with pytest.raises(RuntimeError, match="other"):
        AdaptiveChunkSize(8).fitting(lambda _: (_ for _ in ()).throw(RuntimeError("other")), 8)
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_numbers_and_paths_do_not_make_a_fault_a_new_one():
    told = []
    faults = ErrorPolicy(strict=False, warn=told.append)
    for n in range(100):
        faults.tell("a look", RuntimeError(f"Tried to allocate {n}.5 GiB at 0x{n:x}"))
        faults.tell("a file", OSError(28, "No space left on device", f"step={n}.png"))
    assert len(told) == 2


def test_a_run_with_a_new_fault_each_time_is_told_of_a_bounded_number():
    told = []
    faults = ErrorPolicy(strict=False, warn=told.append)
    for n in range(100):
        faults.tell("a look", RuntimeError("x" * n))
    assert len(told) == 21
    assert "no more is told" in told[-1]
