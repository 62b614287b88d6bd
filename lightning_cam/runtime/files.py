"""File names made from user text, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import threading
import unicodedata
from pathlib import Path

_MAX_LENGTH = 80


@functools.lru_cache(maxsize=1024)  # the classes of a probe are named at every evaluation
def safe_name(text: str, instead: str = "") -> str:
    """Return `text` as one harmless path component: Latin letters, digits and `._-@`.

    A name that had to be changed ends in a short hash of the original, so that different texts give
    different names. Other letters are left out: some loggers cannot write them.

    Args:
        text: whatever a user calls a class, a sample or a tag.
        instead: a safe name that stands before the hash where no letter or digit is left.

    Example:
        >>> safe_name("Fußgänger"), safe_name("猫", "class_3")
        ('Fuganger-d1e14a', 'class_3-a810bf')
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._@-]+", "_", ascii_text).lstrip(".")[:_MAX_LENGTH]
    if name == text and name:
        return name
    if not any(map(str.isalnum, name)):
        name = instead or name
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:6]}".lstrip("-")


def safe_tag(tag: str) -> str:
    """Return `tag` with each part between slashes made safe, for loggers that use it as a path.

    Example:
        >>> safe_tag("cam/overlay/00012")
        'cam/overlay/00012'
        >>> safe_tag("../a b")
        '5ec1f7/a_b-c8687a'
    """
    return "/".join(safe_name(part) for part in tag.split("/") if part)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, whole or not at all; make its folder where needed.

    After a line that was interrupted, as by a killed process, it starts on a line of its own.

    Raises:
        OSError: the folder or the disk does not accept it; the file then ends where it did.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    start = "\n" if ends_without_newline(path) else ""
    data = memoryview(f"{start}{line}\n".encode())
    with path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while data:  # the system may write a part at a time
                data = data[file.write(data) :]
        except BaseException:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise


def ends_without_newline(path: Path) -> bool:
    """Return whether the last line of a file was interrupted while it was written."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees half of it; make its folder where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two threads may write the same file: the last one counts, and neither takes the other's part.
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)  # noqa: PTH105 - Path.replace hides that it is atomic
    finally:
        with contextlib.suppress(OSError):  # the error above is the one to report
            part.unlink(missing_ok=True)
