"""The command line: `lightning-cam`, one file per command."""

from lightning_cam.cli.entry_point import main

__all__ = ["main"]
