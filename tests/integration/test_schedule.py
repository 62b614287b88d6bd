"""At which validations and steps the callback evaluates, and how the time budget limits it."""

import lightning.pytorch as pl
import pytest
import torch
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    fit,
    fit_with_tensorboard,
    history_of,
    image_steps,
    loader,
    make_trainer,
    scalar_steps,
    small,
)

from lightning_cam import CAMCallback
from lightning_cam.monitor.schedule import Budget

pytestmark = QUIET


def test_trainer_validate_evaluates_although_inference_mode_is_on(tmp_path):
    modes = []

    class ModeLog(pl.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            modes.append(torch.is_inference_mode_enabled())

    trainer = make_trainer(tmp_path, [small(), ModeLog()])
    (metrics,) = trainer.validate(Module(), loader(), verbose=False)
    assert modes == [True]
    assert metrics["cam/enrichment"] > 0
    assert metrics["cam/entropy"] <= 1
    assert trainer.callback_metrics["cam/zero_map_fraction"] < 1
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_validate_gives_the_metrics_of_the_last_validation_of_fit(tmp_path):
    log, module = MetricsLog(), Module()
    fit(tmp_path, small(), log, module=module)
    trainer = make_trainer(tmp_path, [small()])
    (metrics,) = trainer.validate(module, loader(), verbose=False)
    assert metrics["cam/enrichment"] == log.of("cam/enrichment")[-1]


def test_validate_shows_a_metric_in_the_progress_bar(tmp_path):
    trainer = make_trainer(tmp_path, [small(progress_bar="iou")])
    (metrics,) = trainer.validate(Module(), loader(), verbose=False)
    assert metrics["cam/iou"] == pytest.approx(float(trainer.progress_bar_metrics["cam/iou"]))


def test_validate_does_not_change_the_history_of_fit(tmp_path):
    callback, module = small(), Module()
    trainer = make_trainer(tmp_path, [callback])
    trainer.validate(module, loader(), verbose=False)
    trainer.fit(module, loader(), loader())
    assert callback.state_dict()["validations"] == 1
    assert trainer.callback_metrics["cam/jsd_first"] == 0


def test_nothing_is_evaluated_in_predict(tmp_path):
    callback, module = small(), Module()
    trainer = make_trainer(tmp_path, [callback])
    trainer.predict(module, loader(torch.rand(2, 3, 16, 16)))
    assert callback.state_dict()["validations"] == 0
    assert list(tmp_path.rglob("*.png")) == []


def test_several_validation_loaders_give_one_evaluation(tmp_path):
    callback = small()
    trainer, events = fit_with_tensorboard(
        tmp_path, callback, val=[loader(Squares(8, seed=1)), loader(Squares(8, seed=2))]
    )
    assert len(events.Images("cam/timeline")) == 1
    assert "cam/enrichment" in trainer.callback_metrics
    first = Squares(8, seed=1)
    (probe,) = callback.probes.values()
    assert all(
        torch.equal(image, first.images[int(name.split("-")[-1])])
        for image, name in zip(probe.images, probe.ids, strict=True)
    )


def test_every_validation_within_an_epoch_is_evaluated(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(), val_check_interval=2, max_epochs=2)
    steps = scalar_steps(events, "val_loss")
    assert len(steps) == 4
    assert image_steps(events, "cam/timeline") == steps == scalar_steps(events, "cam/entropy")


def test_validation_at_every_second_epoch(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(), check_val_every_n_epoch=2, max_epochs=4)
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "val_loss")
    assert len(image_steps(events, "cam/timeline")) == 2


def test_step_based_validation_across_epochs(tmp_path):
    _, events = fit_with_tensorboard(
        tmp_path, small(), check_val_every_n_epoch=None, val_check_interval=3, max_epochs=3
    )
    assert len(scalar_steps(events, "val_loss")) == 4
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "val_loss")


def test_with_accumulated_gradients_images_are_at_the_steps_of_the_scalars(tmp_path):
    _, events = fit_with_tensorboard(
        tmp_path, small(), accumulate_grad_batches=3, val_check_interval=1, max_epochs=2
    )
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "val_loss")


@pytest.mark.parametrize("sanity_steps", [0, 2, -1])
def test_the_sanity_check_is_not_logged(tmp_path, sanity_steps):
    callback = small()
    _, events = fit_with_tensorboard(tmp_path, callback, num_sanity_val_steps=sanity_steps)
    assert image_steps(events, "cam/timeline") == [3]
    assert scalar_steps(events, "cam/enrichment") == [3]
    assert callback.state_dict()["validations"] == 1


def test_every_n_validations_evaluates_every_nth(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(every_n_validations=2), max_epochs=5)
    steps = scalar_steps(events, "val_loss")
    assert image_steps(events, "cam/timeline") == steps[::2]
    assert scalar_steps(events, "cam/entropy") == steps[::2]


# --- the time budget -----------------------------------------------------------------------------


def test_without_time_left_only_the_first_validation_is_evaluated(tmp_path):
    log = MetricsLog()
    callback = small(max_overhead=1e-9)
    fit(tmp_path, callback, log, max_epochs=3)
    assert history_of(callback).count == 1
    assert len({entry["cam/enrichment"] for entry in log.metrics}) == 1


def test_with_time_left_every_validation_is_evaluated_and_the_overhead_is_logged(tmp_path):
    log = MetricsLog()
    callback = small(max_overhead=0.999999)
    fit(tmp_path, callback, log, max_epochs=3)
    assert history_of(callback).count == 3
    shares = log.of("cam/overhead")
    assert all(0 < share < 1 for share in shares)


@pytest.mark.parametrize("max_overhead", [0, 1, -0.5, 2])
def test_an_overhead_outside_of_0_to_1_is_refused(max_overhead):
    with pytest.raises(ValueError, match="max_overhead between 0 and 1"):
        CAMCallback(max_overhead=max_overhead)


def test_the_budget_waits_until_the_next_evaluation_fits(monkeypatch):
    clock = iter([0.0, 0.0, 0.0, 1.0, 1.5, 100.0])
    monkeypatch.setattr("lightning_cam.monitor.schedule.time.perf_counter", lambda: next(clock))
    budget = Budget(0.02)
    budget.start()
    assert budget.allows()  # the first evaluation always
    budget.begin()
    budget.end()
    assert not budget.allows()  # 2 of 2.5 seconds
    assert budget.allows()  # 2 of 101 seconds
