"""`export`: the samples of a run to look at first, as CSV and COCO files for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lightning_cam.cli.console import note, say
from lightning_cam.cli.paths import appearing, check_new, check_run

_EPILOG = """examples:
  lightning-cam export lightning_logs/version_0
  lightning-cam export runs/1 --by wrong --count 100 --out to-check
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write the samples to look at first as CSV and COCO files",
        description="Read what CAMCallback or `replay` recorded in a run's folder, and write the\n"
        "samples of the latest evaluation to look at first: worst.csv, and labels.json with data/\n"
        "for FiftyOne and other readers of COCO. Needs neither the model nor the data.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "run_folder",
        type=Path,
        metavar="RUN",
        help="the folder of a run: the trainer's log_dir, with lightning_cam/*.jsonl in it",
    )
    parser.add_argument(
        "--by",
        metavar="ORDER",
        help="off-object: least attention on the object first; wrong: only those predicted wrongly;"
        " moved: largest change since the evaluation before first; default: off-object where the "
        "probe has masks, else moved",
    )
    parser.add_argument(
        "--count", type=int, default=32, metavar="N", help="samples at most (default: 32)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="new or empty; with a folder for each probe where there are several (default: export "
        "in the run's folder)",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the files."""
    from lightning_cam.output.export import CSV_FILE, export_worst
    from lightning_cam.output.record import read_run
    from lightning_cam.runtime.checks import check_count
    from lightning_cam.runtime.files import safe_name

    check_count("--count", args.count)
    check_run(args.run_folder)
    out = args.out or args.run_folder / "export"
    check_new(out)
    records = read_run(args.run_folder)
    with appearing(out) as folder:
        for record in records:
            place = Path(safe_name(record.tag)) if len(records) > 1 else Path()
            samples = export_worst(record, folder / place, args.by, args.count)
            note(f"{record.tag}: {len(samples)} samples in {out / place / CSV_FILE}")
    say(str(out))
