"""`PictureSink`: what a logger's adapter must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture


class PictureSink(Protocol):
    """Where images go: one implementation per logger.

    It is created at every evaluation, on rank zero only, and may raise: that costs one warning.

    Three members are optional. `formats`, a tuple of `jpeg` or `png`, names the encodings that it
    will ask for, which are then made beside the training. `prepare(tag, scalar_names)` is called
    before the images of every evaluation with the monitor's tag and the full names of the scalars
    logged so far. `attach_report(tag, path, step)` is called at the end with the path of
    `report.html` and the step of the last evaluation.
    """

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the images of one evaluation under the step of its scalars."""
        ...

    def alert(self, tag: str, message: str, step: int) -> None:
        """Log an alert's text.

        Args:
            tag: such as `cam/alerts`.
            message: one line, with ids as the user gave them.
            step: the step of the evaluation's scalars.
        """
        ...


def prefixed(logger: Any, tag: str) -> str:
    """Return `tag` as the logger writes the names of its scalars: after the user's prefix."""
    prefix = getattr(logger, "_prefix", "")
    # Only Lightning's Comet logger has no such attribute; since 2.5 it joins by an underscore.
    joint = getattr(logger, "LOGGER_JOIN_CHAR", "_")
    return f"{prefix}{joint}{tag}" if prefix else tag
