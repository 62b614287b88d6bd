"""Paths: checked before the work; outputs are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def check_run(folder: Path) -> None:
    """Raise ValueError unless `folder`, of a run, is there."""
    if not folder.is_dir():
        raise ValueError(f"expected the folder of a run, got {folder}: no such folder")


def check_folder(folder: Path) -> None:
    """Raise ValueError unless files can be written into `folder`; creates nothing."""
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ValueError(f"expected --out as a folder, got {folder}: {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"expected --out where files can be written, got {folder}")


def check_file(file: Path) -> None:
    """Raise ValueError unless `file` can be written; creates nothing."""
    if file.is_dir():
        raise ValueError(f"expected --out as a file, got {file}, which is a folder")
    check_folder(file.parent)


def check_new(folder: Path) -> None:
    """Raise ValueError unless `folder` is new or empty and can be written."""
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"expected --out as a new or empty folder, got {folder}, which is not empty. "
            "Delete it or name another one."
        )


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `folder` on success and deleted on failure."""
    folder = folder.absolute()
    half = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)  # of a run that was killed
    half.mkdir(parents=True)
    try:
        yield half
        if folder.exists():
            folder.rmdir()
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
