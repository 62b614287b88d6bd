"""Read checkpoints, and load weights whose names carry what wrapped the model when saved."""

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
_DEEPEST = 4  # wrappers around a network, such as `module.model.net.`
_COMPILED = "_orig_mod."


@dataclass(frozen=True)
class Loaded:
    """What loading did, or would do.

    Attributes:
        missing: names of the model that the checkpoint has not, left as they were.
        unexpected: names of the checkpoint that the model has not.
        mismatched: names whose shapes differ, with both shapes.
        stripped: the prefix that was taken off the checkpoint's names, then the one that was put on
            (`module.`, `+net.`, `model.+net.`).
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    stripped: str


@dataclass(frozen=True)
class TrainingTime:
    """When in a training a checkpoint was saved.

    Attributes:
        epoch: the trainer's epoch, from 0.
        step: the step under which the trainer logged the scalars of the validation just before.
    """

    epoch: int
    step: int


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
        ValueError: torch cannot read the file, there are no weights in it, or none whose name and
            shape the model has.
    """
    fitting, loaded = _matched(model, _read_if_file(checkpoint, weights_only=weights_only))
    model.load_state_dict(fitting, strict=False)
    return loaded


def match_weights(
    model: nn.Module, checkpoint: str | Path | Mapping[str, Any], *, weights_only: bool = True
) -> Loaded:
    """Return what `load_weights` would, and leave the model as it is."""
    return _matched(model, _read_if_file(checkpoint, weights_only=weights_only))[1]


def read_checkpoint(file: str | Path, *, weights_only: bool = True) -> Mapping[str, Any]:
    """Return what a file of `torch.save` holds, on the CPU, its tensors read when they are used.

    Args:
        file: a checkpoint of Lightning, a state dict, or a whole module.
        weights_only: refuse to unpickle anything but tensors and plain containers. Turn off for
            files that you trust only.

    Raises:
        FileNotFoundError: no such file.
        ValueError: torch cannot read it, or it holds something else.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint file, got {path}, which is none")
    found = _unpickled(path, weights_only=weights_only)
    if isinstance(found, nn.Module):
        return {"state_dict": found.state_dict()}
    if not isinstance(found, Mapping):
        raise ValueError(
            f"expected a checkpoint with weights by name, got {path}, a {_kind(found)}"
        )
    return found


def training_time_of(checkpoint: Mapping[str, Any]) -> TrainingTime | None:
    """Return when a checkpoint was saved, None where it does not say.

    `global_step` is not what Lightning logs under: with several optimizers the two differ. And at
    the end of an epoch, when checkpoints are saved, its counter is one beyond the validation's.
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
    """Return the value that the training's first `ModelCheckpoint` with a monitor saw.

    The higher the better, as `History.add` takes it: of what is minimised the negative; NaN where
    nothing was monitored.
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
    """Return the weights that fit under the model's own names, and the report."""
    weights, own = _weights_in(checkpoint), model.state_dict()
    plain = {name.replace(_COMPILED, ""): name for name in own}  # both may be compiled, or one
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
    """Return the prefix to take off and the one to put on under which most weights fit.

    What DataParallel and DDP (`module.`), Lightning modules (`model.`, `net.`), EMA and trainers
    put in front is found by what is behind it, whatever it is called.
    """
    behind: dict[tuple[str, torch.Size], list[str]] = defaultdict(list)
    for name, shape in own.items():
        for added, rest in _splits(name):
            behind[rest, shape].append(added)
    hits = Counter(
        (taken, added)
        for name, shape in weights.items()
        for taken, rest in _splits(name)
        for added in behind.get((rest, shape), ())
    )
    shortest = sorted(hits, key=lambda pair: (-hits[pair], len(pair[0] + pair[1]), pair))
    return shortest[0] if shortest else ("", "")


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield a name as prefix and rest: `a.b.c` as ("", a.b.c), ("a.", b.c), ("a.b.", c)."""
    parts = name.split(".")
    for depth in range(min(len(parts), _DEEPEST + 1)):
        prefix = "".join(f"{part}." for part in parts[:depth])
        yield prefix, name[len(prefix) :]
