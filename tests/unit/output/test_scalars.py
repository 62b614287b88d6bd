"""`ScalarLog`: full names of metrics, and the loggers that get them."""

import math

import pytest

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
    return ScalarLog("cam", ErrorPolicy(warn=messages.append))


def test_names_start_with_the_probes_tag_and_those_of_gaps_with_the_monitors(scalars):
    metrics = {"enrichment": 1.0, "enrichment/layercam@layer4": 2.0, "gap/enrichment": 0.5}
    assert scalars.full_names("cam/val", metrics) == {
        "cam/val/enrichment": 1.0,
        "cam/val/enrichment/layercam@layer4": 2.0,
        "cam/gap/enrichment": 0.5,
    }


def test_every_logger_gets_all_scalars_under_the_step(scalars):
    loggers = [Logger(), Logger()]
    scalars.log({"cam/iou": 0.5}, 39, loggers, None)
    assert [logger.logged for logger in loggers] == [[({"cam/iou": 0.5}, 39)]] * 2


def test_a_function_takes_the_place_of_the_loggers(scalars):
    logger, taken = Logger(), []
    scalars.log({"cam/iou": 0.5}, 39, [logger], taken.append)
    assert logger.logged == []
    assert taken == [{"cam/iou": 0.5}]


def test_a_logger_that_raises_costs_one_warning_and_the_next_is_logged_to(scalars, messages):
    loggers = [Logger(OSError("no connection")), Logger()]
    for step in range(3):
        scalars.log({"cam/iou": 0.5}, step, loggers, None)
    assert len(messages) == 1
    assert "lightning_cam skipped scalars in a logger" in messages[0]
    assert len(loggers[1].logged) == 3


def test_errors_of_the_function_are_raised(scalars):
    """It calls Lightning's `log`, whose errors are about a wrong use."""

    def fail(metrics):
        raise ValueError("wrong hook")

    with pytest.raises(ValueError, match="wrong hook"):
        scalars.log({"cam/iou": 0.5}, 0, [], fail)


def test_names_are_remembered_in_order_and_once(scalars):
    scalars.log({"cam/b": 1.0, "cam/a": 1.0}, 0, [], None)
    scalars.log({"cam/a": 2.0, "cam/c": 1.0}, 1, [], None)
    scalars.log({}, 2, [], None)
    assert scalars.names == ["cam/b", "cam/a", "cam/c"]


def test_the_last_finite_values_are_remembered(scalars):
    scalars.log({"cam/a": 1.0, "cam/b": float("nan")}, 0, [], None)
    scalars.log({"cam/a": float("nan"), "cam/c": 3.0}, 1, [], None)
    scalars.log({"cam/a": 9.0}, 1, [], None, remember=False)
    assert scalars.last == {"cam/a": 1.0, "cam/c": 3.0}


def test_what_is_forgotten_is_a_probes_and_that_of_the_gap(scalars):
    scalars.log({"cam/val/a": 1.0, "cam/train/a": 2.0, "cam/gap/a": 1.0}, 0, [], None)
    assert scalars.forget("cam/val")
    assert scalars.last == {"cam/train/a": 2.0}
    assert not scalars.forget("cam/val")


@pytest.mark.parametrize("damaged", [None, 3, ["cam/a"], {"cam/a": "x"}, {3: 1.0}, {"a": math.inf}])
def test_a_damaged_state_restores_nothing(scalars, damaged):
    scalars.load_state_dict(damaged)
    assert scalars.last == {}
