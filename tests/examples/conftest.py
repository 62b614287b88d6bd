"""Fixtures that keep Lightning's messages and progress bars out of the output."""

import logging

import pytest


@pytest.fixture(autouse=True)
def _silent_lightning():
    """Turn off Lightning's lines about devices."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def _no_progress_bar(monkeypatch):
    """Turn off progress bars, which would be part of what the examples print."""
    from lightning.pytorch.trainer.connectors.callback_connector import _CallbackConnector

    monkeypatch.setattr(_CallbackConnector, "_configure_progress_bar", lambda *_: None)
