"""`replay`: evaluate a past training from its checkpoints, as if the callback had been there."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.cli import options
from lightning_cam.cli.console import note, progress, say
from lightning_cam.cli.paths import appearing, check_new

if TYPE_CHECKING:
    from torch import nn

    from lightning_cam.cli.training_checkpoints import SavedModel
    from lightning_cam.monitor import CAMMonitor
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.probe import Probe
    from lightning_cam.runtime.forward_context import ForwardContext

_PRECISIONS = {"32": "", "bf16": "bfloat16", "16": "float16"}  # dtypes of autocast
_EPILOG = """examples:
  lightning-cam replay my_project.model:Lit lightning_logs/version_0/checkpoints \\
      --probe my_project.data:val_loader
  lightning-cam replay my_project.model:Lit checkpoints/ --callback my_project.train:cam_callback \\
      --probe train=my_project.data:train_set --probe val=my_project.data:val_set
  lightning-cam replay resnet18 checkpoints/ --num-classes 10 --probe probe/ --masks probe_masks/

The checkpoints are those of Lightning (*.ckpt), else *.pt and *.pth, in the order of the steps that
they were saved at (where they hold none, of the numbers in their names). Save them at every
validation, ModelCheckpoint(save_top_k=-1), for the curves that CAMCallback would have logged.

PROBE is a folder of images, best with one subfolder per class; a .pt file with a dict of the
arguments of lightning_cam.Probe; or package.module:attribute, a Probe, dataset, dataloader or
datamodule, or a function that makes one. Datasets are sampled as CAMCallback samples them. With
NAME=PROBE several may be given.

