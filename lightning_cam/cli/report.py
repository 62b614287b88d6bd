"""`report`: the records of runs as one HTML file."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from lightning_cam.cli.console import note, say
from lightning_cam.cli.paths import check_file, check_folder, check_run

_EPILOG = """examples:
  lightning-cam report lightning_logs/version_0
  lightning-cam report runs/shortcut runs/balanced --out both.html
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="make one HTML file of one run, or of several side by side",
        description="Read what CAMCallback or `replay` recorded in the folders of runs and write\n"
        "one HTML file that opens offline.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="the folder of a run: the trainer's log_dir, with lightning_cam/*.jsonl in it",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: report.html in the run's folder; of several, report-with-SECOND.html in "
        "the first one's",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the report."""
    from lightning_cam.output.report import write_report

    for folder in args.runs:
        check_run(folder)
    if args.out is None or args.out.is_dir():
        check_folder(args.out or args.runs[0])
    else:
        check_file(args.out)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        written = write_report(args.runs, args.out)
    for each in caught:
        note(str(each.message))
    say(str(written))
