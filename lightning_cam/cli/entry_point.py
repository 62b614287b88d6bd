"""`main`: parse the command line, run the command, turn errors into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lightning_cam import __version__
from lightning_cam.cli import explain, export, label, layers, replay, report, serve
from lightning_cam.cli.console import note

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
_PACKAGE = Path(__file__).parents[1]


class _Parser(argparse.ArgumentParser):
    """Prints what is wrong in one line, without the usage of every option."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: of the command line; those of the process by default.

    Returns:
        0 when done, 2 with one line on standard error where the input is wrong, 130 when
        interrupted. Unexpected errors are raised, with Python's exit code 1.

    Raises:
        SystemExit: with 0 after `--help`, with 2 for unknown arguments.
    """
    args = parser().parse_args(arguments)
    try:
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # as with `| head`; the flush at exit must not raise again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ValueError, TypeError, OSError) as error:
        if args.traceback or not _meant_for_users(error):
            raise
        note(_in_one_line(error))
        return WRONG_INPUT
    return DONE


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; imports nothing heavy, so that `--help` is fast."""
    made = _Parser(
        prog="lightning-cam",
        description="Class activation maps of images, and of a past training from its checkpoints.",
        epilog="Exit codes: 0 done (alerts or not), 2 wrong input, 130 interrupted. "
        "`lightning-cam COMMAND --help` has examples.",
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for command in (explain, serve, replay, report, export, label, layers):
        own = command.add(commands)
        own.formatter_class = argparse.RawDescriptionHelpFormatter
        own.add_argument(
            "--traceback",
            action="store_true",
            help="print the traceback of an error, not just one line",
        )
        own.set_defaults(run=command.run)
    return made


def _meant_for_users(error: Exception) -> bool:
    """Return whether an error is about the input: raised by this package, or by the file system."""
    if isinstance(error, OSError):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    return _PACKAGE in Path(frames[-1][0].f_code.co_filename).parents


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split())
