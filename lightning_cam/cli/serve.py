"""`serve`: the report's page over any number of runs, growing while they train."""

from __future__ import annotations

import argparse
import contextlib
import socket
from pathlib import Path
from typing import Any

from lightning_cam.cli.console import note, say
from lightning_cam.cli.paths import check_run

_LOOPBACK = "127.0.0.1"
_PORT = 6226
_MOST_TRIED = 20  # ports, where none was given
_EPILOG = """examples:
  lightning-cam serve lightning_logs
  lightning-cam serve runs/shortcut runs/balanced --open
  ssh -L 6226:127.0.0.1:6226 machine lightning-cam serve runs   # of another machine
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="show any number of runs in the browser, while they train",
        description="Serve the report's page over all runs at and below the given folders. It\n"
        "grows while they train, and finds runs that begin later. It only reads, and only\n"
        "this machine can open it unless --host says otherwise.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="RUN_OR_FOLDER",
        help="the folder of a run, or a folder with runs below it",
    )
    parser.add_argument(
        "--host",
        default=_LOOPBACK,
        metavar="ADDRESS",
        help="of this machine, for others to open the page; there is no password. Default: "
        f"{_LOOPBACK}, which only this machine can open",
    )
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help=f"default: {_PORT}, or the next one that is free; 0 for any",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    return parser


def run(args: argparse.Namespace) -> None:
    """Serve until interrupted."""
    try:
        import uvicorn

        from lightning_cam.output.server.app import LOOPBACK, make_app
        from lightning_cam.output.server.live_runs import LiveRuns
    except ModuleNotFoundError as error:
        raise ValueError(
            f"`serve` needs {error.name}: pip install 'lightning-cam[serve]'"
        ) from error
    for folder in args.folders:
        check_run(folder)
    runs = LiveRuns(args.folders)
    runs.search()
    runs.read_ahead()
    listening = _listen(args.host, args.port)
    if args.host not in LOOPBACK:
        note(f"warning: everyone who reaches {args.host} can see these runs; there is no password")
    if not len(runs):
        note("no run there yet; the page shows runs as soon as they begin")
    address, port = listening.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}/"
    say(url)
    note(f"{len(runs)} run{'' if len(runs) == 1 else 's'}; Ctrl+C ends")
    config = uvicorn.Config(
        make_app(runs, args.host),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    if args.open:
        import webbrowser

        webbrowser.open(url)
    with contextlib.suppress(KeyboardInterrupt), listening:  # the usual end
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens at the port, or at the next free one where none was given."""
    if port is not None and not 0 <= port < 1 << 16:
        raise ValueError(f"expected --port from 0 to 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    wanted = range(_PORT, _PORT + _MOST_TRIED) if port is None else [port]
    reason = ""
    for each in wanted:
        try:
            return socket.create_server((host, each), family=family)
        except OSError as error:  # noqa: PERF203 - a few attempts
            reason = error.strerror or str(error)
    raise ValueError(
        f"expected --host and --port to listen at, got {host} and {wanted[-1]}: {reason}"
    )