OUT gets the record and alerts.jsonl that CAMCallback writes, and report.html. It appears when all
is done, and not at all if something fails.
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "replay",
        help="evaluate a past training from its checkpoints",
        description="Give a past training the metrics, alerts and report of CAMCallback.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "model", help="what was trained: package.module:attribute, a torchvision or timm name"
    )
    parser.add_argument("checkpoints", type=Path, help="the folder of its checkpoints")
    parser.add_argument(
        "--probe",
        required=True,
        action="append",
        metavar="[NAME=]PROBE",
        help="the images to evaluate, see below; may be repeated",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("replay"), metavar="DIR", help="default: replay"
    )
    options.add_monitor_options(parser)
    parser.add_argument(
        "--pictures", action="store_true", help="also write every panel as image files"
    )
    parser.add_argument("--no-report", action="store_true", help="do not write report.html")
    options.add_map_options(parser)
    options.add_image_options(parser)
    options.add_model_options(parser)
    parser.add_argument(
        "--precision", choices=tuple(_PRECISIONS), default="32", help="of the training (default 32)"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Replay the checkpoints."""
    from lightning_cam.cli import model_loading, training_checkpoints

    check_new(args.out)
    sources = options.named_sources(args.probe)
    config = _config(args)
    files = training_checkpoints.find(args.checkpoints)
    first = model_loading.open_checkpoint(files[0], args)
    model = model_loading.build(args, first)
    saved = training_checkpoints.in_order(files, model, args)
    probes = {name: _probe(source, args, model, first) for name, source in sources.items()}
    forward_context = _forward_context(args.precision, model)
    for probe in probes.values():
        num_classes = model_loading.tried(model, forward_context.to_model(probe.images[:1]))
        _check_classes(probe, num_classes, args)
    with appearing(args.out) as folder:
        monitor = _monitor(probes, config, folder, draw=args.pictures)
        for line in monitor.setup(model, forward_context):
            note(line)
        metrics = _replay(monitor, model, saved, args, forward_context)
    _print_metrics(metrics)
    many = f"{len(saved)} checkpoint{'' if len(saved) == 1 else 's'}"
    raised = f"{len(monitor.alerts)} alert{'' if len(monitor.alerts) == 1 else 's'}"
    say(f"{many}, {raised}  -> {args.out}")
    if not args.no_report:
        from lightning_cam.output.report import write_report

        say(str(write_report([args.out], args.out / "report.html")))


def _config(args: argparse.Namespace) -> MonitorConfig:
    """Return the configuration of the callback that was given, else of the options."""
    from lightning_cam.cli.models import import_attribute
    from lightning_cam.monitor.config import MonitorConfig

    if args.callback is None:
        return MonitorConfig.from_options(options.monitor_options(args))
    found = import_attribute(args.callback)
    callback = found() if callable(found) and not hasattr(found, "config") else found
    config = getattr(callback, "config", None)
    if not isinstance(config, MonitorConfig):
        raise ValueError(
            f"expected --callback {args.callback} to be or to make a CAMCallback, got a "
            f"{type(callback).__name__}"
        )
    return config


def _probe(
    source: str, args: argparse.Namespace, model: nn.Module, checkpoint: Mapping[str, Any]
) -> Probe:
    from lightning_cam.cli import model_loading
    from lightning_cam.cli.images import preparation
    from lightning_cam.cli.models import expected_input
    from lightning_cam.cli.probes import Sampling, probe_from
    from lightning_cam.explain.modules import channels_of
    from lightning_cam.probe.probe import PROBE_SIZE

    channels = args.channels or channels_of(model)
    arguments = checkpoint.get("datamodule_hyper_parameters")
    return probe_from(
        source,
        Sampling(args.probe_size or PROBE_SIZE, args.seed, args.split),
        preparation(args, expected_input(args.model, model), channels),
        masks=args.masks,
        class_names=model_loading.class_names(args.classes, None, None),
        arguments=arguments if isinstance(arguments, Mapping) else {},
        module=model,
    )


def _check_classes(probe: Probe, num_classes: int | None, args: argparse.Namespace) -> None:
    """Raise ValueError where a folder's classes cannot be the model's: labels would be shifted."""
    names = probe.class_names
    folders = [source for source in args.probe if Path(source.rpartition("=")[2]).is_dir()]
    if num_classes is None or names is None or not folders:
        return
    if len(names) != max(2, num_classes):
        whose = f"names in {args.classes}" if args.classes else f"subfolders in {folders[0]}"
        raise ValueError(
            f"expected {max(2, num_classes)} {whose}, one for each of the model's classes, got "
            f"{len(names)}. --classes FILE names all classes in the model's order, one per line."
        )


def _monitor(
    probes: Mapping[str, Probe], config: MonitorConfig, folder: Path, *, draw: bool
) -> CAMMonitor:
    from lightning_cam.monitor import CAMMonitor

    monitor = CAMMonitor(probes, config=config, log_dir=folder, warn=note, draw=draw)
    monitor.report = False  # nobody sees the folder before the end
    return monitor


def _replay(
    monitor: CAMMonitor,
    model: nn.Module,
    saved: Sequence[SavedModel],
    args: argparse.Namespace,
    forward_context: ForwardContext,
) -> list[Mapping[str, float]]:
    """Evaluate one checkpoint after another, print the alerts, and return the metrics of each."""
    from lightning_cam.cli import model_loading
    from lightning_cam.runtime.checkpoints import load_weights

    found: list[Mapping[str, float]] = []
    for each in progress(saved, "replay", len(saved)):
        load_weights(model, model_loading.open_checkpoint(each.file, args))
        if not monitor.should_evaluate():
            continue
        before = len(monitor.alerts)
        monitor.evaluate(
            model,
            epoch=each.time.epoch,
            step=each.time.step,
            monitored_value=each.monitored_value,
            forward_context=forward_context,
            log_scalars=found.append,
        )
        for alert in monitor.alerts[before:]:
            say(str(alert))
    monitor.close()
    return found


def _print_metrics(metrics: Sequence[Mapping[str, float]]) -> None:
    """Print the first and the last known value of each headline metric."""
    from lightning_cam.metrics.registry import GAP, title_of
    from lightning_cam.metrics.selection import is_headline

    names = dict.fromkeys(name for each in metrics for name in each)
    for name in names:
        *_, family, plain = name.split("/")
        known = [value for each in metrics if math.isfinite(value := each.get(name, math.nan))]
        if known and is_headline(plain) and "@" not in name:
            title = title_of(f"{GAP}/{plain}" if family == GAP else plain)
            say(f"{name:<28}  first {known[0]:.2f}, last {known[-1]:.2f}  ({title})")


def _forward_context(precision: str, model: nn.Module) -> ForwardContext:
    """Return the context that the network ran in while it trained."""
    import torch

    from lightning_cam.runtime.forward_context import ForwardContext

    plain = ForwardContext.of(model)
    if not _PRECISIONS[precision]:
        return plain
    device = plain.to_model(torch.zeros(())).device.type
    dtype = getattr(torch, _PRECISIONS[precision])

    def autocast() -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(device, dtype=dtype)

    return ForwardContext(plain.to_model, autocast)
