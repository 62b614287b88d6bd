"""Where a record is stored, and its lines."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

VERSION = 2
HEADER, EVALUATION = "probe", "evaluation"  # kinds of lines
_FOLDER = "lightning_cam"
_MOST_LISTED = 5
_warned: set[tuple[Path, tuple[int, ...]]] = set()


def record_folder(run: Path) -> Path:
    """Return the folder of a run's records."""
    return run / _FOLDER


def record_paths(run: Path) -> list[Path]:
    """Return the files of a run's records, in the order of their names."""
    return sorted(record_folder(run).glob("*.jsonl"))


def read_lines(path: Path, end: int | None = None) -> list[dict[str, Any]]:
    """Return the complete lines of a file of JSON objects; the others cost one warning.

    A process that is killed or a full disk leaves an incomplete line, and a resumed run writes on
    after it, so lines that cannot be parsed are left out wherever they are.

    Args:
        path: of the file.
        end: how many of its bytes are read, for a file that is being written; by default all.

    Raises:
        OSError: the file cannot be read.
    """
    found, damaged, left = [], [], end
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if left is not None:
                left -= len(line)
                if left < 0:
                    break
            if not line.strip():
                continue
            try:
                content = json.loads(line.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                content = None
            if isinstance(content, dict):
                found.append(content)
            else:
                damaged.append(number)
    _warn(path, damaged)
    return found


def _warn(path: Path, damaged: list[int]) -> None:
    """Warn once per file and process about lines that were left out."""
    key = (path.absolute(), tuple(damaged))
    if not damaged or key in _warned:
        return
    _warned.add(key)
    numbers = ", ".join(map(str, damaged[:_MOST_LISTED]))
    numbers += ", ..." if len(damaged) > _MOST_LISTED else ""
    some = f"line {numbers}" if len(damaged) == 1 else f"lines {numbers}"
    message = f"lightning_cam leaves out {some} of {path}: incomplete, or no JSON object."
    warnings.warn(message, RuntimeWarning, stacklevel=4)
