"""Measure what monitoring costs, as ratios of two calls timed in turns.

    python -m benchmarks.speed [--device cpu|cuda] [--part maps ...] [--json FILE] [--quick]

Several parts run in a process each, so that none of them finds memory that another one has left.
Parts that are not measured keep the results that FILE has of them. `python -m benchmarks.pages
speed` writes the committed results into docs/cost.md.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measuring import environment, keep_memory
from benchmarks.pages import parser_of, read_json, write_json
from benchmarks.speed.bench import Bench
from benchmarks.speed.tables import TABLES

PARTS = tuple(TABLES)
_THREADS = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write."""
    parser = parser_of("benchmarks.speed", __doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args(arguments)
    if len(args.part) == 1:
        _measure(args.part[0], args)
        return
    for part in args.part:
        options = ["--device", args.device, "--part", part, *["--quick"] * args.quick]
        options += ["--json", args.json] if args.json else []
        subprocess.run([sys.executable, "-m", "benchmarks.speed", *options], check=True)  # noqa: S603


def _measure(part: str, args: argparse.Namespace) -> None:
    """Measure one part and write it beside the others."""
    torch.set_num_threads(1 if args.quick else _THREADS)
    if part != "peers" and not args.quick:  # packages are compared with the default allocator
        keep_memory()
    print(f"--- {part}", flush=True)
    module = importlib.import_module(f"benchmarks.speed.{part}")
    rows = []
    for row in module.measure(Bench(args.device, args.quick)):
        print(row, flush=True)
        rows.append(row)
    print(TABLES[part](rows))
    command = f"python -m benchmarks.speed --device {args.device} --part {part}"
    command += " --quick" * args.quick
    known = read_json(args.json) if args.json and Path(args.json).exists() else {}
    known[part] = {"environment": environment(args.device), "command": command, "rows": rows}
    write_json(args.json, {name: known[name] for name in PARTS if name in known})


if __name__ == "__main__":
    main()
