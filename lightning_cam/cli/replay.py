"""`replay`: look at a past training through its checkpoints, as if the callback had been there."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.cli import options
from lightning_cam.cli.places import appearing, check_new
from lightning_cam.cli.words import listed, note, progress, say

if TYPE_CHECKING:
    from torch import nn

    from lightning_cam.checkpoints import Moment
    from lightning_cam.monitor import Alert
    from lightning_cam.probe import Probe
    from lightning_cam.watch import Precision, Watch

_PRECISIONS = {"32": "", "bf16": "bfloat16", "16": "float16"}  # of autocast
_EPILOG = """examples:
  lightning-cam replay my_project.model:Lit lightning_logs/version_0/checkpoints \\
      --probe my_project.data:val_loader
  lightning-cam replay resnet18 checkpoints/ --num-classes 10 --probe probe/ --masks probe_masks/

The checkpoints are those of Lightning (*.ckpt), else *.pt and *.pth, in the order of the steps they
were saved at (where they say none, of the numbers in their names). Save them at every validation,
ModelCheckpoint(save_top_k=-1), for the curves that CAMCallback would have logged.

PROBE is a folder of images, best a subfolder a class; a .pt file with a dict of the arguments of
lightning_cam.Probe; or package.module:attribute, a Probe, dataset, dataloader or datamodule, or a
function that makes one. Datasets are sampled as CAMCallback does it.

OUT gets the record and alerts.jsonl that CAMCallback writes, and report.html. It appears when all
is done, and not at all if something fails.
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "replay",
        help="watch a past training through its checkpoints",
        description="Give a past training the metrics, alerts and report of CAMCallback.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "model", help="what was trained: package.module:attribute, a torchvision or timm name"
    )
    parser.add_argument("checkpoints", type=Path, help="the folder of its checkpoints")
    parser.add_argument("--probe", required=True, help="the images to watch, see below")
    parser.add_argument(
        "--out", type=Path, default=Path("replay"), metavar="DIR", help="default: replay"
    )
    watch = parser.add_argument_group("what is watched, as in CAMCallback")
    watch.add_argument("--target", default="label", help="label, prediction, ... (default label)")
    watch.add_argument(
        "--interventions-every",
        type=options.count_or_none,
        default=5,
        metavar="N",
        help="ask by altered images at every n-th look (default 5)",
    )
    watch.add_argument(
        "--num-pictures", type=options.count_or_none, default=16, metavar="N", help="default 16"
    )
    watch.add_argument("--tag", default="cam", help="start of the metrics' names (default cam)")
    watch.add_argument(
        "--probe-size", type=options.count, metavar="N", help="default: CAMCallback's"
    )
    watch.add_argument("--seed", type=int, default=0, help="of the choice of images (default 0)")
    watch.add_argument(
        "--split", choices=("train", "val", "test"), default="val", help="of a datamodule"
    )
    watch.add_argument("--masks", type=Path, metavar="DIR", help="laid out like a PROBE folder")
    watch.add_argument("--classes", type=Path, metavar="FILE", help="class names, a line each")
    watch.add_argument(
        "--estimate-masks", action="store_true", help="guess masks where the probe has none"
    )
    parser.add_argument(
        "--pictures", action="store_true", help="also write every overlay as a PNG file"
    )
    parser.add_argument("--no-report", action="store_true", help="leave report.html out")
    options.add_map_options(parser)
    options.add_image_options(parser)
    options.add_model_options(parser)
    parser.add_argument(
        "--precision", choices=tuple(_PRECISIONS), default="32", help="of the training (default 32)"
    )
    return parser


@dataclass(frozen=True)
class _Saved:
    """A checkpoint's file, its place in the training, and how good the model was there."""

    file: Path
    moment: Moment
    goodness: float


def run(args: argparse.Namespace) -> None:
    """Replay the checkpoints."""
    from lightning_cam.cli import network
    from lightning_cam.options import Options
    from lightning_cam.watch import Watch

    check_new(args.out)
    if not args.tag.strip("/"):
        raise ValueError(f"expected a --tag with letters, came {args.tag!r}")
    methods = options.method_names(args.method)
    choices = Options(
        method=methods[0] if len(methods) == 1 else methods,
        layers=options.layer_names(args.layer),
        target=int(args.target) if args.target.isdecimal() else args.target,
        num_pictures=args.num_pictures,
        colormap=args.colormap,
        alpha=args.alpha,
        interventions_every=args.interventions_every,
        seed=args.seed,
    )
    files = _files(args.checkpoints)
    first = network.open_checkpoint(files[0], args)
    model = network.build(args, first)
    saved = _in_order(files, model, args)
    probe = _probe(args, model, first)
    watch = Watch(args.tag.strip("/"), probe, choices)
    alerts = _replay(watch, model, saved, args)
    say(f"{_several(saved, 'checkpoint')}, {_several(alerts, 'alert')}  -> {args.out}")
    if not args.no_report:
        from lightning_cam.report import write_report

        say(str(write_report([args.out], args.out / "report.html")))


def _several(items: Sequence[object], name: str) -> str:
    return f"{len(items)} {name}{'' if len(items) == 1 else 's'}"


