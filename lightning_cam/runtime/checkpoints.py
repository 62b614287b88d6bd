"""`load_weights`: read checkpoints, and match the prefixes that wrappers add to weights' names."""

from __future__ import annotations

import math
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_STATE_KEYS = ("state_dict", "model_state_dict", "model", "weights")
_MAX_DEPTH = 4  # of wrappers around a network, such as `module.model.net.`
_COMPILED = "_orig_mod."


@dataclass(frozen=True)
class Loaded:
    """What loading did, or would do.

    Attributes:
        missing: names of the model that are not in the checkpoint; these weights are unchanged.
        unexpected: names of the checkpoint that are not in the model.
        mismatched: names whose shapes differ, with both shapes.
        stripped: the prefix that was removed from the checkpoint's names, then the one that was
            added (`module.`, `+net.`, `model.+net.`).
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    stripped: str


@dataclass(frozen=True)
class TrainingTime:
    """The time in a training at which a checkpoint was saved.

    Attributes:
        epoch: the trainer's epoch, from 0.
        step: the step under which the trainer logged the scalars of the last validation.
    """

    epoch: int
    step: int


def load_weights(
    model: nn.Module, checkpoint: str | Path | Mapping[str, Any], *, weights_only: bool = True
) -> Loaded:
    """Load a checkpoint into a model, matching prefixes such as `module.` or `_orig_mod.`.

    Args:
        model: what to load into, in place.
        checkpoint: a file, or what `torch.load` returned for it: a state dict, or a dict that holds
            one under `state_dict` (Lightning), `model_state_dict` or `model`.
        weights_only: refuse to unpickle anything but tensors and plain containers. Turn it off only
            for files that you trust.

    Raises:
        FileNotFoundError: no such file.
        ValueError: torch cannot read the file, it holds no weights, or none that fit the model by
            name and shape.
    """
    fitting, loaded = _matched(model, _read_if_file(checkpoint, weights_only=weights_only))
    model.load_state_dict(fitting, strict=False)
    return loaded


def match_weights(
    model: nn.Module, checkpoint: str | Path | Mapping[str, Any], *, weights_only: bool = True
) -> Loaded:
    """Return what `load_weights` would return, without loading."""
    return _matched(model, _read_if_file(checkpoint, weights_only=weights_only))[1]


def read_checkpoint(file: str | Path, *, weights_only: bool = True) -> Mapping[str, Any]:
    """Return the content of a file of `torch.save` on the CPU; tensors are read when they are used.

    Args:
        file: a checkpoint of Lightning, a state dict, or a whole module.
        weights_only: refuse to unpickle anything but tensors and plain containers. Turn it off only
            for files that you trust.

    Raises:
        FileNotFoundError: no such file.
        ValueError: torch cannot read it, or it holds something else.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint file, got {path}: no such file")
    found = _unpickled(path, weights_only=weights_only)
    if isinstance(found, nn.Module):
        return {"state_dict": found.state_dict()}
    if not isinstance(found, Mapping):
        raise ValueError(
            f"expected a checkpoint with weights by name, got {path}, a {_kind(found)}"
        )
    return found


def training_time_of(checkpoint: Mapping[str, Any]) -> TrainingTime | None:
    """Return when a checkpoint was saved, None where it does not hold it.

    `global_step` is not the step that Lightning logs under: with several optimizers they differ.
    At the end of an epoch, when checkpoints are saved, Lightning's counter of steps is one higher
    than at the validation.
    """
    epoch = _number(checkpoint, "epoch")
    step = _number(checkpoint, "global_step", "step", "iteration")
    loops = checkpoint.get("loops")
    loop = loops.get("fit_loop", {}) if isinstance(loops, Mapping) else {}
    logged = _number(loop.get("epoch_loop.state_dict", {}), "_batches_that_stepped")
    epochs = loop.get("epoch_progress", {}).get("current", {})
    if logged is not None and epochs.get("ready", 0) > 0:
        ended = epochs.get("processed") == epochs["ready"]
        return TrainingTime(epochs["ready"] - 1, max(0, logged - 1) if ended else logged)
    if epoch is None and step is None:
        return None
    known = epoch if epoch is not None else step
    return TrainingTime(known or 0, step if step is not None else known or 0)


def monitored_value_of(checkpoint: Mapping[str, Any]) -> float:
    """Return the value that the first `ModelCheckpoint` with a monitor saw.

    The higher the better: the negative of a value that is minimised. NaN where nothing was
    monitored.
    """
    callbacks = checkpoint.get("callbacks")
    for key, state in callbacks.items() if isinstance(callbacks, Mapping) else ():
        score = state.get("current_score") if isinstance(state, Mapping) else None
        if score is not None and state.get("monitor"):
            return float(score) if "'mode': 'max'" in str(key) else -float(score)
    return math.nan


