"""`own_file_positions`: part the files of a forked process from those of its parent."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any


def own_file_positions() -> None:
    """Open the files that this process inherited once more, at the same positions.

    A forked process shares the position of each open file with its parent: where it reads a data
    set that opened its file before, the parent would go on reading at another place.
    """
    with contextlib.suppress(ImportError, OSError):  # a system without any of this does not fork
        import fcntl

        for entry in list(Path("/dev/fd").iterdir()):
            with contextlib.suppress(OSError):
                _reopen(int(entry.name), fcntl)


def _reopen(number: int, fcntl: Any) -> None:
    flags = fcntl.fcntl(number, fcntl.F_GETFL)
    if not stat.S_ISREG(os.fstat(number).st_mode) or flags & os.O_ACCMODE == os.O_WRONLY:
        return
    path: Any = f"/proc/self/fd/{number}"
    if not Path(path).exists():  # macOS
        path = fcntl.fcntl(number, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")
    position = os.lseek(number, 0, os.SEEK_CUR)
    again = os.open(path, flags & (os.O_ACCMODE | os.O_APPEND))
    os.lseek(again, position, os.SEEK_SET)
    os.dup2(again, number)
    os.close(again)
