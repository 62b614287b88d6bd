"""The processes that train together, and how they share the passes of one evaluation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
S = TypeVar("S")
Sharing = Literal["independent", "lockstep", "replicated"]


@dataclass(frozen=True)
class Shard:
    """The part of `count` items that one process computes.

    Attributes:
        start: index of the first item.
        stop: index after the last item.
        own: index of the first item that no earlier process computes too.
    """

    start: int
    stop: int
    own: int

    @property
    def rows(self) -> slice:
        """The items that this process computes."""
        return slice(self.start, self.stop)

    @property
    def duplicates(self) -> int:
        """How many of them, from the first, an earlier process computes as well."""
        return min(self.own, self.stop) - self.start


class PeerProcessError(RuntimeError):
    """One process of the group failed. Raised on all of them, at the same point of their work."""


@dataclass(frozen=True)
class DistributedContext:
    """A group of processes; by default this process alone.

    Attributes:
        rank: of this process, from 0.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def current(cls) -> DistributedContext:
        """Return the group of `torch.distributed`, or this process alone where there is none."""
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def shard(self, count: int, *, replicated: bool = False) -> Shard:
        """Return this process's part of `count` items.

        All parts have the same length, because modules whose weights are sharded communicate in
        every forward pass. Where `count` cannot be divided evenly, the last processes repeat items
        of earlier ones.

        Args:
            count: number of items.
            replicated: every process computes all items, and those of rank 0 count.
        """
        if replicated:
            return Shard(0, count, 0 if self.rank == 0 else count)
        size = -(-count // self.world_size)
        start = min(self.rank * size, count - size)
        return Shard(start, start + size, min(self.rank * size, count))

    def all_gather(self, work: Callable[[], T]) -> list[T]:
        """Run `work` on every process and return the results of all, ordered by rank.

        The results are pickled, so tensors in them should be on the CPU.

        Raises:
            PeerProcessError: `work` raised on this process or on another one. No process is left
                waiting for a result that never comes.
        """
        if self.world_size == 1:
            return [work()]
        result, failure = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised below, once the others know
            failure = error
        gathered = _all_gather_object((result, _describe(failure)), self.world_size)
        failed = [(rank, message) for rank, (_, message) in enumerate(gathered) if message]
        if failed:
            raise PeerProcessError(f"process {failed[0][0]} failed: {failed[0][1]}") from failure
        return [each for each, _ in gathered]

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Run work that may call `all_gather` itself, to its end on all processes or on none.

        Raises:
            PeerProcessError: see `run_and_share`.
        """
        return self.run_and_share(lambda: (work(), None))[0]

    def run_and_share(self, work: Callable[[], tuple[T, S]]) -> tuple[T, S]:
        """Run work as `run_on_all` does; it returns a result and what others may know of it.

        A process that fails between two calls of `all_gather` reports it in the next one; a last
        call at the end reports what failed after that.

        Returns:
            This process's result, and what rank 0 shared.

        Raises:
            PeerProcessError: `work` raised on this process or on another one.
        """
        if self.world_size == 1:
            return work()
        try:
            result, shared = work()
        except PeerProcessError:  # the others know
            raise
        except Exception as error:  # raised on all processes, in the call that they wait in
            self.all_gather(_raising(error))
            raise  # unreachable: the call above raises
        return result, self.broadcast(shared)

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on every process."""
        return self.all_gather(lambda: value if self.rank == 0 else None)[0]  # type: ignore[return-value]

    def broadcast_if_different(self, value: T, fingerprint: str) -> T:
        """Return `value` where all fingerprints are equal, else rank 0's value.

        The value itself, which may be large, is sent only where fingerprints differ.
        """
        if len(set(self.all_gather(lambda: fingerprint))) == 1:
            return value
        import torch.distributed as dist

        held = [value if self.rank == 0 else None]
        dist.broadcast_object_list(held, src=0)
        return held[0]  # type: ignore[return-value]


def sharing_of(model: nn.Module, world_size: int) -> Sharing:
    """Return how `world_size` processes may share forward passes of `model`.

    - `independent`: each process has all weights and may run any images, any number of times;
    - `lockstep`: weights are gathered in each pass (FSDP2), so all processes must make the same
      number of passes, each with its own images;
    - `replicated`: all processes must run the same images, because each computes a part of every
      activation (tensor parallelism) or because it is not known that they do not.

    Raises:
        ValueError: a model that cannot be called outside the trainer's own steps.
    """
    if world_size == 1 or "torch.distributed.fsdp" not in sys.modules:
        return "replicated" if world_size > 1 and _meshes(model) else "independent"
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        raise ValueError(unsupported_sharding("FullyShardedDataParallel"))
    meshes = _meshes(model)
    if not meshes:
        return "independent"
    covered = isinstance(model, FSDPModule) or any(
        isinstance(module, FSDPModule) for module in model.modules()
    )
    flat = all(mesh.ndim == 1 and mesh.size() == world_size for mesh in meshes)
    return "lockstep" if covered and flat else "replicated"


def unsupported_sharding(name: str) -> str:
    """Return the message for weights that only the trainer's own steps can use."""
    return (
        "expected a model that can be called in a validation hook, got weights that are sharded "
        f"by {name}, which only its own wrapper can gather. Use ModelParallelStrategy with "
        "fully_shard in configure_model, DDP, or ZeRO stage 1 or 2, or leave CAMCallback out."
    )


def _meshes(model: nn.Module) -> list[Any]:
    """Return the device meshes of sharded parameters, empty where every process has them whole."""
    if "torch.distributed.tensor" not in sys.modules:
        return []
    from torch.distributed.tensor import DTensor

    return [p.device_mesh for p in model.parameters() if isinstance(p, DTensor)]


def _raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def _describe(error: Exception | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"


def _all_gather_object(value: Any, world_size: int) -> list[Any]:
    import torch.distributed as dist

    gathered: list[Any] = [None] * world_size
    dist.all_gather_object(gathered, value)
    return gathered
