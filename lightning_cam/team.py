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


class TeamError(RuntimeError):
    """A process of the team failed. Raised on all of them, at the same place of their work."""


@dataclass(frozen=True)
class Team:
    """A group of processes; by default this one alone.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        alike: whether all do the same work instead of a part each, because the model's own
            processes need each other for every image; the first one's results count.
    """

    rank: int = 0
    size: int = 1
    alike: bool = False

    def share(self, count: int) -> Share:
        """Return this process's part of `count` items.

        All parts are equally long, and so is what sharded modules do together at each forward pass;
        where that does not divide, the last processes repeat items of earlier ones.
        """
        if self.alike:
            return Share(0, count, 0 if self.rank == 0 else count)
        each = -(-count // self.size)
        start = min(self.rank * each, count - each)
        return Share(start, start + each, min(self.rank * each, count))

    def together(self, work: Callable[[], T]) -> list[T]:
        """Do a part each, and return the parts of all, in order of rank, on every process.

        What comes back went through a pickle between the run's own processes, so tensors should be
        on the CPU.

        Raises:
            TeamError: a process failed, this or another. Nobody waits for a part that never comes.
        """
        if self.size == 1:
            return [work()]
        part, failure = None, None
        try:
            part = work()
        except Exception as error:  # noqa: BLE001 - raised below, when the others know
            failure = error
        found = _gathered((part, _words(failure) if failure else ""), self.size)
        failed = [(rank, words) for rank, (_, words) in enumerate(found) if words]
        if failed:
            raise TeamError(f"process {failed[0][0]} failed: {failed[0][1]}") from failure
        return [each for each, _ in found]

    def through(self, work: Callable[[], T]) -> T:
        """Do work that may call `together`, to its end on all processes or on none.

        A process that fails between two such calls tells the others at the next one; one more at
        the end tells of what failed after the last.

        Raises:
            TeamError: a process failed, this or another.
        """
        if self.size == 1:
            return work()
        try:
            found = work()
        except TeamError:  # the others know
            raise
        except Exception as error:  # raised by all, in the call that they are in
            self.together(_raising(error))
            raise  # never: it has raised
        self.together(lambda: None)
        return found

    def agreed(self, value: T) -> T:
        """Return the first process's value on every process."""
        return self.together(lambda: value if self.rank == 0 else None)[0]  # type: ignore[return-value]

    def same(self, value: T, mark: str) -> T:
        """Return `value` if it is everyone's, by its mark; else the first process's.

        Only the first process's value travels, and only then: it may be large.
        """
        if len(set(self.together(lambda: mark))) == 1:
            return value
        import torch.distributed as dist

        held = [value if self.rank == 0 else None]
        dist.broadcast_object_list(held, src=0)
        return held[0]  # type: ignore[return-value]


def _raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _gathered(part: Any, size: int) -> list[Any]:
    import torch.distributed as dist

    parts: list[Any] = [None] * size
    dist.all_gather_object(parts, part)
    return parts
