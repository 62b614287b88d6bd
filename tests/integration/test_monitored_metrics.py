"""Metrics that other callbacks and schedulers monitor, and the metric that says what is best."""

import math

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
    loader,
    scalar_steps,
    small,
    squares_probe,
)
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_cam import Threshold

pytestmark = [
    *QUIET,
    # the second half of a run saves its checkpoint where the first half did
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]
WITH_LABELS_ONLY = 2  # items of a sample: image and label


class WithoutMasks(Squares):
    def __getitem__(self, index):
        return super().__getitem__(index)[:WITH_LABELS_ONLY]


class WithPlateau(Module):
    """Its scheduler needs a metric at every epoch."""

    monitored = "cam/enrichment"

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": self.monitored},
        }


class LoggingLate(Module):
    """Logs its metric in its own `on_validation_epoch_end`, which runs after that of callbacks."""

    values = (0.1, 0.9, 0.2, 0.3)

    def on_validation_epoch_end(self):
        done = -1 if self.trainer.sanity_checking else self.trainer.current_epoch
        self.log("val_score", self.values[done])


# --- after a resume -------------------------------------------------------------------------------


def train(folder, epochs, *callbacks, resume=False, **kwargs):
    return fit(
        folder,
        *callbacks,
        ModelCheckpoint(folder, save_last=True, save_top_k=0),
        max_epochs=epochs,
        enable_checkpointing=True,
        ckpt_path=folder / "last.ckpt" if resume else None,
        **kwargs,
    )


@pytest.mark.parametrize("metric", ["cam/enrichment", "cam/background_reliance"])
def test_early_stopping_finds_its_metric_between_evaluations_after_a_resume(tmp_path, metric):
    options = {"every_n_validations": 3, "interventions_every": 9, "probe": squares_probe(12)}
    train(tmp_path, 2, small(**options), EarlyStopping(metric, mode="max", patience=9))
    log = MetricsLog()
    stopping = EarlyStopping(metric, mode="max", patience=9)
    trainer = train(tmp_path, 5, small(**options), stopping, log, resume=True)
    assert trainer.current_epoch == 5
    assert all(math.isfinite(value) for value in log.of(metric))


def test_all_values_of_before_a_resume_stand_until_the_next_evaluation(tmp_path):
    before, after = MetricsLog(), MetricsLog()
    train(tmp_path, 1, small(every_n_validations=3), before)
    train(tmp_path, 3, small(every_n_validations=3), after, resume=True)

    def own(entry):
        return {k: v for k, v in entry.items() if k.startswith("cam/") and math.isfinite(v)}

    assert len(own(before.metrics[0])) > 50
    assert own(after.metrics[0]) == own(after.metrics[1]) == own(before.metrics[0])


def test_the_values_of_before_a_resume_are_no_new_points_in_a_logger(tmp_path):
    train(tmp_path, 1, small(every_n_validations=3))
    _, events = fit_with_tensorboard(
        tmp_path, small(every_n_validations=3), max_epochs=5, ckpt_path=tmp_path / "last.ckpt"
    )
    assert scalar_steps(events, "cam/enrichment") == [15]  # the fourth validation alone
    assert len(scalar_steps(events, "val_loss")) == 4


def test_a_plateau_scheduler_finds_its_metric_after_a_resume(tmp_path):
    options = {"every_n_validations": 3}
    train(tmp_path, 1, small(**options), module=WithPlateau())
    trainer = train(tmp_path, 3, small(**options), module=WithPlateau(), resume=True)
    assert trainer.current_epoch == 3


def test_early_stopping_finds_its_metric_in_a_validation_that_the_time_limit_skips(tmp_path):
    options = {"max_overhead": 1e-6}
    train(tmp_path, 1, small(**options))
    stopping = EarlyStopping("cam/enrichment", mode="max", patience=9)
    trainer = train(tmp_path, 4, small(**options), stopping, resume=True)
    assert trainer.current_epoch == 4


def test_with_another_probe_the_first_validation_after_a_resume_is_evaluated(tmp_path):
    train(tmp_path, 1, small(every_n_validations=3))
    log, callback = MetricsLog(), small(every_n_validations=3, seed=1)
    with pytest.warns(UserWarning, match="afresh.*another probe"):
        train(tmp_path, 2, callback, log, resume=True)
    assert log.of("cam/jsd_first") == [0.0]
    assert history_of(callback).count == 1


# --- metrics that a probe cannot have -------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "callbacks", "name"),
    [
        ({}, [EarlyStopping("cam/enrichment")], "EarlyStopping: cam/enrichment"),
        ({}, [ModelCheckpoint(monitor="cam/iou_random")], "ModelCheckpoint: cam/iou_random"),
        ({"alerts": [Threshold("enrichment", below=0.8)]}, [], "enrichment"),
        ({"progress_bar": "enrichment"}, [], "enrichment"),
    ],
    ids=["EarlyStopping", "ModelCheckpoint", "alerts", "progress_bar"],
)
@pytest.mark.filterwarnings("ignore:You called.*logger")
def test_a_metric_that_needs_masks_is_refused_by_that_name(tmp_path, arguments, callbacks, name):
    module = Module()
    with pytest.raises(ValueError, match=f"^{name} needs masks; this probe has none: give masks"):
        fit(
            tmp_path,
            small(**arguments),
            *callbacks,
            module=module,
            val=loader(WithoutMasks()),
            enable_checkpointing=True,
        )
    assert module.trained == 0


