"""`ItemReader`: reads single items of a data set; those that cannot be read are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_FAILURES = 8  # at the start, after which the data set is taken for unreadable


class ItemReader:
    """Reads items and keeps them.

    An item that cannot be read ends no training which might never ask for it. A data set may also
    return None for one, for its `collate_fn` to drop.

    Args:
        dataset: map-style.
        keys: what the sampler yields, by number; None where these are the numbers themselves.

    Attributes:
        items: that were read, by number.
        error: of the first that could not be.
    """

    def __init__(self, dataset: Any, keys: Mapping[int, Any] | None = None) -> None:
        self._dataset = dataset
        self._keys = keys
        self._failures = 0
        self.items: dict[int, Any] = {}
        self.error: Exception | None = None

    def read(self, number: int) -> None:
        """Read an item.

        Raises:
            Exception: what the data set raises, where it raised at all of the first items.
        """
        try:
            item = self._dataset[number if self._keys is None else self._keys[number]]
        except Exception as error:
            self.error = self.error or error
            self._failures += 1
            if not self.items and self._failures >= _MOST_FAILURES:
                raise
            return
        if item is not None:
            self.items[number] = item

    @property
    def note(self) -> tuple[str, ...]:
        """What was left out, if anything."""
        if self.error is None:
            return ()
        kind = type(self.error).__name__
        some = "1 sample" if self._failures == 1 else f"{self._failures} samples"
        return (f"{some} could not be read and are left out ({kind}: {self.error})",)
