"""Load weights whose names carry what wrapped the model when they were saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# What DataParallel and DDP, Lightning modules, `torch.compile`, EMA and trainers put in front.
_WRAPPERS = ("module", "model", "_orig_mod", "net", "network", "backbone", "encoder", "ema_model")
_STATE_KEYS = ("state_dict", "model_state_dict", "model", "weights")


@dataclass(frozen=True)
class Loaded:
    """What loading did.

    Attributes:
        missing: names of the model that the checkpoint has not, left as they were.
        unexpected: names of the checkpoint that the model has not.
        mismatched: names whose shapes differ, with both shapes.
        stripped: the prefix that was taken off the checkpoint's names, or put on (`+net.`).
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    stripped: str


def load_weights(
    model: nn.Module, checkpoint: str | Path | Mapping[str, Any], *, weights_only: bool = True
) -> Loaded:
    """Load a checkpoint into a model, matching prefixes such as `module.` or `_orig_mod.`.

    Args:
        model: what to load into, in place.
        checkpoint: a file or what `torch.load` returned from it: a state dict, or a dict that holds
            one under `state_dict` (Lightning), `model_state_dict` or `model`.
        weights_only: refuse to unpickle anything but tensors and plain containers. Turn off for
            files that you trust only.

    Raises:
        FileNotFoundError: no such file.
        ValueError: there are no weights in it, or none whose name and shape the model has.
    """
    if not isinstance(checkpoint, Mapping):
        path = Path(checkpoint)
        if not path.is_file():
            raise FileNotFoundError(f"expected a checkpoint file, came {path}, which is none")
        checkpoint = torch.load(path, map_location="cpu", weights_only=weights_only)
    weights = _weights_in(checkpoint)
    own = model.state_dict()
    renamed, stripped = _best_names(weights, set(own))
    fitting = {n: t for n, t in renamed.items() if n in own and own[n].shape == t.shape}
    if not fitting:
        some = ", ".join(list(weights)[:3])
        raise ValueError(
            f"expected weights named like the model's ({', '.join(list(own)[:3])}, ...), came "
            f"{some}, ..."
        )
    model.load_state_dict(fitting, strict=False)
    return Loaded(
        missing=tuple(name for name in own if name not in fitting),
        unexpected=tuple(name for name in renamed if name not in own),
        mismatched=tuple(
            f"{name}: {tuple(t.shape)} in the checkpoint, {tuple(own[name].shape)} in the model"
            for name, t in renamed.items()
            if name in own and own[name].shape != t.shape
        ),
        stripped=stripped,
    )


def _weights_in(checkpoint: Any) -> dict[str, Tensor]:
    for key in _STATE_KEYS:
        inner = checkpoint.get(key) if isinstance(checkpoint, Mapping) else None
        if isinstance(inner, Mapping):
            return _weights_in(inner)
    tensors = {}
    if isinstance(checkpoint, Mapping):
        tensors = {str(k): v for k, v in checkpoint.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ValueError("expected a checkpoint with weights by name, came one without tensors")
    return tensors


def _best_names(weights: Mapping[str, Tensor], own: set[str]) -> tuple[dict[str, Tensor], str]:
    """Return the weights under the naming that most of the model's names agree with."""
    best = dict(weights)
    stripped = ""
    candidates = [("", best)]
    # Prefixes may be nested in any order: `module._orig_mod.model.`
    for taken, names in candidates:
        if _hits(names, own) > _hits(best, own):
            best, stripped = names, taken
        for wrapper in _WRAPPERS:
            prefix = f"{wrapper}."
            if taken.count(".") < 4 and any(n.startswith(prefix) for n in names):  # noqa: PLR2004
                inner = {n[len(prefix) :]: t for n, t in names.items() if n.startswith(prefix)}
                candidates.append((taken + prefix, inner))
    for wrapper in {name.split(".")[0] for name in own}:
        longer = {f"{wrapper}.{name}": tensor for name, tensor in best.items()}
        if _hits(longer, own) > _hits(best, own):
            best, stripped = longer, f"+{wrapper}."
    return best, stripped


def _hits(weights: Mapping[str, Tensor], own: set[str]) -> int:
    return sum(name in own for name in weights)
