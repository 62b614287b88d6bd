"""Text for error messages: what was expected, what it got, and what to do."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown_name(kind: str, got: object, known: Iterable[str], *, list_all: bool = True) -> str:
    """Return the message for a name that is not among `known`, with near misses first.

    Args:
        kind: of thing, such as `method`.
        got: the unknown name.
        known: the names that there are.
        list_all: end with all of them; False where there may be hundreds.
    """
    names = list(known)
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(str(got).casefold(), by_folded, n=3, cutoff=0.5)
    near = [by_folded[each] for each in close]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    known_names = f" Known: {', '.join(names)}." if list_all else ""
    return f"unknown {kind} {got!r}.{hint}{known_names}"


def describe(value: object) -> str:
    """Return a tensor's shape and dtype, or the type of anything else, for a message."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return f"a {type(value).__name__}"
    return f"shape {tuple(shape)}, dtype {getattr(value, 'dtype', '?')}"
