"""Event files of TensorBoard, written in a thread of theirs without holding up the training's.

TensorBoard computes checksums in Python, which holds the interpreter's lock while it does: 0.1 s
for the images of an evaluation, in which the training's thread hardly gets to launch its next
operations. And its queue takes ten events: a thread that logs more metrics than that waits for the
thread that writes them, 3 ms for 78 metrics.
"""

from __future__ import annotations

import struct
from queue import Queue
from typing import Any

import google_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

_MASK, _ROTATED = 0xFFFFFFFF, 0xA282EAD8
_DEFAULT_QUEUE = 10  # events; any other number is the user's choice
_QUEUED = 256  # an evaluation that logs all metrics of two probes has fewer


class CompiledChecksums(RecordWriter):  # type: ignore[misc]  # TensorBoard has no types
    """Writes the same bytes as its base class."""

    def write(self, data: bytes) -> None:
        """Write a record: its length and its bytes, each followed by its checksum."""
        length = struct.pack("<Q", len(data))
        self._writer.write(length + _checksum(length) + data + _checksum(data))


def prepare_file_writer(file_writer: Any) -> None:
    """Have a writer of event files take a whole evaluation at once, if it is TensorBoard's.

    The thread that writes the file uses the same objects, so these are changed.

    Args:
        file_writer: a `torch.utils.tensorboard.FileWriter`, or what stands for one.
    """
    events = getattr(file_writer, "event_writer", None)
    writer = getattr(events, "_async_writer", None)
    records = getattr(writer, "_writer", None)
    if type(records) is RecordWriter:
        records.__class__ = CompiledChecksums
    waiting = getattr(writer, "_byte_queue", None)
    if isinstance(waiting, Queue) and waiting.maxsize == _DEFAULT_QUEUE:
        waiting.maxsize = _QUEUED


def _checksum(data: bytes) -> bytes:
    """Return the masked CRC-32C of a record's part, as the format of these files demands."""
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) & _MASK
    return struct.pack("<I", (rotated + _ROTATED) & _MASK)
