"""What watching costs, each figure a ratio of two sides measured in turns.

python -m benchmarks.speed [--device cpu|cuda] [--part maps ...] [--json FILE] [--quick]

Parts that are not measured keep what FILE says of them. `python -m benchmarks.speed.page` brings
the results into docs/cost.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import torch

from benchmarks.measuring import environment, write_json
from benchmarks.speed.bench import Bench, keep_memory

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
    torch.set_num_threads(_THREADS)
    keep_memory()
    bench = Bench(args.device, args.quick)
    known = {}
    if args.json and Path(args.json).exists():
        known = json.loads(Path(args.json).read_text(encoding="utf-8"))
    for part in args.part:
        print(f"--- {part}", flush=True)
        rows = importlib.import_module(f"benchmarks.speed.{part}").measure(bench)
        words = f"python -m benchmarks.speed --device {args.device} --part {part}"
        command = words + " --quick" * args.quick
        known[part] = {"environment": environment(args.device), "command": command, "rows": rows}
        write_json(args.json, {name: known[name] for name in PARTS if name in known})


if __name__ == "__main__":
    main()
