"""The model of a command: build it, load its weights, move it to its device, run it once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cam.cli.console import listed, note
from lightning_cam.cli.models import build_model
from lightning_cam.explain.outputs import find_logits
from lightning_cam.runtime.checkpoints import Loaded, load_weights, match_weights, read_checkpoint
from lightning_cam.runtime.model_state import preserve_model_state

_COUNTERS = ".num_batches_tracked"  # without influence on the output


def build(args: argparse.Namespace, checkpoint: Mapping[str, Any] | None) -> nn.Module:
    """Return the model in evaluation mode on its device, with the checkpoint's weights if any.

    Args:
        args: with `model`, `num_classes`, `device`, `partial`, and perhaps `pretrained`.
        checkpoint: what `read_checkpoint` returned.
    """
    device = device_of(args.device)
    model = build_model(
        args.model,
        num_classes=args.num_classes,
        pretrained=getattr(args, "pretrained", False),
        arguments=remembered_arguments(checkpoint or {}),
    )
    if checkpoint is not None:
        loaded = match_weights(model, checkpoint)
        check_fit(loaded, partial=args.partial)
        load_weights(model, checkpoint)
        tell(loaded)
    return model.eval().to(device)


def remembered_arguments(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a LightningModule that its checkpoint holds."""
    known = checkpoint.get("hyper_parameters")
    if not isinstance(known, Mapping):
        return {}
    holder = checkpoint.get("hparams_name", "kwargs")
    return {str(key): v for key, v in known.items()} if holder == "kwargs" else {holder: known}


def open_checkpoint(file: Path, args: argparse.Namespace) -> Mapping[str, Any]:
    """Read a checkpoint; only weights, unless the user trusts the file."""
    return read_checkpoint(file, weights_only=not args.unsafe_load)


def check_fit(loaded: Loaded, *, partial: bool, file: Path | None = None) -> None:
    """Raise ValueError where some of the model's weights would stay random."""
    missing = [name for name in loaded.missing if not name.endswith(_COUNTERS)]
    if partial or not (missing or loaded.mismatched):
        return
    problems = []
    if loaded.mismatched:
        problems.append(f"other shapes ({listed(loaded.mismatched)})")
    if missing:
        problems.append(f"no {listed(missing)}")
    raise ValueError(
        f"expected a checkpoint{f', {file},' if file else ''} with all weights of the model, got "
        f"{' and '.join(problems)}. --num-classes N builds a torchvision or timm model for N "
        "classes; --partial goes on with what fits."
    )


def tell(loaded: Loaded) -> None:
    """Print what loading left out."""
    if loaded.stripped:
        note(f"names of the checkpoint matched by prefix: {loaded.stripped}")
    missing = [name for name in loaded.missing if not name.endswith(_COUNTERS)]
    for what, names in (
        ("of the checkpoint, the model has no", loaded.unexpected),
        ("the checkpoint has no", missing),
        ("of another shape, not loaded", loaded.mismatched),
    ):
        if names:
            note(f"{what}: {listed(names)}")


def device_of(name: str | None) -> torch.device:
    """Return the device called `name`, by default the first GPU where there is one.

    Raises:
        ValueError: no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"expected a device such as cpu or cuda:0, got {name!r}: {first}"
        ) from error
    return device


def tried(model: nn.Module, images: Tensor) -> int | None:
    """Run the model once; return its number of classes, None where its output holds no logits.

    Raises:
        ValueError: it does not run on such images.
    """
    try:
        with preserve_model_state(model, images.device), torch.no_grad():
            output = model(images)
    except Exception as error:
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(
            f"the model does not run on images of shape {tuple(images.shape[1:])}: {words} (other "
            "images: --size, --channels; where it happened: --traceback)"
        ) from error
    logits = find_logits(output, len(images))
    return None if logits is None else logits.shape[1]


def class_names(
    given: Path | None, published: Sequence[str] | None, num_classes: int | None
) -> tuple[str, ...] | None:
    """Return the names of the classes from a file, one per line, else the published ones.

    Raises:
        ValueError: no such file, or another number of lines than the model has classes.
    """
    if given is None:
        fit = published is not None and len(published) == num_classes
        return tuple(published or ()) if fit else None
    if not given.is_file():
        raise ValueError(f"expected --classes as a file with one name per line, got {given}")
    try:
        lines = given.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"expected --classes as a text file in UTF-8, got {given}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if num_classes is not None and len(names) != max(2, num_classes):
        raise ValueError(
            f"expected {max(2, num_classes)} names in {given}, one for each of the model's "
            f"classes, got {len(names)}"
        )
    return names
