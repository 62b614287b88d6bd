"""Compute a map of every image model of torchvision, timm and transformers, without weights.

    python -m model_zoo [--library NAME] [--only PATTERN] [--json FILE]   # in tests/

The exit status is 1 where a model gets no sensible map.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import fnmatch
import gc
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from helpers.result_files import environment, write_json
from model_zoo.check import Row, row_of
from model_zoo.models import LIBRARIES


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return per library how many models and families get a map."""
    summary = {}
    for library in dict.fromkeys(row.library for row in rows):
        mine = [row for row in rows if row.library == library]
        tried = [row for row in mine if row.status != "out of scope"]
        good = [row for row in tried if row.status == "ok"]
        summary[library] = {
            "models": len(tried),
            "ok": len(good),
            "percent": round(100 * len(good) / max(1, len(tried)), 1),
            "families": len({row.family for row in tried}),
            "families_ok": len({row.family for row in good}),
            "out_of_scope": len(mine) - len(tried),
        }
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="model_zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--library", choices=LIBRARIES, help="one instead of all")
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="names of models or families"
    )
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    for library in [args.library] if args.library else LIBRARIES:
        for entry in LIBRARIES[library]():
            if any(fnmatch.fnmatch(name, args.only) for name in (entry.name, entry.family)):
                torch.manual_seed(0)
                rows.append(row_of(entry))
                print(rows[-1], flush=True)
                gc.collect()
    summary = summarize(rows)
    for library, counts in summary.items():
        print(
            f"{library}: {counts['ok']} of {counts['models']} models, "
            f"{counts['families_ok']} of {counts['families']} families"
        )
    content = {"environment": environment(), "summary": summary}
    write_json(args.json, {**content, "rows": [asdict(row) for row in rows]})
    return int(any(row.status == "failed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
