"""`find_runs`, `open_record`: the runs below the folders that are served, and nothing outside."""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from lightning_cam.output.record.format import record_folder

MOST_RUNS = 500
MOST_RECORDS = 50  # of one run: a file per probe
_MOST_FOLDERS = 20_000  # that are searched
_DEEPEST = 12  # levels below a given folder
_ENDING = ".jsonl"


def find_runs(roots: Sequence[Path]) -> list[Path]:
    """Return the folders of runs at and below `roots`, each once, in the order of their names.

    A run is a folder with `lightning_cam/*.jsonl` in it. Links are not followed, so that nothing is
    found outside of the given folders, and hidden folders are not searched.

    Args:
        roots: folders; each may be a link itself.
    """
    found: dict[Path, None] = {}
    for root in roots:
        real = root.resolve()
        inside = record_folder(real.parent) == real  # the folder of the records itself was given
        for folder in _folders(real.parent if inside else real, deep=not inside):
            if record_files(folder):
                found[folder] = None
            if len(found) >= MOST_RUNS:
                return list(found)
    return list(found)


def record_files(run: Path) -> list[Path]:
    """Return the files of a run's records, in the order of their names; links are left out."""
    folder = record_folder(run)
    try:
        if folder.is_symlink():
            return []
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.name.endswith(_ENDING) and entry.is_file(follow_symlinks=False)
            ]
    except OSError:  # there is none, or it may not be read
        return []
    return [folder / name for name in sorted(names)[:MOST_RECORDS]]


def open_record(path: Path) -> BinaryIO:
    """Open a record for reading.

    Raises:
        OSError: it is gone, no plain file, or has become a link since it was found.
    """
    if path.resolve() != path:
        raise OSError(f"expected a file below the folders that are served, got a link: {path}")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"expected a plain file, got another kind: {path}")
    return os.fdopen(handle, "rb")


def _folders(root: Path, *, deep: bool) -> Iterator[Path]:
    start = len(root.parts)
    walked = itertools.islice(os.walk(root, followlinks=False), _MOST_FOLDERS)
    for place, folders, _ in walked:
        folder = Path(place)
        yield folder
        if not deep or len(folder.parts) - start >= _DEEPEST:
            folders.clear()
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which `version_2` comes before `version_10`."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]
