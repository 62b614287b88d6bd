"""`MapComputer`: `compute_cams` for a probe, in memory that there is, shared over processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_cam.explain.engine import compute_cams
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.targets import DetectionTarget, MultiLabelTarget
from lightning_cam.runtime.chunking import AdaptiveChunkSize, default_chunk_size
from lightning_cam.runtime.distributed import DistributedContext, Sharing, sharing_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from lightning_cam.explain.layers import LayersLike
    from lightning_cam.explain.result import CAMResult
    from lightning_cam.explain.targets import Target
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.runtime.distributed import Shard

T = TypeVar("T")


class MapComputer:
    """Computes the maps that a configuration asks for.

    Args:
        config: methods, smoothing, chunk size and seed.
        target: what is explained.
        model: the network, without wrappers.
        images: the probe's images on the model's device.

    Attributes:
        target: what is explained.
        seed: of everything random.
        chunk_size: images per pass; halved for good whenever memory runs out.
        context: the processes that share the passes.
        sharing: how they may share them, see `sharing_of`.
        agreed: whether all processes have the same chunk size; not after a failure.

    Raises:
        ValueError: a model that cannot be called outside the trainer's own steps.
    """

    context: DistributedContext
    sharing: Sharing

    def __init__(
        self, config: MonitorConfig, target: Target, model: nn.Module, images: Tensor
    ) -> None:
        self._config = config
        self.target = target
        self.seed = config.seed
        self.chunk_size = AdaptiveChunkSize(default_chunk_size(images, config.chunk_size))
        self.agreed = False
        self._reported_chunk_size = self.chunk_size.current
        self.update_sharing(model)

    @property
    def replicated(self) -> bool:
        """Whether every process runs all images."""
        return self.sharing == "replicated"

    def update_sharing(self, model: nn.Module) -> None:
        """Find out how processes may share passes; every process must call this."""
        self.context = DistributedContext.current()
        self.sharing = sharing_of(model, self.context.world_size)
        # Then the number of backward passes depends on the images, and would differ.
        uneven = isinstance(self.target, (MultiLabelTarget, DetectionTarget))
        if self.sharing == "lockstep" and uneven:
            self.sharing = "replicated"
        self.chunk_size.fixed = self.sharing != "independent"
        if self.chunk_size.fixed and not self.agreed:  # memory may have run out on one process only
            sizes = self.context.all_gather(lambda: self.chunk_size.current)
            self.chunk_size.current = min(sizes)
        self.agreed = self.chunk_size.fixed

    def memory_warning(self) -> str:
        """Return a warning where memory has run out since the last call, else an empty string."""
        before, now = self._reported_chunk_size, self.chunk_size.current
        self._reported_chunk_size = now
        if now >= before:
            return ""
        return (
            f"lightning_cam ran out of memory with {before} images per pass and goes on with "
            f"{now}. chunk_size={now} starts with that."
        )

    def share(self, count: int, work: Callable[[Shard], T]) -> list[T]:
        """Run `work` for this process's part of `count` images; return the results of all parts.

        By one exchange between the processes. Results are pickled: tensors should be on the CPU.
        """
        shard = self.context.shard(count, replicated=self.replicated)
        return self.context.all_gather(lambda: work(shard))

    def compute_here(
        self,
        model: nn.Module,
        images: Tensor,
        layers: LayersLike,
        *,
        rows: slice | None = None,
        **other: Any,
    ) -> CAMResult:
        """Compute the images `rows`, all by default, on this process alone."""
        arguments = {
            "targets": self.target,
            "method": self._config.method,
            "layers": layers or "auto",
            "aug_smooth": self._config.aug_smooth,
            "eigen_smooth": self._config.eigen_smooth,
            "fuse_layers": self._config.fuse_layers,
            "seed": self._config.seed,
            "rows": rows,
            "class_names": (),  # nothing is drawn from these results
            **other,
        }
        count = len(images) if rows is None else len(range(len(images))[rows])
        result = self.chunk_size.run(
            lambda size: compute_cams(model, images, chunk_size=size, **arguments), count
        )
        return result.without_images()  # it is sent to other processes, and remembered

    def first_maps(
        self,
        model: nn.Module,
        images: Tensor,
        target: Target,
        layers: Sequence[str],
        rows: slice | None = None,
    ) -> Tensor:
        """Return the first method's maps (N, h, w) alone, of other images, weights or targets."""
        method = resolve_methods(self._config.method)[0]
        result = self.compute_here(
            model,
            images,
            list(layers) if method.place == "layer" else "auto",
            rows=rows,
            targets=target,
            method=method,
            fuse_layers=False,
        )
        return next(iter(result.maps.values()))
