"""Commands run in a folder of their own, as users do."""

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
        told = capsys.readouterr()
        return code, told.out, told.err

    return run