def test_a_scheduler_that_needs_masks_is_told_so(tmp_path):
    module = WithPlateau()
    with pytest.raises(
        ValueError, match=r"ReduceLROnPlateau: .* needs masks.*cam/label_confidence"
    ):
        fit(tmp_path, small(), module=module, val=loader(WithoutMasks()))
    assert module.trained == 0


def test_a_metric_without_a_probes_name_is_refused_with_the_name_that_it_has(tmp_path):
    module = Module()
    callback = small(probe={"train": "train", "val": "val"})
    with pytest.raises(ValueError, match=r"EarlyStopping: unknown.*Did you mean 'cam/val/enrich"):
        fit(tmp_path, callback, EarlyStopping("cam/enrichment"), module=module)
    assert module.trained == 0


def test_a_metric_of_interventions_that_are_never_made_is_refused(tmp_path):
    callback = small(interventions_every=0, probe=squares_probe(12))
    with pytest.raises(ValueError, match="cam/background_reliance needs interventions_every"):
        fit(tmp_path, callback, EarlyStopping("cam/background_reliance"))


def test_a_name_that_the_module_may_log_itself_is_not_refused(tmp_path):
    class Logging(Module):
        def on_validation_epoch_end(self):
            self.log("cam/of_mine", 1.0)

    with pytest.warns(UserWarning, match="EarlyStopping: unknown metric.* 'cam/of_mine'"):
        fit(tmp_path, small(), EarlyStopping("cam/of_mine"), module=Logging())


def test_metrics_of_another_callback_with_a_longer_tag_are_its_own_affair(tmp_path):
    inner = small(tag="cam/inner")
    stopping = EarlyStopping("cam/inner/enrichment", mode="max")
    trainer = fit(tmp_path, small(), inner, stopping)
    assert trainer.current_epoch == 1


# --- the best evaluation --------------------------------------------------------------------------


def test_the_best_is_decided_by_the_value_of_the_same_validation(tmp_path):
    callback = small(monitor="val_score", mode="max")
    fit(tmp_path, callback, module=LoggingLate(), max_epochs=4)
    history = history_of(callback)
    assert history.best.index == 1
    assert history.best_value == pytest.approx(0.9)


def test_what_a_checkpoint_monitors_decides_the_same(tmp_path):
    callback = small()
    checkpoint = ModelCheckpoint(tmp_path, monitor="val_score", mode="max")
    fit(
        tmp_path,
        callback,
        checkpoint,
        module=LoggingLate(),
        max_epochs=4,
        enable_checkpointing=True,
    )
    assert history_of(callback).best.index == 1


def test_a_metric_of_the_training_is_not_compared_with_the_labels_probability(tmp_path):
    callback, log = small(monitor="train_loss"), MetricsLog()
    fit(tmp_path, callback, log, max_epochs=4)
    history = history_of(callback)
    assert log.of("train_loss")[0] is None  # logged after the first validation
    assert history.monitored
    assert history.best.index == 3
    assert history.best_value < 0


def test_a_misspelt_monitor_is_refused_at_the_sanity_check(tmp_path):
    module = LoggingLate()
    with pytest.raises(ValueError, match=r"'val_scor'. Did you mean 'val_score'"):
        fit(tmp_path, small(monitor="val_scor"), module=module)
    assert module.trained == 0


def test_without_a_sanity_check_a_misspelt_monitor_is_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"'val_los'. Did you mean 'val_loss'") as caught:
        fit(tmp_path, small(monitor="val_los"), max_epochs=3, num_sanity_val_steps=0)
    assert len([each for each in caught if "val_los'" in str(each.message)]) == 1


def test_a_monitor_that_only_the_training_logs_is_no_misspelling(tmp_path):
    trainer = fit(tmp_path, small(monitor="train_loss"), max_epochs=2)
    assert trainer.current_epoch == 2


class Broken(Module):
    """Its forward pass fails from the second validation on; its steps do not use it."""

    def forward(self, images):
        if self.trainer.current_epoch:
            raise RuntimeError("broken")
        return super().forward(images)


def test_the_value_at_a_failed_evaluation_is_not_that_of_the_one_before(tmp_path):
    callback, log = small(monitor="val_loss"), MetricsLog()
    with pytest.warns(UserWarning, match=r"skipped an evaluation.*broken"):
        fit(tmp_path, callback, log, module=Broken(), max_epochs=3)
    assert log.of("val_loss")[-1] < log.of("val_loss")[0]
    assert history_of(callback).count == 1
    assert history_of(callback).best_value == pytest.approx(-log.of("val_loss")[0])


def test_a_metric_in_the_name_of_a_checkpoint_is_logged(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, filename="{epoch}-{cam/border_mass:.2f}")
    callbacks = small(), checkpoint
    known = {"max_epochs": 1, "enable_checkpointing": True}
    _, events = fit_with_tensorboard(tmp_path, *callbacks, **known)
    assert "cam/border_mass" in events.Tags()["scalars"]
    (path,) = (tmp_path / "epoch=0-cam").glob("border_mass=*.ckpt")
    assert "=0.00" not in path.name


def test_a_metric_in_the_name_of_a_checkpoint_that_is_never_measured_is_refused(tmp_path):
    """Lightning would write 0 into the name."""
    checkpoint = ModelCheckpoint(tmp_path, filename="{epoch}-{cam/enrichment:.2f}")
    module, known = Module(), {"enable_checkpointing": True, "val": loader(WithoutMasks())}
    with pytest.raises(ValueError, match=r"ModelCheckpoint\(filename=\): cam/enrichment needs"):
        fit(tmp_path, small(), checkpoint, module=module, **known)
    assert module.trained == 0