def _number(holder: Mapping[str, Any], *keys: str) -> int | None:
    found = [holder[key] for key in keys if isinstance(holder.get(key), int)]
    return int(found[0]) if found else None


def _read_if_file(
    checkpoint: str | Path | Mapping[str, Any], *, weights_only: bool
) -> Mapping[str, Any]:
    if isinstance(checkpoint, Mapping):
        return checkpoint
    return read_checkpoint(checkpoint, weights_only=weights_only)


def _unpickled(path: Path, *, weights_only: bool) -> Any:
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"  # older files cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=weights_only, mmap=zipped)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path} holds objects whose code is not here: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        if weights_only and "weights_only" in str(error) and "GLOBAL" in str(error):
            what = str(error).split("GLOBAL ", 1)[1].split(" ", 1)[0]
            raise ValueError(
                f"expected weights in {path}, got also a Python object ({what}), which could run "
                "code. If you trust the file, load it with weights_only=False (--unsafe-load)."
            ) from error
        raise ValueError(
            f"expected a checkpoint written by torch.save, got {path}, which torch cannot read"
        ) from error


def _kind(found: object) -> str:
    return type(found).__name__


def _weights_in(checkpoint: Any) -> dict[str, Tensor]:
    for key in _STATE_KEYS:
        inner = checkpoint.get(key) if isinstance(checkpoint, Mapping) else None
        if isinstance(inner, Mapping):
            return _weights_in(inner)
    tensors = {}
    if isinstance(checkpoint, Mapping):
        tensors = {str(k): v for k, v in checkpoint.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ValueError("expected a checkpoint with weights by name, got one without tensors")
    return tensors


def _matched(model: nn.Module, checkpoint: Mapping[str, Any]) -> tuple[dict[str, Tensor], Loaded]:
    """Return the weights that fit, under the model's own names, and what does not."""
    weights, own = _weights_in(checkpoint), model.state_dict()
    plain = {name.replace(_COMPILED, ""): name for name in own}  # either may be compiled
    taken, added = _prefixes(
        {name.replace(_COMPILED, ""): t.shape for name, t in weights.items()},
        {name: own[full].shape for name, full in plain.items()},
    )
    fitting, unexpected, mismatched = {}, [], []
    for name, tensor in weights.items():
        rest = name.replace(_COMPILED, "")
        full = plain.get(added + rest[len(taken) :]) if rest.startswith(taken) else None
        if full is None:
            unexpected.append(name)
        elif own[full].shape == tensor.shape:
            fitting[full] = tensor
        else:
            mismatched.append(
                f"{full}: {tuple(tensor.shape)} in the checkpoint, {tuple(own[full].shape)} in the "
                "model"
            )
    if not fitting:
        raise ValueError(
            f"expected weights named and shaped like the model's ({', '.join(list(own)[:3])}, "
            f"...), got {', '.join(list(weights)[:3])}, ..."
        )
    odd = {line.split(":")[0] for line in mismatched}
    missing = tuple(name for name in own if name not in fitting and name not in odd)
    prefixes = taken + (f"+{added}" if added else "")
    return fitting, Loaded(missing, tuple(unexpected), tuple(mismatched), prefixes)


def _prefixes(weights: Mapping[str, torch.Size], own: Mapping[str, torch.Size]) -> tuple[str, str]:
    """Return the prefixes to remove and to add with which most weights fit.

    Prefixes of DataParallel and DDP (`module.`), Lightning modules (`model.`, `net.`), EMA and
    trainers are found by the rest of the name and the shape, whatever they are called.
    """
    rests: dict[tuple[str, torch.Size], list[str]] = defaultdict(list)
    for name, shape in own.items():
        for added, rest in _splits(name):
            rests[rest, shape].append(added)
    hits = Counter(
        (taken, added)
        for name, shape in weights.items()
        for taken, rest in _splits(name)
        for added in rests.get((rest, shape), ())
    )
    shortest = sorted(hits, key=lambda pair: (-hits[pair], len(pair[0] + pair[1]), pair))
    return shortest[0] if shortest else ("", "")


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield a name split into prefix and rest: `a.b.c` as ("", a.b.c), ("a.", b.c), ("a.b.", c)."""
    parts = name.split(".")
    for depth in range(min(len(parts), _MAX_DEPTH + 1)):
        prefix = "".join(f"{part}." for part in parts[:depth])
        yield prefix, name[len(prefix) :]
