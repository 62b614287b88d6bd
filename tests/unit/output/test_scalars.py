"""`ScalarLog`: full names of metrics, and the loggers that get them."""

import math

import pytest

from lightning_cam.metrics.selection import MetricSelection
from lightning_cam.output.scalars import ScalarLog
from lightning_cam.runtime.errors import ErrorPolicy


class Logger:
    """A logger that keeps what is logged, or raises."""

    def __init__(self, error=None):
        self.logged, self.error = [], error

    def log_metrics(self, metrics, step):
        if self.error:
            raise self.error
        self.logged.append((metrics, step))


@pytest.fixture
def messages():
    return []


@pytest.fixture
def scalars(messages):
    return ScalarLog("cam", MetricSelection("all"), ErrorPolicy(warn=messages.append))


def log(scalars, metrics, step=0, loggers=(), log_scalars=None, **options):
    """Log metrics of one probe by plain name."""
    scalars.log([("cam", metrics)], step, loggers, log_scalars, **options)


def test_names_start_with_the_probes_tag_and_those_of_gaps_with_the_monitors(scalars):
    metrics = {"enrichment": 1.0, "enrichment/layercam@layer4": 2.0, "gap/enrichment": 0.5}
    scalars.log([("cam/val", metrics)], 0, [], None)
    assert scalars.latest == {
        "cam/val/enrichment": 1.0,
        "cam/val/enrichment/layercam@layer4": 2.0,
        "cam/gap/enrichment": 0.5,
    }


def test_every_logger_gets_all_scalars_under_the_step(scalars):
    loggers = [Logger(), Logger()]
    log(scalars, {"iou": 0.5}, 39, loggers)
    assert [logger.logged for logger in loggers] == [[({"cam/iou": 0.5}, 39)]] * 2


def test_a_function_takes_the_place_of_the_loggers(scalars):
    logger, taken = Logger(), []
    log(scalars, {"iou": 0.5}, 39, [logger], taken.append)
    assert logger.logged == []
    assert taken == [{"cam/iou": 0.5}]


def test_loggers_get_what_is_selected_required_or_of_a_rule(messages):
    scalars = ScalarLog("cam", MetricSelection(["a"]), ErrorPolicy(warn=messages.append))
    scalars.required = {"cam/b", "b/c"}
    logger = Logger()
    metrics = dict.fromkeys("abcd", 1.0)
    log(scalars, metrics, 3, [logger], of_rules=["c"])
    assert logger.logged == [({"cam/a": 1.0, "cam/b": 1.0, "cam/c": 1.0}, 3)]
    assert scalars.names == ["cam/a", "cam/b", "cam/c"]
    assert set(scalars.latest) == {"cam/a", "cam/b", "cam/c", "cam/d"}


def test_a_logger_that_raises_costs_one_warning_and_the_next_is_logged_to(scalars, messages):
    loggers = [Logger(OSError("no connection")), Logger()]
    for step in range(3):
        log(scalars, {"iou": 0.5}, step, loggers)
    assert len(messages) == 1
    assert "lightning_cam skipped scalars in a logger" in messages[0]
    assert len(loggers[1].logged) == 3


def test_errors_of_the_function_are_raised(scalars):
    """It calls Lightning's `log`, whose errors are about a wrong use."""

    def fail(metrics):
        raise ValueError("wrong hook")

    with pytest.raises(ValueError, match="wrong hook"):
        log(scalars, {"iou": 0.5}, log_scalars=fail)


def test_names_are_remembered_in_order_and_once(scalars):
    log(scalars, {"b": 1.0, "a": 1.0})
    log(scalars, {"a": 2.0, "c": 1.0})
    log(scalars, {})
    assert scalars.names == ["cam/b", "cam/a", "cam/c"]


def test_the_last_finite_values_are_remembered(scalars):
    log(scalars, {"a": 1.0, "b": math.nan})
    log(scalars, {"a": math.nan, "c": 3.0})
    log(scalars, {"a": 9.0}, remember=False)
    assert scalars.last == {"cam/a": 1.0, "cam/c": 3.0}


def test_what_is_forgotten_is_a_probes_and_that_of_the_gap(scalars):
    pairs = [("cam/val", {"a": 1.0}), ("cam/train", {"a": 2.0, "gap/a": 1.0})]
    scalars.log(pairs, 0, [], None)
    assert scalars.forget("cam/val")
    assert scalars.last == {"cam/train/a": 2.0}
    assert not scalars.forget("cam/val")


@pytest.mark.parametrize("damaged", [None, 3, ["cam/a"], {"cam/a": "x"}, {3: 1.0}, {"a": math.inf}])
def test_a_damaged_state_restores_nothing(scalars, damaged):
    scalars.load_state_dict(damaged)
    assert scalars.last == {}
