"""Features of Lightning beside the callback: weight averaging, dry runs, several loaders, ..."""

import pytest
import torch
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    Validated,
    cam_scalars,
    fit,
    fit_with_tensorboard,
    image_tags,
    loader,
    small,
    squares_probe,
)
from lightning.pytorch import callbacks

from lightning_cam import CAMCallback

pytestmark = QUIET


def confidence(module, weights, probe):
    """Return the mean probability of the labels under given weights."""
    copy = Module()
    copy.load_state_dict(weights)
    with torch.no_grad():
        probabilities = copy.eval()(probe.images).softmax(dim=1)
    return float(probabilities[range(len(probe)), probe.targets].mean())


class WeightsLog(MetricsLog):
    """Keeps the weights that the module has after a validation: those that are not averaged."""

    def on_validation_end(self, trainer, pl_module):
        super().on_validation_end(trainer, pl_module)
        self.raw = {name: value.clone() for name, value in pl_module.state_dict().items()}


@pytest.mark.skipif(
    not hasattr(callbacks, "EMAWeightAveraging"), reason="this Lightning has no weight averaging"
)
def test_before_weight_averaging_averaged_weights_are_evaluated_and_after_it_raw_ones(tmp_path):
    probe = squares_probe()
    averaging = callbacks.EMAWeightAveraging(decay=0.9)
    log = WeightsLog()
    before, after = small(probe=probe, tag="before"), small(probe=probe, tag="after")
    fit(tmp_path, before, averaging, after, log, max_epochs=3, num_sanity_val_steps=0)
    averaged = averaging._average_model.module.state_dict()
    expected = [confidence(Module(), weights, probe) for weights in (averaged, log.raw)]
    logged = [log.metrics[-1][f"{tag}/label_confidence"] for tag in ("before", "after")]
    assert expected[0] != pytest.approx(expected[1], rel=1e-3)  # else the test shows nothing
    assert logged == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("steps", [True, 2])
def test_a_dry_run_evaluates_and_writes_no_file(tmp_path, steps):
    log = MetricsLog()
    callback = CAMCallback(probe_size=4, strict=True)
    trainer = fit(tmp_path, callback, log, logger=True, fast_dev_run=steps)
    assert trainer.state.finished
    assert "cam/enrichment" in log.metrics[0]
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


class TwoLoaders(Module):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        Validated.validation_step(self, batch, batch_idx, dataloader_idx)


def test_of_several_validation_loaders_the_first_is_sampled(tmp_path):
    first, second = Squares(8, seed=1), Squares(8, seed=2)
    callback = small(probe_size=8, strict=True)
    loaders = [loader(first), loader(second)]
    trainer, events = fit_with_tensorboard(tmp_path, callback, val=loaders, max_epochs=2)
    assert sorted(image.sum() for image in callback.probes["val"].images) == sorted(
        image.sum() for image in first.images
    )
    assert {"val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"} <= {*trainer.callback_metrics}
    assert "cam/enrichment" in cam_scalars(events)  # once, under its plain name
    assert not [name for name in cam_scalars(events) if "dataloader_idx" in name]
    assert len([*events.Scalars("cam/enrichment")]) == 2


def test_each_of_several_validation_loaders_can_be_a_probe(tmp_path):
    loaders = {"day": loader(Squares(8, seed=1)), "night": loader(Squares(8, seed=2))}
    callback = small(probe=loaders, strict=True)
    _, events = fit_with_tensorboard(tmp_path, callback, val=loaders)
    scalars = cam_scalars(events)
    assert {"cam/day/enrichment", "cam/night/enrichment", "cam/gap/enrichment"} <= {*scalars}
    assert any(tag.startswith("cam/night/overlay/") for tag in image_tags(events))
