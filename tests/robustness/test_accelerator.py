"""On an accelerator: the CPU's maps and metrics, in every precision, with few synchronisations.

`make gpu` runs this file and the benchmarks on a CUDA device. Without one these tests are left out,
unless LIGHTNING_CAM_DRY_RUN=1 has them run on the CPU, where they try the code but show nothing.
"""

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training import (
    QUIET,
    Module,
    Squares,
    fit,
    fit_with_tensorboard,
    loader,
    squares_probe,
)
from torch import nn
from torchvision.transforms import ToTensor

from lightning_cam import CAMCallback, CAMMonitor, compute_cams
from lightning_cam.output.record import read_run

CUDA = torch.cuda.is_available()
DRY_RUN = os.environ.get("LIGHTNING_CAM_DRY_RUN") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not (CUDA or DRY_RUN), reason="needs a CUDA device, none here"),
    *QUIET,
]
DEVICE = "cuda" if CUDA else "cpu"
ACCELERATOR = "gpu" if CUDA else "cpu"
METHODS = ["gradcam", "gradcam++", "layercam", "hirescam", "eigencam", "scorecam", "smoothgrad"]


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_those_of_the_cpu(method):
    module, images = Module().eval(), Squares(8).images
    expected = compute_cams(module, images, method=method)
    found = compute_cams(module.to(DEVICE), images.to(DEVICE), method=method)
    for key, maps in expected.maps.items():
        assert found.maps[key].device.type == DEVICE
        scale = maps.abs().amax().clamp(min=1e-6)
        torch.testing.assert_close(found.maps[key].cpu() / scale, maps / scale, rtol=0, atol=2e-3)


def test_photographs_go_to_the_model_and_are_drawn_there():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    photos = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 3), dtype=np.uint8)
    results = [
        compute_cams(model.to(to), photos, 1, transform=ToTensor()) for to in ("cpu", DEVICE)
    ]
    assert results[1].images.device.type == results[1]["gradcam"].device.type == DEVICE
    expected, found = (result.overlay().astype(int) for result in results)
    assert np.abs(found - expected).max() <= 2
    moved = results[1].cpu()
    assert moved.images.device.type == "cpu"
    assert np.abs(moved.overlay() - expected).max() <= 2
    assert results[1]._repr_html_().count("<figure") == 3


def test_metrics_are_those_of_the_cpu():
    found = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        module = Module().eval().to(device)
        monitor = CAMMonitor(squares_probe(16), draw=False)
        found.append(monitor.evaluate(module).metrics)
    # Noise is drawn on the device, whose stream is another one.
    names = [name for name in found[0] if not name.startswith(("noise_reliance", "shortcut_score"))]
    for name in names:
        assert found[1][name] == pytest.approx(found[0][name], rel=2e-2, abs=2e-3, nan_ok=True), (
            name
        )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true"])
def test_a_training_is_monitored_in_every_precision(tmp_path, precision):
    if precision.startswith("16") and not CUDA:
        pytest.skip("needs a CUDA device, none here")
    trainer = fit(
        tmp_path, CAMCallback(squares_probe(12), num_pictures=2, strict=True),
        max_epochs=2, precision=precision, accelerator=ACCELERATOR,
    )  # fmt: skip
    assert trainer.callback_metrics["cam/entropy"].isfinite()


@pytest.mark.skipif(not CUDA, reason="other tests compile for the CPU, which takes long")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_training_is_monitored(tmp_path, mode):
    """`reduce-overhead` replays CUDA graphs, whose memory the next replay overwrites."""
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler, none here")
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = fit(
            tmp_path, CAMCallback(squares_probe(12), num_pictures=0, strict=True),
            module=torch.compile(Module(), mode=mode), max_epochs=2, accelerator=ACCELERATOR,
        )  # fmt: skip
    assert trainer.callback_metrics["cam/entropy"].isfinite()


def test_channels_last_changes_no_map():
    module, images = Module().eval().to(DEVICE), Squares(8).images.to(DEVICE)
    expected = compute_cams(module, images)
    with_strides = images.contiguous(memory_format=torch.channels_last)
    found = compute_cams(module.to(memory_format=torch.channels_last), with_strides)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(found.maps[key], maps, rtol=1e-2, atol=1e-3)


def test_the_record_names_the_device(tmp_path):
    trainer, _ = fit_with_tensorboard(
        tmp_path, CAMCallback(squares_probe(12), num_pictures=1), accelerator=ACCELERATOR
    )
    (record,) = read_run(trainer.loggers[0].log_dir)
    assert record.environment["device"].startswith(DEVICE)


def test_synchronisations_of_an_evaluation_are_counted(record_property, recwarn):
    """Counted by torch, one warning each; the number goes into the results of `make gpu`."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    net, monitor = net.eval().to(DEVICE), CAMMonitor(squares_probe(16), draw=False, alerts=())
    for epoch in range(5):  # exchanges are due at these
        monitor.evaluate(net, epoch=epoch)
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
    recwarn.clear()
    try:
        monitor.evaluate(net, epoch=5)
    finally:
        if CUDA:
            torch.cuda.set_sync_debug_mode("default")
    counted = [each for each in recwarn if "synchron" in str(each.message)]
    places = sorted({f"{Path(each.filename).name}:{each.lineno}" for each in counted})
    record_property("synchronisations", json.dumps({"count": len(counted), "places": places}))
    assert CUDA or not counted


def test_memory_is_given_back():
    if not CUDA:
        pytest.skip("needs a CUDA device, none here")
    module = Module().eval().to(DEVICE)
    monitor = CAMMonitor(squares_probe(16), draw=False)
    used = []
    for epoch in range(6):
        monitor.evaluate(module, epoch=epoch)
        torch.cuda.synchronize()
        used.append(torch.cuda.memory_allocated())
    assert used[-1] == used[2]


def test_batches_of_the_device_are_recognised(tmp_path):
    """The comparison with the model's own outputs sees batches on the device, probes on the CPU."""
    data = Squares(12, seed=3)
    callback = CAMCallback("val", num_pictures=0, strict=True)
    trainer = fit(tmp_path, callback, val=loader(data), max_epochs=1, accelerator=ACCELERATOR)
    assert trainer.callback_metrics["cam/label_confidence"].isfinite()
