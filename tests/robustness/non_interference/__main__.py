"""Whether a training is the same, bit for bit, with the callback and without.

python -m benchmarks.interference [--only NAME ...] [--quick] [--json FILE]

For each configuration two trainings, one with `CAMCallback` and everything on. At each hook
everything a training depends on is compared: see `witness.ITEMS`. The exit status is 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.interference.compare import EVERYTHING, QUICK, Comparison, compare
from benchmarks.interference.configurations import TABLE
from benchmarks.interference.witness import ITEMS
from benchmarks.measuring import environment, write_json


def row(found: Comparison) -> str:
    """Return a comparison as a line of the table."""
    if found.lacking:
        return f"| {found.name} | | | | skipped: {found.lacking} |"
    verdict = "yes" if found.identical else "NO: " + (found.trouble or ", ".join(found.differing))
    return f"| {found.name} | {found.looks} | {found.moments} | {found.values:,} | {verdict} |"


def main() -> int:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [configuration.name for configuration in TABLE]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=names)
    parser.add_argument("--quick", action="store_true", help="the callback as in the tests")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    print(f"{len(ITEMS)} items compared: {', '.join(ITEMS)}\n")
    print("| configuration | looks | moments | values | identical |\n|---|---|---|---|---|")
    found = []
    for configuration in TABLE:
        if configuration.name not in args.only:
            continue
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            comparison = compare(configuration, Path(folder), QUICK if args.quick else EVERYTHING)
        seconds = time.perf_counter() - start
        found.append({**asdict(comparison), "identical": comparison.identical})
        print(row(comparison), flush=True)
        print(f"{seconds:6.1f} s {configuration.name}", file=sys.stderr)
        for item, places in comparison.differing.items():
            print(f"    {item}: {places}", file=sys.stderr)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    content = {"environment": environment(device), "items": list(ITEMS), "configurations": found}
    write_json(args.json, content)
    return int(any(not (each["identical"] or each["lacking"]) for each in found))


if __name__ == "__main__":
    sys.exit(main())