def _files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder and its subfolders, in the order of numbers in names."""
    if not folder.is_dir():
        raise ValueError(f"expected a folder of checkpoints, came {folder}, which is none")
    for endings in ((".ckpt",), (".pt", ".pth")):
        found = [p for p in folder.rglob("*") if p.suffix in endings and p.is_file()]
        if found:
            return sorted(found, key=_natural)
    raise ValueError(f"expected *.ckpt, *.pt or *.pth files in {folder}, came none")


def _natural(path: Path) -> list[tuple[str, int]]:
    """Return a key that puts `epoch=9` before `epoch=10`."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", str(path))]


def _in_order(files: Sequence[Path], model: nn.Module, args: argparse.Namespace) -> list[_Saved]:
    """Return the checkpoints by the step they were saved at, one a step, all checked to fit."""
    from lightning_cam.checkpoints import Moment, goodness_of, match_weights, moment_of
    from lightning_cam.cli import network

    saved = []
    silent = []
    for number, file in enumerate(progress(files, "read", len(files))):
        checkpoint = network.open_checkpoint(file, args)
        network.check_fit(match_weights(model, checkpoint), partial=args.partial, file=file)
        moment = moment_of(checkpoint)
        if moment is None:
            silent.append(file.name)
        known = moment or Moment(number, number)
        saved.append(_Saved(file, known, goodness_of(checkpoint)))
    if silent and len(silent) < len(files):
        raise ValueError(f"expected checkpoints that say their step, came none in {listed(silent)}")
    if silent:
        note("the checkpoints do not say their step: taken in the order of their names")
    saved.sort(key=lambda each: (each.moment.step, each.moment.epoch))
    return _one_a_moment(saved)


def _one_a_moment(saved: Sequence[_Saved]) -> list[_Saved]:
    kept: list[_Saved] = []
    for each in saved:
        if kept and kept[-1].moment == each.moment:
            note(f"{each.file.name} is left out: of the same step as {kept[-1].file.name}")
        else:
            kept.append(each)
    return kept


def _probe(args: argparse.Namespace, model: nn.Module, checkpoint: Mapping[str, Any]) -> Probe:
    from lightning_cam.cli import network
    from lightning_cam.cli.images import preparation
    from lightning_cam.cli.probes import Sampling, probe_from
    from lightning_cam.models import expected_input
    from lightning_cam.probe.probe import PROBE_SIZE

    channels = args.channels or network.channels_of(model)
    remembered = checkpoint.get("datamodule_hyper_parameters")
    probe = probe_from(
        args.probe,
        Sampling(args.probe_size or PROBE_SIZE, args.seed, args.split),
        preparation(args, expected_input(args.model, model), channels),
        masks=args.masks,
        class_names=network.class_names(args.classes, None, None),
        arguments=remembered if isinstance(remembered, Mapping) else {},
    )
    return probe.with_estimated_masks(args.seed) if args.estimate_masks else probe


def _check_classes(probe: Probe, num_classes: int | None, args: argparse.Namespace) -> None:
    """Raise ValueError when a folder's classes cannot be the model's: labels would be shifted."""
    names = probe.class_names
    if num_classes is None or names is None or not Path(args.probe).is_dir():
        return
    if len(names) != max(2, num_classes):
        whose = f"names in {args.classes}" if args.classes else f"subfolders in {args.probe}"
        raise ValueError(
            f"expected {max(2, num_classes)} {whose}, one for each of the model's classes, came "
            f"{len(names)}. --classes FILE names all classes in the model's order, a line each."
        )


def _replay(
    watch: Watch, model: nn.Module, saved: Sequence[_Saved], args: argparse.Namespace
) -> list[Alert]:
    """Look at one checkpoint after another and write what the callback would have written."""
    from lightning_cam.cli import network
    from lightning_cam.loggers.files import FileSink, append_line
    from lightning_cam.record import Recorder, settings_of

    device = network.device_of(args.device)
    images = watch.probe.images.to(device)
    _check_classes(watch.probe, network.tried(model, images[:1]), args)
    precision = _precision(args.precision, device.type)
    note(watch.prepare(model, images, precision))
    told: list[Alert] = []
    with appearing(args.out) as folder:
        recorder = Recorder(folder, watch.tag)
        settings = settings_of(watch.options, rules=watch.book.rules)
        recorder.begin(watch.probe, args.num_pictures, settings, device=device)
        for each in progress(saved, "replay", len(saved)):
            _load(model, each.file, args)
            look = watch.look(model, images, each.moment.epoch, each.moment.step, precision)
            alerts = watch.remember(look, each.goodness)
            recorder.add(look, watch.tag, alerts)
            for alert in alerts:
                append_line(folder / "alerts.jsonl", json.dumps(alert.as_dict()))
                say(str(alert))
            if args.pictures:
                FileSink(folder).write(watch.draw(look), each.moment.step)
            told += alerts
    return told


def _load(model: nn.Module, file: Path, args: argparse.Namespace) -> None:
    from lightning_cam.checkpoints import load_weights
    from lightning_cam.cli import network

    load_weights(model, network.open_checkpoint(file, args))


def _precision(name: str, device: str) -> Precision:
    """Return what makes the context that the network ran in while it trained."""
    import torch

    if not _PRECISIONS[name]:
        return contextlib.nullcontext
    dtype = getattr(torch, _PRECISIONS[name])
    return lambda: torch.autocast(device, dtype=dtype)
