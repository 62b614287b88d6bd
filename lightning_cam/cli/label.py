"""`label`: a page on this machine in which masks of a run's probe images are drawn."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from lightning_cam.cli.console import note, say
from lightning_cam.cli.paths import check_file, check_run

_EPILOG = """examples:
  lightning-cam label lightning_logs/version_0
  lightning-cam label runs/shortcut --out masks.json --port 8000

then: CAMCallback(masks="lightning_logs/version_0/masks.json")
"""
_HIGHEST_PORT = 65535


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "label",
        help="draw masks on a run's images, in the browser",
        description="Draw masks on the images of a run, in a page that only this machine reaches:\n"
        "a box or an outline around the object, in which GrabCut finds it. The masks are written\n"
        "after each shape. Interrupt the command (Ctrl-C) to end it.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="RUN",
        help="the folder of a run: the trainer's log_dir, with lightning_cam/*.jsonl in it",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: masks.json in the run's folder; an existing one is gone on with",
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    return parser


def run(args: argparse.Namespace) -> None:
    """Serve the page until interrupted."""
    check_run(args.folder)
    if not 0 <= args.port <= _HIGHEST_PORT:
        raise ValueError(f"expected --port from 0 to {_HIGHEST_PORT}, got {args.port}")
    out = args.folder / "masks.json" if args.out is None else args.out
    check_file(out)
    try:
        from lightning_cam.output.labelling.app import serve
    except ImportError as error:
        raise ValueError(
            "expected starlette and uvicorn, which `label` needs: "
            "pip install 'lightning-cam[serve]'"
        ) from error
    from lightning_cam.output.labelling import Labeller, images_of

    labeller = Labeller(images_of(args.folder), out)
    note(f"{labeller.count} of {len(labeller.images)} images have a mask. Ctrl-C ends.")
    with contextlib.suppress(KeyboardInterrupt):  # how this command is meant to end
        serve(labeller, args.port, say)
    note(f"{out}: {labeller.count} of {len(labeller.images)} images have a mask")
