"""`probe_from`: a probe from a folder, a file of tensors, or an importable object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_cam.cli.console import note
from lightning_cam.cli.images import Preparation, find_images
from lightning_cam.cli.models import import_attribute, made
from lightning_cam.probe import Probe
from lightning_cam.probe.build import ProbeContext
from lightning_cam.probe.choice import choose_balanced, shuffled
from lightning_cam.probe.sampling import first_loader, loader_of, sample_source
from lightning_cam.runtime.batch_hooks import feed_without_trainer
from lightning_cam.runtime.checkpoints import read_checkpoint
from lightning_cam.runtime.messages import unknown_name

_FIELDS = ("images", "targets", "masks", "boxes", "ids", "class_names", "mean", "std")


@dataclass(frozen=True)
class Sampling:
    """How a larger set is sampled, as `CAMCallback` samples it.

    Attributes:
        size: number of images.
        seed: of the choice.
        split: of a datamodule.
    """

    size: int
    seed: int = 0
    split: str = "val"


def probe_from(
    source: str,
    sampling: Sampling,
    preparation: Preparation,
    *,
    masks: Path | None = None,
    class_names: Sequence[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    module: nn.Module | None = None,
) -> Probe:
    """Return the probe of a source.

    Args:
        source: a folder of images, best with one subfolder per class; a `.pt` file with a dict of
            the arguments of `Probe`; or `package.module:attribute`, a probe, dataset, dataloader
            or datamodule, or a function that makes one.
        sampling: how a larger set is sampled.
        preparation: of image files.
        masks: a folder of masks, laid out like the folder of images.
        class_names: in the model's order; by default those of the subfolders, sorted.
        arguments: of a datamodule's class, as a checkpoint holds them.
        module: the model, whose batch hooks samples pass as they do in a training.

    Raises:
        ValueError: no such source, or no probe can be made of it.
    """
    path = Path(source)
    if masks is not None and not path.is_dir():
        raise ValueError("expected --masks with a folder of images as --probe only")
    if path.is_dir():
        return _from_folder(path, sampling, preparation, masks, class_names)
    if path.is_file():
        return _from_file(path)
    if ":" in source:
        return _from_object(source, import_attribute(source), sampling, arguments or {}, module)
    raise ValueError(
        f"expected --probe as a folder, a .pt file or package.module:attribute, got {source!r}"
    )


def _from_file(path: Path) -> Probe:
    fields = read_checkpoint(path)
    for name in fields:
        if name not in _FIELDS:
            raise ValueError(unknown_name(f"part of the probe in {path}", name, _FIELDS))
    if "images" not in fields:
        raise ValueError(f"expected a dict with 'images' in {path}, got {', '.join(fields)}")
    return Probe(**fields)


def _from_object(
    name: str,
    found: Any,
    sampling: Sampling,
    arguments: Mapping[str, Any],
    module: nn.Module | None,
) -> Probe:
    if isinstance(found, Probe):
        return found
    if not isinstance(found, type):
        if hasattr(found, "val_dataloader") and hasattr(found, "setup"):
            found.prepare_data()
            found.setup("fit")
            return _sampled(loader_of(found, sampling.split), sampling, module, found)
        if isinstance(found, (list, tuple, dict)):
            found = first_loader(found)
        if hasattr(found, "__getitem__") or hasattr(found, "__iter__"):
            return _sampled(found, sampling, module, None)
    if callable(found):
        remembers = isinstance(found, type) and hasattr(found, "load_from_checkpoint")
        thing = made(name, found, arguments if remembers else {})
        if isinstance(thing, type) or not callable(thing) or hasattr(thing, "__getitem__"):
            return _from_object(name, thing, sampling, {}, module)
        found = thing
    raise ValueError(
        f"expected {name} to be or to make a Probe, a dataset, a dataloader or a datamodule, got "
        f"a {type(found).__name__}"
    )


def _sampled(source: Any, sampling: Sampling, module: nn.Module | None, datamodule: Any) -> Probe:
    """Return the probe of a dataset or dataloader, sampled as `CAMCallback` samples it."""
    feed = None if module is None else feed_without_trainer(module, datamodule, note)
    context = ProbeContext.of(module, datamodule, feed=feed)
    found = sample_source(source, sampling.size, sampling.seed, context)
    return Probe(**found.values)


def _from_folder(
    folder: Path,
    sampling: Sampling,
    preparation: Preparation,
    masks: Path | None,
    class_names: Sequence[str] | None,
) -> Probe:
    """Return a probe of the images in a folder, balanced over its subfolders, the classes."""
    found = find_images([folder], but=masks)
    files, places = list(found), list(found.values())
    labels, names = _labels(folder, places, class_names)
    order = shuffled(len(files), sampling.seed)
    classes = [-1 if labels is None else labels[i] for i in order]
    chosen = sorted(choose_balanced(order, classes, sampling.size))
    return Probe(
        torch.stack([preparation.image(files[i]) for i in chosen]),
        None if labels is None else [labels[i] for i in chosen],
        masks=None
        if masks is None
        else torch.stack([preparation.mask(_beside(masks, places[i])) for i in chosen]),
        ids=[places[i].as_posix() for i in chosen],
        class_names=names,
        mean=preparation.mean,
        std=preparation.std,
    )


def _labels(
    folder: Path, places: Sequence[Path], class_names: Sequence[str] | None
) -> tuple[list[int] | None, list[str] | None]:
    """Return each image's class by its first folder, and the names; None without subfolders."""
    folders = sorted({place.parts[0] for place in places if len(place.parts) > 1})
    if not folders:
        return None, list(class_names) if class_names else None
    loose = [place for place in places if len(place.parts) == 1]
    if loose:
        raise ValueError(
            f"expected the images of {folder} in a subfolder a class, or none in subfolders; got "
            f"{loose[0]} beside {folders[0]}/"
        )
    names = list(class_names or folders)
    for name in folders:
        if name not in names:
            raise ValueError(unknown_name(f"class in {folder}", name, names, list_all=False))
    return [names.index(place.parts[0]) for place in places], names


def _beside(masks: Path, place: Path) -> Path:
    """Return the mask of an image: the file with the same path, whatever its suffix."""
    at = masks / place.parent
    fitting = [p for p in sorted(at.iterdir()) if p.stem == place.stem] if at.is_dir() else []
    if not fitting:
        raise ValueError(f"expected a mask of {place} in {at}, got none called {place.stem}")
    return fitting[0]
