"""Event files of TensorBoard, with checksums that a compiled library computes.

TensorBoard computes them in Python, which holds the interpreter's lock while it does: 0.1 s for the
images of an evaluation, in which the training's thread hardly gets to launch its next operations.
"""

from __future__ import annotations

import struct
from typing import Any

import google_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

_MASK, _ROTATED = 0xFFFFFFFF, 0xA282EAD8


class CompiledChecksums(RecordWriter):  # type: ignore[misc]  # TensorBoard has no types
    """Writes the same bytes as its base class."""

    def write(self, data: bytes) -> None:
        """Write a record: its length and its bytes, each followed by its checksum."""
        length = struct.pack("<Q", len(data))
        self._writer.write(length + _checksum(length) + data + _checksum(data))


def use_compiled_checksums(file_writer: Any) -> None:
    """Have a writer of event files compute its checksums by the library, if it is TensorBoard's.

    The thread that writes the file uses the same object, so its class is changed.

    Args:
        file_writer: a `torch.utils.tensorboard.FileWriter`, or what stands for one.
    """
    events = getattr(file_writer, "event_writer", None)
    records = getattr(getattr(events, "_async_writer", None), "_writer", None)
    if type(records) is RecordWriter:
        records.__class__ = CompiledChecksums


def _checksum(data: bytes) -> bytes:
    """Return the masked CRC-32C of a record's part, as the format of these files demands."""
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) & _MASK
    return struct.pack("<I", (rotated + _ROTATED) & _MASK)
