"""What commands print: results, notes, progress."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_MOST_LISTED = 20


def say(line: str) -> None:
    """Print a line of the result, above the progress bar where there is one."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _tqdm().write(line.encode(encoding, "backslashreplace").decode(encoding), file=sys.stdout)


def note(line: str) -> None:
    """Print a line about the work on standard error."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    print(  # noqa: T201
        f"lightning-cam: {line}".encode(encoding, "backslashreplace").decode(encoding),
        file=sys.stderr,
    )


def progress(items: Iterable[T], what: str, total: int) -> Iterable[T]:
    """Yield the items, with a progress bar on standard error where that is a terminal."""
    bar: Iterable[T] = _tqdm()(
        items, desc=what, total=total, file=sys.stderr, disable=None, leave=False
    )
    return bar


def _tqdm() -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]

    return tqdm


def listed(names: Sequence[str]) -> str:
    """Return names separated by commas; of many the first, and how many more there are."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
