"""What watching costs, each figure a ratio of two sides measured in turns.

python -m benchmarks.speed [--device cpu|cuda] [--part maps ...] [--json FILE] [--quick]

Several parts have a process each, so that none finds the memory that another has left. Parts that
are not measured keep what FILE says of them. `python -m benchmarks.speed.page` brings
the results into docs/cost.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.measuring import environment, keep_memory, write_json
from benchmarks.speed.bench import Bench

PARTS = ("maps", "peers", "stall", "training", "growth", "small")
_THREADS = 2


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="try the commands, measure nothing")
    args = parser.parse_args(arguments)
    for part in args.part:
        if len(args.part) == 1:
            _measure(part, args)
            continue
        options = ["--device", args.device, "--part", part, *["--quick"] * args.quick]
        options += ["--json", args.json] if args.json else []
        subprocess.run([sys.executable, "-m", "benchmarks.speed", *options], check=True)  # noqa: S603


def _measure(part: str, args: argparse.Namespace) -> None:
    """Measure one part and write it beside the others."""
    torch.set_num_threads(_THREADS)
    if part != "peers":  # they are compared as their users have them
        keep_memory()
    print(f"--- {part}", flush=True)
    rows = importlib.import_module(f"benchmarks.speed.{part}").measure(
        Bench(args.device, args.quick)
    )
    known = {}
    if args.json and Path(args.json).exists():
        known = json.loads(Path(args.json).read_text(encoding="utf-8"))
    words = f"python -m benchmarks.speed --device {args.device} --part {part}"
    command = words + " --quick" * args.quick
    known[part] = {"environment": environment(args.device), "command": command, "rows": rows}
    write_json(args.json, {name: known[name] for name in PARTS if name in known})


if __name__ == "__main__":
    main()
