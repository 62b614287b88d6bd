"""`explain`: draw the maps of image files."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.cli import options
from lightning_cam.cli.console import note, progress, say
from lightning_cam.cli.images import find_images, preparation
from lightning_cam.cli.paths import check_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lightning_cam.cli.images import Preparation
    from lightning_cam.cli.overlays import Drawing, Pixels

_BATCH = 16
_EPILOG = """examples:
  lightning-cam explain resnet50 photo.jpg --pretrained
  lightning-cam explain resnet18 photos/ --checkpoint best.ckpt --num-classes 10 --classes names.txt
  lightning-cam explain my_project.model:Lit photos/ --checkpoint best.ckpt --class zebra
  lightning-cam explain timm:vit_small_patch16_224 photo.jpg --method gradcam,rollout

Each image gives OUT/<image>.cam.png, in the same subfolders: the map over the image as the model
is fed, with the explained class below. Several maps are side by side. Every file is written whole
or not at all. An image that cannot be read is left out and named at the end.
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "explain",
        help="draw class activation maps of image files",
        description="Draw class activation maps of image files.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "model",
        help="a torchvision or timm name, or package.module:attribute: a module, a LightningModule "
        "class, or a function that makes one; found from the working directory too",
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image files, or folders to search through"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("cams"), metavar="DIR", help="default: cams"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="weights; prefixes of names are matched"
    )
    parser.add_argument(
        "--pretrained", action="store_true", help="the published weights, from the network"
    )
    parser.add_argument(
        "--class",
        dest="wanted",
        metavar="CLASS",
        help="name or index of the class to explain (default: the predicted one)",
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="the names of the classes, one per line"
    )
    parser.add_argument("--separate", action="store_true", help="one file per map")
    parser.add_argument("--plain", action="store_true", help="no text below the maps")
    parser.add_argument(
        "--batch", type=options.count, metavar="N", help="images at a time (default 16)"
    )
    options.add_map_options(parser)
    options.add_image_options(parser)
    options.add_model_options(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Explain the images."""
    check_folder(args.out)
    files = find_images(args.images, but=args.out)  # before torch, which takes seconds to import
    import torch

    from lightning_cam.cli import model_loading
    from lightning_cam.cli.models import expected_input, is_import_path
    from lightning_cam.cli.overlays import Drawing
    from lightning_cam.explain.methods import resolve_methods
    from lightning_cam.explain.modules import channels_of
    from lightning_cam.render import check_colormap

    methods = [method.name for method in resolve_methods(options.method_names(args.method))]
    check_colormap(args.colormap)
    checkpoint = model_loading.open_checkpoint(args.checkpoint, args) if args.checkpoint else None
    model = model_loading.build(args, checkpoint)
    if checkpoint is None and not args.pretrained and not is_import_path(args.model):
        note("the weights are random: give --checkpoint FILE or --pretrained")
    expected = expected_input(args.model, model)
    ready = preparation(args, expected, args.channels or channels_of(model))
    blank = torch.zeros(1, len(ready.mean), *ready.size, device=_device(model))
    num_classes = model_loading.tried(model, blank)
    names = model_loading.class_names(args.classes, expected.class_names, num_classes)
    target = _class_index(args.wanted, names)
    note(_preparation_text(ready))
    drawing = Drawing(ready, args.colormap, args.alpha, args.plain, args.separate)
    chosen = {
        "method": methods,
        "layers": options.layer_names(args.layer),
        "targets": target,
        "class_names": names or (),
    }
    _explain(model, files, drawing, args, chosen)


def _preparation_text(ready: Preparation) -> str:
    mean, std = (", ".join(f"{each:g}" for each in values) for values in (ready.mean, ready.std))
    height, width = ready.size
    return f"images at {height}x{width} pixels ({ready.fit}), mean {mean}, std {std}"


def _device(model: nn.Module) -> Any:
    first = next(model.parameters(), None)
    return "cpu" if first is None else first.device


def _class_index(wanted: str | None, names: Sequence[str] | None) -> int | None:
    """Return the class of a name, else of an index; None for the predicted one."""
    if wanted is None:
        return None
    if wanted.isdecimal() and wanted not in (names or ()):
        return int(wanted)
    from lightning_cam.explain.targets.resolve import class_index

    if names is None:
        raise ValueError(
            f"expected --class as an index, as no names are known (--classes FILE), got {wanted!r}"
        )
    return class_index(wanted, names)


def _explain(
    model: nn.Module,
    files: Mapping[Path, Path],
    drawing: Drawing,
    args: argparse.Namespace,
    choices: Mapping[str, Any],
) -> None:
    """Compute and write batch by batch, then raise ValueError for images that cannot be read."""
    import torch

    from lightning_cam.cli.overlays import pictures
    from lightning_cam.explain.engine import compute_cams

    stems, paths = _stems(files), list(files)
    unreadable: list[str] = []
    batch = args.batch or _BATCH
    starts = range(0, len(paths), batch)
    for start in progress(starts, "explain", len(starts)):
        tensors = _read(paths[start : start + batch], drawing.preparation, unreadable)
        if not tensors:
            continue
        images = torch.stack(list(tensors.values())).to(_device(model))
        result = compute_cams(model, images, chunk_size=args.batch, **choices)
        drawn = pictures(images, result, list(tensors), drawing)
        for n, (path, made) in enumerate(zip(tensors, drawn, strict=True)):
            written = _write(made, args.out / stems[path])
            about = " · ".join(result.lines(n))
            say(f"{path}  {about}  -> {', '.join(written)}")
    if unreadable:
        listed = "; ".join(unreadable)
        raise ValueError(f"{len(unreadable)} of {len(paths)} images left out: {listed}")


def _read(paths: Sequence[Path], ready: Preparation, unreadable: list[str]) -> dict[Path, Tensor]:
    """Return the images by file; errors are appended to `unreadable`."""
    tensors = {}
    for path in paths:
        try:
            tensors[path] = ready.image(path)
        except ValueError as error:  # noqa: PERF203 - one bad file must not stop the others
            unreadable.append(str(error))
    return tensors


def _write(made: Mapping[str, Pixels], stem: Path) -> list[str]:
    from lightning_cam.render import png
    from lightning_cam.runtime.files import write_atomic

    written = []
    for ending, pixels in made.items():
        out = stem.with_name(f"{stem.name}.{ending}.png")
        write_atomic(out, png(pixels))
        written.append(str(out))
    return written


def _stems(files: Mapping[Path, Path]) -> dict[Path, Path]:
    """Return the path of each image's results without a suffix: safe, and different for each."""
    from lightning_cam.runtime.files import safe_name

    short = {path: _safe(place.with_name(place.stem), safe_name) for path, place in files.items()}
    often = Counter(short.values())
    full = {path: _safe(place, safe_name) for path, place in files.items()}
    stems = {path: stem if often[stem] == 1 else full[path] for path, stem in short.items()}
    seen: Counter[Path] = Counter()
    for path, stem in stems.items():
        seen[stem] += 1
        stems[path] = stem if seen[stem] == 1 else stem.with_name(f"{stem.name}-{seen[stem]}")
    return stems


def _safe(place: Path, safe_name: Any) -> Path:
    return Path(*(safe_name(part) for part in place.parts))
