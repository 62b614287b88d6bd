"""Out-of-memory errors at setup and in slow panels cost a warning; the monitor goes on."""

import math

import lightning.pytorch as pl
import pytest
import torch
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    convnet,
    fit,
    history_of,
    png_files,
    small,
    squares_probe,
)
from lightning.pytorch.callbacks import EarlyStopping

from lightning_cam import CAMMonitor, Probe
from lightning_cam.monitor import diagnostics, map_computer

pytestmark = QUIET


class Memory:
    """Makes `compute_cams` and `maximize_activations` raise out-of-memory errors while full."""

    def __init__(self, monkeypatch):
        self.full = lambda images: True
        self.chunk_sizes = []
        self._patch(monkeypatch, map_computer, "compute_cams")
        self._patch(monkeypatch, diagnostics, "maximize_activations")

    def _patch(self, monkeypatch, module, name):
        function = getattr(module, name)

        def limited(model, images, *args, chunk_size, **kwargs):
            self.chunk_sizes.append(chunk_size)
            if self.full(images):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return function(model, images, *args, chunk_size=chunk_size, **kwargs)

        monkeypatch.setattr(module, name, limited)


class FreesMemory(pl.Callback):
    """Frees the memory when an epoch begins."""

    def __init__(self, memory, epoch):
        self.memory, self.epoch = memory, epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            self.memory.full = lambda images: False


@pytest.fixture
def memory(monkeypatch):
    return Memory(monkeypatch)


def test_without_memory_at_setup_evaluation_starts_at_a_later_validation(tmp_path, memory):
    log, module, callback = MetricsLog(), Module(), small()
    frees = FreesMemory(memory, epoch=2)
    with pytest.warns(UserWarning, match="skipped the setup of cam") as caught:
        trainer = fit(tmp_path, callback, log, frees, module=module, max_epochs=4)
    assert len([w for w in caught if "lightning_cam" in str(w.message)]) == 1
    assert trainer.state.finished
    assert module.trained == 16
    known = [math.isfinite(value) for value in log.of("cam/enrichment")]
    assert known == [False, False, True, True]
    assert history_of(callback).count == 2
    assert [path.split("/")[-1] for path in png_files(tmp_path) if "timeline" in path] == [
        "epoch=0002-step=00000011.png",
        "epoch=0003-step=00000015.png",
    ]


def test_callbacks_that_monitor_a_metric_find_it_although_setup_failed(tmp_path, memory):
    log = MetricsLog()
    early_stopping = EarlyStopping("cam/enrichment", mode="max", check_finite=False, patience=9)
    callbacks = (small(), early_stopping, log, FreesMemory(memory, epoch=2))
    with pytest.warns(UserWarning, match="skipped the setup of cam"):
        trainer = fit(tmp_path, *callbacks, max_epochs=3)
    assert trainer.current_epoch == 3
    assert early_stopping.best_score == log.of("cam/enrichment")[-1]


def test_an_error_at_the_first_attempt_only_makes_passes_smaller(tmp_path, memory):
    memory.full = lambda images: len(memory.chunk_sizes) == 1
    callback, log = small(), MetricsLog()
    with pytest.warns(UserWarning, match="ran out of memory with 64 .* goes on with 1"):
        fit(tmp_path, callback, log, max_epochs=2)
    assert all(math.isfinite(value) for value in log.of("cam/enrichment"))
    assert memory.chunk_sizes[0] == 64
    assert set(memory.chunk_sizes[1:]) == {1}


def test_a_probe_without_memory_does_not_keep_others_from_being_evaluated(memory):
    data = Squares(4, side=20)
    probes = {"small": squares_probe(), "large": Probe(data.images, data.targets)}
    memory.full = lambda images: images.shape[-1] == 20
    monitor = CAMMonitor(probes, alerts=())
    with pytest.warns(RuntimeWarning, match="skipped the setup of cam/large"):
        evaluations = monitor.evaluate(convnet())
    assert [evaluations[name].failed for name in probes] == [False, True]
    memory.full = lambda images: False
    evaluations = monitor.evaluate(convnet())
    assert not any(evaluation.failed for evaluation in evaluations.values())
    assert "gap/entropy" in evaluations["large"].metrics


def test_the_evaluation_of_a_probe_that_is_not_set_up_is_a_failed_one(memory):
    monitor, net = CAMMonitor(squares_probe(), alerts=()), convnet()
    with pytest.warns(RuntimeWarning, match="skipped the setup of cam"):
        evaluation = monitor.evaluate(net, epoch=5)
    assert evaluation.failed
    assert evaluation.epoch == 5
    assert math.isnan(evaluation.metrics["enrichment"])
    memory.full = lambda images: False
    assert monitor.evaluate(net).snapshot.index == 0


def test_strict_raises_the_error(memory):
    with pytest.raises(torch.OutOfMemoryError):
        CAMMonitor(squares_probe(), alerts=(), strict=True).evaluate(convnet())


def test_the_chunk_size_of_activation_maximization_is_halved_too(memory):
    def full(images):
        ascending = isinstance(images, tuple)  # the shape of the images to find
        return ascending and len(memory.chunk_sizes) > 3 and memory.chunk_sizes[-1] > 1

    memory.full = full
    monitor = CAMMonitor(
        squares_probe(),
        alerts=(),
        interventions_every=0,
        panels=["activation_maximization"],
        activation_maximization=[0, 1, 2, 3],
    )
    with pytest.warns(RuntimeWarning, match="ran out of memory with 64 .* goes on with 1"):
        evaluation = monitor.evaluate(convnet())
    assert evaluation.diagnostics.activations.images.shape == (4, 3, 16, 16)
    assert memory.chunk_sizes[-3:] == [64, 2, 1]
    memory.chunk_sizes.clear()
    monitor.evaluate(convnet())
    assert set(memory.chunk_sizes) == {1}  # for good
