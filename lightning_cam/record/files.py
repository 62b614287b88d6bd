"""Where a record lies, and how its lines are told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = 1
HEADER, LOOK = "probe", "look"
_FOLDER = "lightning_cam"


def record_folder(run: Path) -> Path:
    """Return the folder of a run's records."""
    return run / _FOLDER


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a record that are whole.

    A process that is killed or a disk that is full tears a line, and a resumed run writes on after
    it: what does not parse is left out, wherever it stands.
    """
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


def ends_torn(path: Path) -> bool:
    """Tell whether a file's last line has no end."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
