"""Where a record is stored, and its lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = 2
HEADER, EVALUATION = "probe", "evaluation"  # kinds of lines
_FOLDER = "lightning_cam"


def record_folder(run: Path) -> Path:
    """Return the folder of a run's records."""
    return run / _FOLDER


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of a record.

    A process that is killed or a full disk leaves an incomplete line, and a resumed run writes on
    after it, so lines that cannot be parsed are skipped wherever they are.
    """
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found
