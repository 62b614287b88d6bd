"""What fails costs one warning, not the training."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

_KINDS = 20  # of faults that are told of; a run that has more is told once
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")


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

    @contextlib.contextmanager
    def gentle(self) -> Iterator[None]:
        """Raise nothing in the body, `strict` or not."""
        strict, self.strict = self.strict, False
        try:
            yield
        finally:
            self.strict = strict

    def tell(self, what: str, error: Exception) -> None:
        """Warn of an error, or raise it where `strict`."""
        if self.strict:
            raise error
        words = f"{type(error).__name__}: {error}"
        message = f"CAMCallback skipped {what}, training goes on. {words} (strict=True raises)"
        self.note(message, kind=_kind(error))

    def note(self, message: str, kind: str = "") -> None:
        """Warn, unless something of the same kind was told before.

        Args:
            message: the warning.
            kind: what it is one of; the message itself by default, whatever its numbers.
        """
        kind = kind or _NUMBERS.sub("#", message)
        if kind in self._told or len(self._told) > _KINDS:
            return
        self._told.add(kind)
        if len(self._told) > _KINDS:
            message += f" Beyond these {_KINDS} kinds no more is told."
        self._warn(message)


def _kind(error: Exception) -> str:
    """Return what two errors of one cause share: no numbers, and no file's name."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"OSError {error.errno}"
    return _NUMBERS.sub("#", f"{type(error).__name__}: {error}")
