"""`ErrorPolicy`: a failure of the monitor costs one warning, not the training."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator

from lightning_cam.runtime.checks import check_type

_MAX_WARNINGS = 20
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?")


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=5)


class ErrorPolicy:
    """Turns exceptions into warnings, one per kind of exception.

    Args:
        strict: let exceptions through.
        warn: how to warn; `warnings.warn` by default.
    """

    def __init__(self, *, strict: bool = False, warn: Callable[[str], None] | None = None) -> None:
        check_type("strict", strict, bool)
        self.strict = strict
        self._warn = warn or _warn
        self._warned: set[str] = set()

    @contextlib.contextmanager
    def suppress(self, what: str, *, when: bool = True) -> Iterator[None]:
        """Turn an exception of the body into one warning, unless `strict`.

        Args:
            what: is skipped because of it, such as `an evaluation`.
            when: False to let exceptions through.
        """
        try:
            yield
        except Exception as error:
            if self.strict or not when:
                raise
            self.handle(what, error)

    @contextlib.contextmanager
    def never_raise(self) -> Iterator[None]:
        """Warn about exceptions of the body even where `strict`."""
        strict, self.strict = self.strict, False
        try:
            yield
        finally:
            self.strict = strict

    def handle(self, what: str, error: Exception) -> None:
        """Warn about an exception, or raise it where `strict`."""
        if self.strict:
            raise error
        description = f"{type(error).__name__}: {error}"
        message = (
            f"lightning_cam skipped {what}; training goes on. {description} (strict=True raises)"
        )
        if isinstance(error, OSError):  # a full disk is one cause of many failures
            message += " What else fails for the same reason is not reported."
        self.warn_once(message, kind=_kind(error))

    def warn_once(self, message: str, kind: str = "") -> None:
        """Warn, unless there was a warning of the same kind before.

        Args:
            message: the warning.
            kind: what is counted as the same; by default the message without its numbers.
        """
        kind = kind or _NUMBERS.sub("#", message)
        if kind in self._warned or len(self._warned) > _MAX_WARNINGS:
            return
        self._warned.add(kind)
        if len(self._warned) > _MAX_WARNINGS:
            message += f" After {_MAX_WARNINGS} kinds of warnings no more are shown."
        self._warn(message)


def _kind(error: Exception) -> str:
    """Return what two errors with one cause share: no numbers and no file name."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"OSError {error.errno}"
    return _NUMBERS.sub("#", f"{type(error).__name__}: {error}")
