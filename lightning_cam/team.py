"""The processes that share one look: each computes its part of the probe, all know the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """The items that one process computes.

    Attributes:
        start: the first of them.
        stop: the one after the last.
        own: the first that no earlier process computes too.
    """

    start: int
    stop: int
    own: int

    @property
    def rows(self) -> slice:
        """What is computed."""
        return slice(self.start, self.stop)

    @property
    def skipped(self) -> int:
        """How many of the computed ones an earlier process has as well."""
        return min(self.own, self.stop) - self.start


@dataclass(frozen=True)
class Team:
    """A group of processes; by default this one alone.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def share(self, count: int) -> Share:
        """Return this process's part of `count` items.

        All parts are equally long, and so is what sharded modules do together at each forward pass;
        where that does not divide, the last processes repeat items of earlier ones.
        """
        each = -(-count // self.size)
        start = min(self.rank * each, count - each)
        return Share(start, start + each, min(self.rank * each, count))

    def together(self, work: Callable[[], T]) -> list[T]:
        """Do a part each, and return the parts of all, in order of rank, on every process.

        What comes back went through a pickle between the run's own processes, so tensors should be
        on the CPU.

        Raises:
            RuntimeError: another process failed. Its own error is raised where it failed; nobody
                waits for a part that never comes.
        """
        if self.size == 1:
            return [work()]
        part, failure = None, None
        try:
            part = work()
        except Exception as error:  # noqa: BLE001 - raised below, when the others know
            failure = error
        found = _gathered((part, repr(failure) if failure else ""), self.size)
        if failure is not None:
            raise failure
        failed = [(rank, words) for rank, (_, words) in enumerate(found) if words]
        if failed:
            raise RuntimeError(f"process {failed[0][0]} failed: {failed[0][1]}")
        return [each for each, _ in found]

    def agreed(self, value: T) -> T:
        """Return the first process's value on every process."""
        return self.together(lambda: value)[0]


def _gathered(part: Any, size: int) -> list[Any]:
    import torch.distributed as dist

    parts: list[Any] = [None] * size
    dist.all_gather_object(parts, part)
    return parts
