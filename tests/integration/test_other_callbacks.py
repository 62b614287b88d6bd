"""Metrics read by `EarlyStopping`, `ModelCheckpoint` and the progress bar; the best evaluation."""

import math

import pytest
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    fit,
    history_of,
    small,
)
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_cam import CAMCallback

pytestmark = QUIET


@pytest.mark.parametrize("metric", ["cam/enrichment", "cam/jsd_previous"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_other_callbacks_can_monitor_metrics_in_any_order(tmp_path, metric, order):
    checkpoint = ModelCheckpoint(tmp_path, "best", monitor=metric, mode="max", save_top_k=1)
    early_stopping = EarlyStopping(metric, mode="max", patience=99)
    log = MetricsLog()
    callbacks = [small(), early_stopping, checkpoint]
    callbacks = [callbacks[i] for i in order]
    fit(tmp_path, *callbacks, log, max_epochs=3, enable_checkpointing=True)
    values = log.of(metric)
    assert len(values) == 3
    assert checkpoint.best_model_score.item() == max(values)
    assert early_stopping.best_score.item() == max(values)


@pytest.mark.parametrize("cam_first", [True, False])
def test_early_stopping_reads_the_value_of_the_same_validation(tmp_path, cam_first):
    early_stopping = EarlyStopping("cam/enrichment", mode="max", stopping_threshold=0.0)
    callbacks = [small(), early_stopping] if cam_first else [early_stopping, small()]
    trainer = fit(tmp_path, *callbacks, max_epochs=5)
    assert trainer.current_epoch == 1


def test_between_two_evaluations_monitors_read_the_last_value(tmp_path):
    early_stopping = EarlyStopping("cam/enrichment", mode="max", patience=99)
    log = MetricsLog()
    fit(tmp_path, small(every_n_validations=2), early_stopping, log, max_epochs=4)
    values = log.of("cam/enrichment")
    assert values[0] == values[1] != values[2] == values[3]


# --- the progress bar ----------------------------------------------------------------------------


def test_the_progress_bar_shows_the_chosen_metric_only(tmp_path):
    trainer = fit(tmp_path, small(progress_bar="enrichment"))
    assert "cam/enrichment" in trainer.progress_bar_metrics
    assert "cam/entropy" not in trainer.progress_bar_metrics


def test_an_unknown_metric_for_the_progress_bar_names_the_near_miss(tmp_path):
    module = Module()
    with pytest.raises(ValueError, match=r"unknown metric 'enrichmnt'. Did you mean 'enrichment'"):
        fit(tmp_path, small(progress_bar="enrichmnt"), module=module)
    assert module.trained == 0


# --- the best evaluation -------------------------------------------------------------------------


def test_the_best_evaluation_is_that_with_the_best_monitored_value(tmp_path):
    log, callback = MetricsLog(), small(monitor="val_loss", mode="min")
    fit(tmp_path, callback, log, max_epochs=4)
    losses = log.of("val_loss")
    best = losses.index(min(losses))
    assert history_of(callback).best.index == best


def test_without_a_monitor_the_label_confidence_decides(tmp_path):
    log, callback = MetricsLog(), small()
    fit(tmp_path, callback, log, max_epochs=3)
    values = log.of("cam/label_confidence")
    assert history_of(callback).best.index == values.index(max(values))


def test_a_monitor_that_is_never_logged_costs_a_warning(tmp_path):
    log = MetricsLog()
    with pytest.warns(UserWarning, match="'no such metric'. Known: val_loss"):
        fit(tmp_path, small(monitor="no such metric"), log, max_epochs=2)
    assert math.isfinite(log.metrics[-1]["cam/jsd_best"])


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode 'min' or 'max', got 'highest'"):
        CAMCallback(mode="highest")
