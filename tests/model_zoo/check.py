"""`check_model`: does a model without weights get a sensible map with no configuration?"""

from __future__ import annotations

import contextlib
import hashlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from model_zoo.models import Entry, OutOfScopeError
from torch import Tensor, nn

from lightning_cam import CAMResult, compute_cams

IMAGES = 2
FURTHER_CLASSES = 4
SAME = 1e-4  # of a map's largest value: maps of two classes that differ by less count as equal
SECONDS = 300


@dataclass(frozen=True)
class Row:
    """The result for one model.

    Attributes:
        library: torchvision, timm or transformers.
        family: the module of the library that registers it.
        model: its name in the library.
        status: `ok`, `failed`, or `out of scope`.
        layer: chosen by `layers="auto"`.
        grid: height and width of the map.
        reason: why the status is not `ok`.
    """

    library: str
    family: str
    model: str
    status: str
    layer: str = ""
    grid: str = ""
    reason: str = ""

    def __str__(self) -> str:
        found = f"{self.layer}  {self.grid}" if self.layer else ""
        notes = f"{self.status}: {self.reason}" if self.reason else self.status
        return f"{self.family:<26} {self.model:<42} {found:<48} {notes.splitlines()[0]}"


def row_of(entry: Entry) -> Row:
    """Build a model and check it; an exception becomes its row."""
    names = (entry.library, entry.family, entry.name)
    try:
        with time_limit(SECONDS):
            model, size = entry.build()
            layer, grid, reason = check_model(model, size)
    except OutOfScopeError as error:
        return Row(*names, "out of scope", reason=str(error))
    except Exception as error:  # noqa: BLE001 - failures are results
        return Row(*names, "failed", reason=f"{type(error).__name__}: {error}")
    return Row(*names, "failed" if reason else "ok", layer, grid, reason)


def check_model(model: nn.Module, size: tuple[int, int]) -> tuple[str, str, str]:
    """Return the layer chosen, its grid, and what is wrong with the maps, empty if nothing.

    A map ends in a ReLU and is flat where nothing speaks for its class, which may be the right
    answer for a random network. Only if the maps of all classes that are tried are flat on all
    images does the model fail.
    """
    images = torch.randn(IMAGES, 3, *size, generator=torch.Generator().manual_seed(0))
    initialize(model, images)
    before = fingerprint(model)
    result = compute_cams(model, images)
    key = next(iter(result.maps))
    found = [_cells(result)]
    for label in _further_classes(result):
        if any(map(_varied, found)) and _class_sensitive(found):
            break
        found.append(_cells(compute_cams(model, images, label)))
    wrong = []
    if not all(bool(maps.isfinite().all()) for maps in found):
        wrong.append("not finite")
    if result[key][0].numel() == 1:
        wrong.append("not spatial")
    if not any(map(_varied, found)):
        wrong.append(f"flat for {len(found)} classes on {IMAGES} images")
    elif len(found) > 1 and not _class_sensitive(found):
        wrong.append("the same for every class")
    after = fingerprint(model)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    if changed:
        wrong.append(f"the model was changed: {changed[0]} and {len(changed) - 1} more")
    return key[1], "×".join(map(str, result[key].shape[1:])), ", ".join(wrong)


def initialize(model: nn.Module, images: Tensor) -> None:
    """Make a network without trained weights depend on its input.

    Linear layers that start at zero (many heads do) get seeded weights. Batch norms get the
    statistics of the images: with the initial ones signals fade by many orders of magnitude.
    """
    generator = torch.Generator().manual_seed(0)
    training = model.training
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02, generator=generator)
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(training)


def fingerprint(model: nn.Module) -> dict[str, Any]:
    """Return what `compute_cams` must not change: tensors bit for bit, flags, gradients, hooks."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    state: dict[str, Any] = {
        name: (id(tensor), _digest(tensor), tensor.requires_grad, tensor.grad is None)
        for name, tensor in tensors
    }
    for name, module in model.named_modules():
        hooks = {k: len(v) for k, v in vars(module).items() if k.endswith("_hooks")}
        state[f"module {name}"] = (module.training, hooks)
    return state


def _digest(tensor: Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(memoryview(flat.numpy())).digest()


def _cells(result: CAMResult) -> Tensor:
    """Return each image's cells of all maps, (B, cells): a detector has a map per level."""
    return torch.cat([maps.flatten(1) for maps in result.maps.values()], dim=1)


def _further_classes(result: CAMResult) -> list[int]:
    # Detectors return no logits; any of their classes will do, but 0 is the background.
    count = result.logits.shape[1] or FURTHER_CLASSES + 2
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    explained = {0, *result.classes.tolist()}
    return [label for label in order if label not in explained][:FURTHER_CLASSES]


def _varied(cells_BN: Tensor) -> bool:
    return bool((cells_BN.amax(dim=1) > cells_BN.amin(dim=1)).any())


def _class_sensitive(found: list[Tensor]) -> bool:
    """Return whether maps of two classes differ by more than their scale."""
    shapes = [(cells / cells.amax(dim=1, keepdim=True)).nan_to_num() for cells in found]
    return any(float((shapes[0] - other).abs().max()) > SAME for other in shapes[1:])


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the body after so many seconds."""

    def expire(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
