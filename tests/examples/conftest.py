"""Quiet, quick runs of the examples."""

import logging

import pytest


@pytest.fixture(autouse=True)
def _silent_lightning():
    """Keep Lightning's lines about devices out of the failures' reports."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def _no_progress_bar(monkeypatch):
    """Keep the bars out of what the examples print."""
    from lightning.pytorch.trainer.connectors.callback_connector import _CallbackConnector

    monkeypatch.setattr(_CallbackConnector, "_configure_progress_bar", lambda *_: None)
