"""One thread, no messages of Lightning, and a browser for the integration tests."""

import logging

import pytest
import torch
from helpers.browser import FLAGS, executable


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small tensors gain nothing from a second thread, and wait for it where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _silent_lightning():
    """Turn off Lightning's lines about devices."""
    names = ("lightning.pytorch.utilities.rank_zero", "pytorch_lightning.utilities.rank_zero")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="module")
def browser():
    """Chromium, where there is one."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        except sync_api.Error as error:
            pytest.skip(f"no browser to start: {error}".splitlines()[0])
        yield started
        started.close()
