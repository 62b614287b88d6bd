"""Every image model there is, without weights: does it get a map with no configuration?

python -m benchmarks.zoo [--family torchvision|timm|transformers] [--only PATTERN] [--json FILE]
python -m benchmarks.zoo --table   # the automatic choice against what experts pick
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import gc
import hashlib
import signal
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measuring import environment, write_json
from benchmarks.zoo_models import (
    Entry,
    OutOfScopeError,
    timm_entries,
    timm_model,
    torchvision_entries,
    torchvision_model,
    transformers_entries,
)
from lightning_cam import CAMResult, compute_cams

LIBRARIES = {
    "torchvision": torchvision_entries,
    "timm": timm_entries,
    "transformers": transformers_entries,
}
IMAGES = 2
FURTHER_CLASSES = 4
SAME = 1e-4  # of a map's largest value: below, maps of two classes count as one
SECONDS = 300


@dataclass(frozen=True)
class Row:
    """What one model gave.

    Attributes:
        status: `ok`, `failed`, or `out of scope`, with the reason unless ok.
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
    """Build a model and examine it; whatever it raises becomes its row."""
    about = (entry.library, entry.family, entry.name)
    try:
        with time_limit(SECONDS):
            model, size = entry.build()
            layer, grid, reason = examine(model, size)
    except OutOfScopeError as error:
        return Row(*about, "out of scope", reason=str(error))
    except Exception as error:  # noqa: BLE001 - failures are the data
        return Row(*about, "failed", reason=f"{type(error).__name__}: {error}")
    return Row(*about, "failed" if reason else "ok", layer, grid, reason)


def examine(model: nn.Module, size: tuple[int, int]) -> tuple[str, str, str]:
    """Return the layer chosen, its grid, and what is wrong with the maps, empty if nothing.

    The map of a class is a ReLU, and flat where nothing speaks for the class; a random network may
    honestly answer so. Only if all classes tried are flat on all images does the model fail.
    """
    images = torch.randn(IMAGES, 3, *size, generator=torch.Generator().manual_seed(0))
    wake(model, images)
    before = fingerprint(model)
    result = compute_cams(model, images)
    key = next(iter(result.maps))
    found = [_cells(result)]
    for label in _further_classes(result):
        if any(map(_varied, found)) and _sensitive(found):
            break
        found.append(_cells(compute_cams(model, images, label)))
    wrong = []
    if not all(bool(maps.isfinite().all()) for maps in found):
        wrong.append("not finite")
    if result[key][0].numel() == 1:
        wrong.append("not spatial")
    if not any(map(_varied, found)):
        wrong.append(f"flat for {len(found)} classes on {IMAGES} images")
    elif len(found) > 1 and not _sensitive(found):
        wrong.append("the same for every class")
    after = fingerprint(model)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    if changed:
        wrong.append(f"the model was changed: {changed[0]} and {len(changed) - 1} more")
    return key[1], "×".join(map(str, result[key].shape[1:])), ", ".join(wrong)


def wake(model: nn.Module, images: Tensor) -> None:
    """Let signals through a network without weights, where flat maps would be the right answer.

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
    """Return what must be the same after a look: tensors bit for bit, flags, gradients, hooks."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    marks: dict[str, Any] = {
        name: (id(tensor), _digest(tensor), tensor.requires_grad, tensor.grad is None)
        for name, tensor in tensors
    }
    for name, module in model.named_modules():
        hooks = {k: len(v) for k, v in vars(module).items() if k.endswith("_hooks")}
        marks[f"module {name}"] = (module.training, hooks)
    return marks


def _digest(tensor: Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(memoryview(flat.numpy())).digest()


def _cells(result: CAMResult) -> Tensor:
    """Return each image's cells of all maps, (B, cells): a detector has a map for each level."""
    return torch.cat([maps.flatten(1) for maps in result.maps.values()], dim=1)


def _further_classes(result: CAMResult) -> list[int]:
    # Detectors return no logits; any class of theirs will do, and 0 is the background.
    count = result.logits.shape[1] or FURTHER_CLASSES + 2
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    explained = {0, *result.classes.tolist()}
    return [label for label in order if label not in explained][:FURTHER_CLASSES]


def _varied(cells_BN: Tensor) -> bool:
    return bool((cells_BN.amax(dim=1) > cells_BN.amin(dim=1)).any())


def _sensitive(found: list[Tensor]) -> bool:
    """Tell whether maps of two classes differ by more than their scale."""
    shapes = [(cells / cells.amax(dim=1, keepdim=True)).nan_to_num() for cells in found]
    return any(float((shapes[0] - other).abs().max()) > SAME for other in shapes[1:])


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the body after so long."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def compare_with_experts(pattern: str) -> list[dict[str, Any]]:
    """Print and return, for each model of the table, the choice and whether experts agree."""
    from tests.explain.auto_choice_table import EXPECTED, chosen

    build = {"torchvision": torchvision_model, "timm": timm_model}
    lines = []
    for expected in EXPECTED:
        if not fnmatch.fnmatch(expected.model, pattern):
            continue
        try:
            names = chosen(*build[expected.library](expected.model))
        except Exception as error:  # noqa: BLE001 - failures are the data
            names = [f"{type(error).__name__}: {error}".splitlines()[0]]
        agrees = expected.agrees(names)
        lines.append({**asdict(expected), "chosen": names[0], "agrees": agrees})
        wanted = "" if agrees else f"  expected {' or '.join(expected.layers)}"
        mark = "yes" if agrees else "NO "
        print(f"{mark} {expected.library:<12} {expected.model:<34} {names[0]}{wanted}", flush=True)
        gc.collect()
    print(f"{sum(line['agrees'] for line in lines)} of {len(lines)} as experts pick")
    return lines


def summarise(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Print each library's table, its share of models and families that get a map, and why not."""
    summary = {}
    for library in dict.fromkeys(row.library for row in rows):
        mine = sorted((row for row in rows if row.library == library), key=lambda r: r.family)
        asked = [row for row in mine if row.status != "out of scope"]
        good = [row for row in asked if row.status == "ok"]
        print(f"\n{library}\n" + "\n".join(map(str, mine)))
        summary[library] = {
            "models": len(asked),
            "ok": len(good),
            "percent": round(100 * len(good) / max(1, len(asked)), 1),
            "families": len({row.family for row in asked}),
            "families_ok": len({row.family for row in good}),
            "out_of_scope": len(mine) - len(asked),
        }
    for library, numbers in summary.items():
        print(f"\n{library}: {numbers['percent']} %, {numbers['ok']} of {numbers['models']} models")
        print(f"  families: {numbers['families_ok']} of {numbers['families']}")
        for row in rows:
            if row.library == library and row.status != "ok":
                print(f"  {row.status}: {row.model} ({row.family}): {row.reason.splitlines()[0]}")
    return summary


def main() -> None:
    """Run what is asked for; failures are results, not errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="models or families")
    parser.add_argument("--family", choices=LIBRARIES, help="one library instead of all")
    parser.add_argument("--table", action="store_true", help="compare with what experts pick")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    about = {"environment": environment("cpu")}
    if args.table:
        write_json(args.json, {**about, "choices": compare_with_experts(args.only)})
        return
    rows = []
    for library in [args.family] if args.family else LIBRARIES:
        for entry in LIBRARIES[library]():
            if any(fnmatch.fnmatch(name, args.only) for name in (entry.name, entry.family)):
                torch.manual_seed(0)
                rows.append(row_of(entry))
                print(rows[-1], flush=True)
                gc.collect()
    summary = summarise(rows)
    write_json(args.json, {**about, "summary": summary, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
