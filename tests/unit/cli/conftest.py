"""Fixtures that run a command in an empty working directory."""

import shutil
from pathlib import Path

import pytest
import skimage

from lightning_cam.cli import main

PHOTOGRAPH = Path(skimage.__file__).parent / "data" / "chelsea.png"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photo(here):
    """A real photograph in the working directory, as a relative path."""
    shutil.copy(PHOTOGRAPH, here / "cat.png")
    return "cat.png"


@pytest.fixture
def command(capsys):
    """Run a command and return its exit code, standard output and standard error."""

    def run(*arguments):
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as ending:
            code = ending.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
