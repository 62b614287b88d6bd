"""Compare trainings with and without `CAMCallback` bit for bit, and print the table.

    python -m robustness.non_interference [--only NAME ...] [--small] [--json FILE]   # in tests/

Each configuration is trained twice, without the callback and with all of its features. At every
hook all `state_snapshot.ITEMS` are compared. The exit status is 1 where anything differs.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from helpers.result_files import be_quiet, environment, markdown_row, markdown_table, write_json
from robustness.non_interference.comparison import FULL, SMALL, compare
from robustness.non_interference.configurations import CONFIGURATIONS
from robustness.non_interference.state_snapshot import ITEMS

# Without deterministic algorithms a training differs from its own repetition on a GPU.
ON_CUDA = {"accelerator": "gpu", "deterministic": "warn"}
HEAD = ("configuration", "evaluations", "hooks", "values compared", "identical")


def row(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a comparison as a row of the table."""
    if result["skipped"]:
        return result["name"], "", "", "", f"skipped: {result['skipped']}"
    differing = result["problem"] or ", ".join(result["differing"])
    verdict = "yes" if result["identical"] else f"NO: {differing}"
    numbers = (str(result["evaluations"]), str(result["hooks"]), f"{result['values']:,}")
    return result["name"], *numbers, verdict


def table(results: Mapping[str, Any]) -> str:
    """Return the table of docs/promises.md."""
    return markdown_table(HEAD, [row(each) for each in results["configurations"]])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="robustness.non_interference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [configuration.name for configuration in CONFIGURATIONS]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=names)
    parser.add_argument("--small", action="store_true", help="fewer features, as in the tests")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    be_quiet()
    print(f"{len(ITEMS)} items compared: {', '.join(ITEMS)}\n\n{markdown_table(HEAD, [])}")
    results: list[dict[str, Any]] = []
    options = SMALL if args.small else FULL
    if args.device == "cuda":
        options = replace(options, trainer={**options.trainer, **ON_CUDA})
    for configuration in CONFIGURATIONS:
        if configuration.name not in args.only:
            continue
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            comparison = compare(configuration, Path(folder), options)
        results.append({**asdict(comparison), "identical": comparison.identical})
        print(markdown_row(*row(results[-1])), flush=True)
        print(f"{time.perf_counter() - start:6.1f} s {configuration.name}", file=sys.stderr)
        for item, places in comparison.differing.items():
            print(f"    {item}: {places}", file=sys.stderr)
    content = {"environment": environment(), "items": list(ITEMS), "configurations": results}
    write_json(args.json, content)
    return int(not all(each["identical"] or each["skipped"] for each in results))


if __name__ == "__main__":
    sys.exit(main())
