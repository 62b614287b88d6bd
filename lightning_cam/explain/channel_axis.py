"""`channels_last`: which axis of a tensor holds the channels, by the operations that computed it.

Its shape does not tell where height, width and channels are equal, as (B, 96, 96, 96) in Swin at
384 pixels. Convolutions and normalisations of planes have their channels in axis 1, linear layers
and layer normalisations in the last one; elementwise operations, permutations and views in between
move the axes in a known way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from lightning_cam.explain.capture import GradientStart, Site
from lightning_cam.runtime.containers import normal, tensors_in

_PLANES = ("BatchNorm", "GroupNorm", "Pool2D", "Upsample", "PixelShuffle", "GridSampler2D")
_VECTORS = ("Addmm", "Mm", "Linear")
_NDIM = 4
_MOST_NODES = 2000  # of the graph; what decides is seldom further than a residual block
_Axes: TypeAlias = "tuple[int | None, int | None]"  # where axes 1 and 3 are in a node's output


def channels_last(tensor: Tensor) -> bool | None:
    """Return whether the last axis of (B, ., ., .) holds the channels; None where nothing tells.

    Args:
        tensor: with the graph that computed it; the operations nearest to it decide.
    """
    start: _Axes = (1, 3)
    waiting = deque([(tensor.grad_fn, start)])
    seen: set[tuple[Any, _Axes]] = set()
    while waiting and len(seen) < _MOST_NODES:
        node, axes = waiting.popleft()
        if node is None or (node, axes) in seen:
            continue
        seen.add((node, axes))
        shape = _shape(node)
        if shape is None:
            continue
        axis = _channel_axis(node, len(shape))
        if axis is None:
            waiting += [(inner, _axes_in(node, inner, axes)) for inner, _ in node.next_functions]
        elif axis in axes:
            return axis == axes[1]
    return None


def channels_last_at(
    modules: Mapping[str, nn.Module], image: Tensor, run: Callable[[Tensor], Any]
) -> dict[Site, bool | None]:
    """Run an image and return `channels_last` of what modules return, by site.

    Args:
        modules: by name.
        image: (1, C, H, W).
        run: runs the model, inside `preserve_model_state`.
    """
    calls: dict[str, list[dict[str, bool | None]]] = {name: [] for name in modules}

    def listen(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            found = {p: channels_last(t) for p, t in tensors_in(output) if t.ndim == _NDIM}
            calls[name].append(found)

        return hook

    handles = [module.register_forward_hook(listen(name)) for name, module in modules.items()]
    try:
        with GradientStart(grad=True):
            leaf = normal(image).detach().clone().requires_grad_()
            run(leaf.clone())  # the model may write into its input, which a leaf does not allow
    finally:
        for handle in handles:
            handle.remove()
    return {
        Site(name, k if len(found) > 1 else None, path): last
        for name, found in calls.items()
        for k, one_call in enumerate(found)
        for path, last in one_call.items()
    }


def _channel_axis(node: Any, ndim: int) -> int | None:
    """Return the axis of the channels in an operation's output, None where it does not tell."""
    name = node.name()
    if "Convolution" in name:
        return 1 if ndim == _NDIM else None
    if any(kind in name for kind in _PLANES):
        return 1 if ndim == _NDIM else None
    if "LayerNorm" in name or "RmsNorm" in name:
        normalised = getattr(node, "_saved_normalized_shape", (0,))
        return ndim - 1 if len(normalised) == 1 else None
    return ndim - 1 if name.startswith(_VECTORS) else None


def _axes_in(node: Any, inner: Any, axes: _Axes) -> _Axes:
    """Return where axes of an operation's output are in the output of the one before it."""
    shape, before = _shape(node), _shape(inner)
    if shape is None or before is None:
        return (None, None)
    name = node.name()
    if name.startswith("Permute"):
        order = [_signed(each) % len(shape) for each in node._saved_dims]  # noqa: SLF001
        first, last = (None if axis is None else order[axis] for axis in axes)
    elif name.startswith("Transpose"):
        pair = [_signed(d) % len(shape) for d in (node._saved_dim0, node._saved_dim1)]  # noqa: SLF001
        swapped = {pair[0]: pair[1], pair[1]: pair[0]}
        first, last = (None if axis is None else swapped.get(axis, axis) for axis in axes)
    elif "View" in name or "Reshape" in name:
        first, last = (None if axis is None else _same_axis(shape, axis, before) for axis in axes)
    else:
        kept = len(shape) == len(before)
        first, last = (
            axis if axis is not None and kept and shape[axis] == before[axis] else None
            for axis in axes
        )
    return first, last


def _same_axis(shape: Sequence[int], axis: int, before: Sequence[int]) -> int | None:
    """Return the axis that a view kept: of the same size, with as many elements behind it."""
    behind = math.prod(shape[axis + 1 :])
    fitting = (
        other
        for other, size in enumerate(before)
        if size == shape[axis] and math.prod(before[other + 1 :]) == behind
    )
    return next(fitting, None)


def _shape(node: Any) -> tuple[int, ...] | None:
    """Return the shape of the first output of an operation."""
    found = getattr(node, "_input_metadata", None) if node is not None else None
    return tuple(found[0].shape) if found else None


def _signed(number: int) -> int:
    """Return an axis that torch saved as an unsigned number as it was given."""
    return number - (1 << 64) if number >= 1 << 63 else number
