"""Words for errors: what was expected, what came, what to do."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown(kind: str, came: object, known: Iterable[str]) -> str:
    """Return the message for a name that is not among `known`, the near miss first."""
    names = list(known)
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(str(came).casefold(), by_folded, n=3, cutoff=0.5)
    near = [by_folded[each] for each in close]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"unknown {kind} {came!r}.{hint} Known: {', '.join(names)}."


def shape_of(tensor: object) -> str:
    """Return a tensor's shape and dtype for a message, or the type of what is no tensor."""
    shape = getattr(tensor, "shape", None)
    if shape is None:
        return f"a {type(tensor).__name__}"
    return f"shape {tuple(shape)}, dtype {getattr(tensor, 'dtype', '?')}"
