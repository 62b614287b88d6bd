"""`Identity`: which object it was."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any


class Identity:
    """Remembers which object it was; a copy or a pickle forgets it.

    Keeps alive only what no weak reference can be made to, such as a list.

    Args:
        known: the object, such as a model or a data set; by default none.
    """

    def __init__(self, known: object | None = None) -> None:
        self._known: Callable[[], object | None]
        try:
            self._known = weakref.ref(known)
        except TypeError:
            self._known = lambda: known

    def is_of(self, one: object) -> bool:
        """Return whether it was this one, the same object."""
        return one is not None and self._known() is one

    def __reduce__(self) -> tuple[type[Identity], tuple[()]]:
        return Identity, ()


def same_fingerprints(found: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Return whether there are probes, and each is that of the same name among some known ones."""
    return bool(found) and all(
        name in known and each.fingerprint == known[name].fingerprint
        for name, each in found.items()
    )
