"""Both Lightning packages, every precision, compiled modules, manual optimization."""

import math

import lightning.pytorch as pl
import pytest
import pytorch_lightning
import torch
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    Validated,
    cam_scalars,
    events_of,
    fit,
    fit_with_tensorboard,
    image_steps,
    image_tags,
    loader,
    make_trainer,
    scalar_steps,
    small,
)
from torch.nn import functional as F

from lightning_cam import CAMCallback, Probe, compute_cams, metrics

pytestmark = QUIET


class StandaloneModule(Validated, pytorch_lightning.LightningModule):
    """The same classifier for `pytorch_lightning`."""


@pytest.mark.parametrize(
    ("trainer_class", "module_class"),
    [(pl.Trainer, Module), (pytorch_lightning.Trainer, StandaloneModule)],
    ids=["lightning", "pytorch_lightning"],
)
def test_both_packages_give_the_same_metrics(tmp_path, trainer_class, module_class):
    reference = fit(tmp_path / "reference", small()).callback_metrics
    package = {pl.Trainer: pl, pytorch_lightning.Trainer: pytorch_lightning}[trainer_class]
    logger = package.loggers.TensorBoardLogger(tmp_path, name="tb")
    trainer = make_trainer(tmp_path, [small()], trainer_class, logger=logger)
    trainer.fit(module_class(), loader(), loader())
    found = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("cam/")}
    assert found
    assert all(v == reference[k] or v.isnan() for k, v in found.items())
    assert list(tmp_path.rglob("*.png")) == list((tmp_path / "reference").rglob("*.png"))
    assert "cam/timeline" in image_tags(events_of(trainer))


def test_the_callback_is_a_callback_of_both_packages():
    assert isinstance(CAMCallback(), pl.Callback)
    assert isinstance(CAMCallback(), pytorch_lightning.Callback)


# --- precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true", "32-true"])
def test_the_callback_evaluates_in_every_precision(tmp_path, precision):
    callback = small(method=["gradcam", "layercam"], strict=True)
    trainer, events = fit_with_tensorboard(tmp_path, callback, precision=precision)
    assert trainer.callback_metrics["cam/enrichment"].isfinite()
    assert len(image_tags(events)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_low_precision_gives_about_the_metrics_of_full_precision(tmp_path, precision):
    low, full = MetricsLog(), MetricsLog()
    fit(tmp_path / "low", small(strict=True), low, precision=precision)
    fit(tmp_path / "full", small(strict=True), full)
    for name in ("enrichment", "entropy", "center_x", "center_y", "label_confidence"):
        expected = full.of(f"cam/{name}")[0]
        assert low.of(f"cam/{name}")[0] == pytest.approx(expected, rel=0.1), name


class Recomputed(pl.Callback):
    """Computes the maps again outside the trainer's precision context, metrics in float32."""

    def __init__(self, probe):
        self.probe = probe
        self.values = []

    def on_validation_end(self, trainer, pl_module):
        if trainer.sanity_checking:
            return
        dtype = next(pl_module.parameters()).dtype
        result = compute_cams(
            pl_module, self.probe.images.to(dtype), self.probe.targets, layers="net.3"
        )
        maps = result["gradcam", "net.3"]
        x, y = metrics.center(maps).double().nanmean(0).tolist()
        found = {
            "cam/center_x": x,
            "cam/center_y": y,
            "cam/entropy": metrics.entropy(maps).double().nanmean().item(),
            "cam/enrichment": metrics.enrichment(maps, self.probe.masks).double().nanmean().item(),
        }
        self.values.append(found)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "32-true"])
def test_metrics_are_computed_in_full_precision_whatever_the_model_runs_in(tmp_path, precision):
    data, log = Squares(8, side=20), MetricsLog()  # a grid of 10, no power of 2, shows rounding
    probe = Probe(data.images, data.targets, masks=data.masks)
    recomputed = Recomputed(probe)
    callback = CAMCallback(probe, layers="net.3", num_pictures=0, strict=True)
    fit(tmp_path, callback, log, recomputed, precision=precision)
    for name, value in recomputed.values[0].items():
        assert log.of(name)[0] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_the_default_dtype_does_not_change(tmp_path, precision):
    fit(tmp_path, small(strict=True), precision=precision)
    assert torch.get_default_dtype() == torch.float32


# --- compiled ------------------------------------------------------------------------------------


def compiled_run(folder, *callbacks):
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    log = MetricsLog()
    module = torch.compile(Module(), backend="eager")
    trainer = make_trainer(folder, [*callbacks, log], max_epochs=2)
    trainer.fit(module, loader(), loader())
    return log.metrics, counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.skipif(
    torch.__version__ < (2, 7), reason="torch 2.6 cannot compile a module that logs"
)
# dynamo inspects the loss that `self.log` gets, and torch warns about its `.grad`
@pytest.mark.filterwarnings("ignore:Graph break due to unsupported builtin")  # torch 2.6 itself
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_a_compiled_module_is_evaluated_without_recompiling(tmp_path):
    plain, graphs = compiled_run(tmp_path / "plain")
    monitored, graphs_monitored = compiled_run(tmp_path / "monitored", small(strict=True))
    eager = MetricsLog()
    fit(tmp_path / "eager", small(strict=True), eager, max_epochs=2)
    assert graphs_monitored == graphs
    assert [m["val_loss"] for m in monitored] == [m["val_loss"] for m in plain]
    for name in ("enrichment", "jsd_first", "mean_activation"):
        compiled = [m[f"cam/{name}"] for m in monitored]
        assert compiled == pytest.approx(eager.of(f"cam/{name}"), rel=1e-4), name


@pytest.mark.slow
def test_layers_of_a_compiled_part_have_their_plain_names(tmp_path):
    torch._dynamo.reset()
    module = Module()
    module.net = torch.compile(module.net, backend="eager")
    trainer = fit(tmp_path, small(strict=True, layers="net.3"), module=module)
    assert trainer.callback_metrics["cam/enrichment"].isfinite()


# --- several optimizers --------------------------------------------------------------------------


class TwoOptimizers(Module):
    """Steps two optimizers per batch, so that `global_step` is twice the number of batches."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.manual_backward(loss)
            optimizer.step()
        self.log("train_loss", loss, on_step=False, on_epoch=True)

    def configure_optimizers(self):
        body, head = list(self.net[:4].parameters()), list(self.net[6].parameters())
        return [torch.optim.SGD(part, lr=0.05) for part in (body, head)]


def test_with_two_optimizers_images_are_at_the_steps_of_the_scalars(tmp_path):
    trainer, events = fit_with_tensorboard(
        tmp_path, small(strict=True), module=TwoOptimizers(), max_epochs=2, val_check_interval=2
    )
    assert trainer.global_step == 16
    steps = scalar_steps(events, "val_loss")
    assert len(steps) == 4
    assert max(steps) < 8
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "cam/entropy") == steps
    assert not any(math.isnan(e.value) for e in events.Scalars("cam/enrichment"))
    assert cam_scalars(events)


# --- strategies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stage_3", "refused"),
    [
        ("FSDPStrategy", False, True),
        ("DeepSpeedStrategy", True, True),
        ("DeepSpeedStrategy", False, False),
    ],
)
def test_weights_that_only_their_wrapper_can_gather_are_refused_at_setup(name, stage_3, refused):
    class Trainer:
        strategy = type(name, (), {"zero_stage_3": stage_3})()

    if refused:
        with pytest.raises(ValueError, match="Use ModelParallelStrategy with"):
            CAMCallback().setup(Trainer(), Module(), "fit")
    else:
        CAMCallback().setup(Trainer(), Module(), "validate")
