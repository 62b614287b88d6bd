"""MLflow: images with a step, alerts as a tag of the run and as text files."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.output.loggers.base import prefixed
from lightning_cam.runtime.files import safe_tag

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture

# A key becomes a file name, to which MLflow adds step, time and an id of 36 characters; file
# systems allow 255.
_MAX_KEY = 120
_MAX_TAG = 5000  # characters of a tag's value in the oldest stores


class MLFlowSink:
    """Logs into the run of an `MLFlowLogger`."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the images under `step`; an animation replaces that of the evaluation before."""
        client, run = self._logger.experiment, self._logger.run_id
        for picture in pictures:
            key = _key(prefixed(self._logger, picture.tag))
            if picture.frames is None:
                client.log_image(run, picture.pixels, key=key, step=step)
            else:
                _log_file(client, run, f"{key}.gif", picture.gif)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Log the message as a text file of its own; the run's tag holds the last message."""
        client, run = self._logger.experiment, self._logger.run_id
        key = _key(prefixed(self._logger, tag))
        client.set_tag(run, key, message[:_MAX_TAG])
        client.log_text(run, message, f"{key}/step-{step:08d}-{_hash(message)}.txt")

    def attach_report(self, tag: str, path: Path, step: int) -> None:
        """Log the report as an artifact, which the run's page shows; `step` has no place there."""
        del step
        folder = _key(prefixed(self._logger, tag))
        self._logger.experiment.log_artifact(self._logger.run_id, str(path), folder)


def _key(tag: str) -> str:
    """Return the tag in the characters that MLflow allows, short enough for a file name."""
    key = re.sub(r"[^A-Za-z0-9_./-]", "_", safe_tag(tag))
    if key == tag and len(key) <= _MAX_KEY:
        return key
    return f"{key[:_MAX_KEY]}-{_hash(tag)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:6]


def _log_file(client: Any, run: str, name: str, data: bytes) -> None:
    folder, _, file = name.rpartition("/")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / file
        path.write_bytes(data)
        client.log_artifact(run, str(path), folder or None)
