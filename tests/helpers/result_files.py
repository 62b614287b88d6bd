"""What commands in `tests/` share: environment, JSON files, Markdown tables."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch


def environment() -> dict[str, str]:
    """Return the versions that a result depends on, and the day."""
    packages = ("torch", "torchvision", "lightning")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "date": date.today().isoformat(),  # noqa: DTZ011 - the day, for readers
    }


def write_json(path: Path | None, content: Any) -> None:
    """Write results where `--json` says, if it was given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def markdown_row(*cells: object) -> str:
    """Return one row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    return "\n".join(markdown_row(*row) for row in (head, ["---"] * len(head), *rows))


def be_quiet() -> None:
    """Use one thread and let Lightning print errors only."""
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
