"""Inject each fault into a training of its own, and print the table.

    python -m robustness.fault_injection [--only NAME ...] [--json FILE]   # in tests/

Weights, buffers and momenta are compared, bit for bit, with those of the same training without
`CAMCallback`. The exit status is 1 where anything differs.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.result_files import be_quiet, markdown_row, markdown_table, write_json
from robustness.fault_injection.injection import FAULTS, inject
from robustness.fault_injection.training import is_same_state, reference_states

HEAD = ("Injected", "What the user sees", "Weights equal")


def result_of(name: str, folder: Path, reference: Sequence[Any]) -> dict[str, Any]:
    """Run a training with a fault and return its row of the results."""
    outcome = inject(name, folder)
    seen = [message.replace(str(folder), "<run>") for message in outcome.warnings]
    if outcome.error is not None:
        seen.append(f"{type(outcome.error).__name__}, as without the callback")
    return {
        "fault": name,
        "injected": FAULTS[name].description,
        "seen": seen,
        "epochs": outcome.epochs,
        "weights_equal": is_same_state(outcome.state, reference[outcome.epochs - 1]),
        "files_complete": not outcome.incomplete_files,
    }


def is_unnoticed(result: Mapping[str, Any]) -> bool:
    """Return whether neither the training nor a file suffered from a fault."""
    return bool(result["weights_equal"] and result["files_complete"])


def row(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a result as a row of the table."""
    seen = "; ".join(result["seen"]) or "no warning"
    for old, new in (("|", "\\|"), ("\n", " "), ("; training goes on", "")):
        seen = seen.replace(old, new)
    seen = seen.replace(" (strict=True raises)", "")
    return result["injected"], seen, "yes" if is_unnoticed(result) else "NO"


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of docs/promises.md."""
    return markdown_table(HEAD, [row(each) for each in results])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="robustness.fault_injection",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = list(FAULTS)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=names)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    be_quiet()
    results = []
    print(markdown_table(HEAD, []))
    with tempfile.TemporaryDirectory() as home:
        reference = reference_states(Path(home))
        for name in args.only:
            folder = Path(home) / name.replace(" ", "-")
            folder.mkdir()
            results.append(result_of(name, folder, reference))
            print(markdown_row(*row(results[-1])), flush=True)
    write_json(args.json, results)
    return int(not all(map(is_unnoticed, results)))


if __name__ == "__main__":
    sys.exit(main())
