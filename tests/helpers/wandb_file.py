"""Reader of the file of an offline W&B run: LevelDB log records with protocol buffers."""

import contextlib
import json
import struct
import time
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32 * 1024
_FILE_HEADER, _RECORD_HEADER = 7, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def _bodies(data):
    at, parts = _FILE_HEADER, b""
    while at + _RECORD_HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _RECORD_HEADER:  # too little for a header: padding
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + _RECORD_HEADER])
        body = data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or len(body) < length:
            raise EOFError(f"no whole record at byte {at}")
        parts = body if kind in (_FULL, _FIRST) else parts + body
        if kind in (_FULL, _LAST):
            yield parts
        at += _RECORD_HEADER + length


def records(path):
    """Return the records of a finished run's file."""
    return [Record.FromString(body) for body in _bodies(Path(path).read_bytes())]


def records_once_finished(path, patience=30):
    """Return the records once the last one is written, by W&B's own process."""
    end = time.monotonic() + patience
    while True:
        with contextlib.suppress(EOFError):
            found = records(path)
            if any(record.WhichOneof("record_type") == "exit" for record in found):
                return found
        if time.monotonic() > end:
            raise TimeoutError(f"the run in {path} did not finish")
        time.sleep(0.05)


def _items(items):
    """Return the values by key; values that W&B split by nested keys are joined."""
    found = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        place = found
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return found


class RunFile:
    """What an offline run holds: `history` rows, `summary`, `alerts`, `files`, their `folder`."""

    def __init__(self, root):
        (path,) = Path(root).rglob("*.wandb")
        self.folder = path.parent / "files"
        self.history, self.alerts, self.files, self.summary = [], [], [], {}
        for record in records_once_finished(path):
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.history.append(_items(record.history.item))
                self.summary.update(self.history[-1])
            elif kind == "summary":
                self.summary.update(_items(record.summary.update))
            elif kind == "alert":
                self.alerts.append(record.alert)
            elif kind == "files":
                self.files += [file.path for file in record.files.files]

    def of(self, key):
        """Return every value that was logged under a key."""
        return [row[key] for row in self.history if key in row]
