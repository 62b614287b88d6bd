"""What fails costs one warning, not the training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


class Faults:
    """Turns errors into warnings, each kind once.

    Args:
        strict: let errors through.
        warn: how to warn.
    """

    def __init__(self, *, strict: bool, warn: Callable[[str], None]) -> None:
        self.strict = strict
        self._warn = warn
        self._told: set[str] = set()

    @contextlib.contextmanager
    def forgiven(self, what: str) -> Iterator[None]:
        """Turn an error of the body into one warning, unless `strict`.

        Args:
            what: is skipped by it, such as `a look`.
        """
        try:
            yield
        except Exception as error:
            if self.strict:
                raise
            self.tell(what, error)

    def tell(self, what: str, error: Exception) -> None:
        """Warn of an error, or raise it where `strict`."""
        if self.strict:
            raise error
        kind = f"{type(error).__name__}: {error}"
        if kind in self._told:
            return
        self._told.add(kind)
        self._warn(f"CAMCallback skipped {what}, training goes on. {kind} (strict=True raises)")
