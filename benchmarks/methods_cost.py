"""What several methods and layers cost together, and how Score-CAM grows with the channels.

python -m benchmarks.methods_cost [--pairs N] [--json FILE] [--quick]
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
import torchvision
from torch import nn

from benchmarks.measuring import Ratio, environment, exponent, ratios, seconds_by_size
from benchmarks.pages import parser_of, table, write_json
from benchmarks.speed.bench import Bench
from lightning_cam import compute_cams

RESULTS, PAGE = "benchmarks/results/methods_cost.json", "docs/methods.md"
FOUR = ("gradcam", "gradcam++", "hirescam", "layercam")
LAYERS = (  # blocks of the last stage; the last stage and the one before; three stages
    ("layer4.0", "layer4.1", "layer4.2"),
    ("layer3", "layer4.1", "layer4"),
    ("layer2", "layer3", "layer4"),
)
CHANNELS = (64, 128, 256, 512)


def maps_of(
    methods: Sequence[str], layers: Sequence[str], batch: int, side: int
) -> Callable[[], object]:
    """Return a call that computes maps of ResNet-50."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50(weights=None).eval()
    images, targets = torch.randn(batch, 3, side, side), torch.arange(batch)
    return lambda: compute_cams(model, images, targets, method=methods, layers=list(layers))


def scorecam_of(channels: int, batch: int, side: int) -> Callable[[], object]:
    """Return a call of Score-CAM on a layer of so many channels after ResNet-18."""
    torch.manual_seed(0)
    body = list(torchvision.models.resnet18(weights=None).children())[:-2]
    layer = nn.Conv2d(512, channels, 1)  # the only part that changes: 1 % of the work or less
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    model = nn.Sequential(*body, layer, nn.ReLU(), *head).eval()
    images, targets = torch.randn(batch, 3, side, side), torch.arange(batch)
    name = str(len(body) + 1)
    return lambda: compute_cams(model, images, targets, method="scorecam", layers=name)


def shared_pass(bench: Bench, pairs: int) -> list[dict[str, Any]]:
    """Measure one and four gradient methods on three layers against Grad-CAM on the last."""
    rows, (batch, side) = [], (1, 64) if bench.quick else (16, 224)
    reference = maps_of(("gradcam",), ("layer4",), batch, side)
    for layers in LAYERS:
        for methods in (("gradcam",), FOUR):
            sides = {"maps": maps_of(methods, layers, batch, side)}
            found = ratios(sides, reference, pairs=bench.pairs(pairs), warmup=2)[0]["maps"]
            rows.append({"layers": layers, "methods": methods, "time": asdict(found)})
            print(rows[-1], flush=True)
    return rows


def scorecam_growth(bench: Bench) -> dict[str, Any]:
    """Measure time and memory of Score-CAM over the channels."""
    counts, batch, side = ((2, 4), 1, 64) if bench.quick else (CHANNELS, 4, 112)
    calls = {channels: scorecam_of(channels, batch, side) for channels in counts}
    calls[counts[0]]()
    rows = []
    for channels, seconds in seconds_by_size(calls, bench.pairs(3)).items():
        memory = bench.peak(scorecam_of, channels, batch, side)
        median = statistics.median(seconds)
        rows.append({"channels": channels, "seconds": median, "memory_mib": memory})
        print(rows[-1], flush=True)
    return {"exponent": exponent([(row["channels"], row["seconds"]) for row in rows]), "rows": rows}


def sections(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of docs/methods.md."""
    times: dict[tuple[str, ...], list[str]] = {}
    for row in results["shared_pass"]:
        times.setdefault(tuple(row["layers"]), []).append(Ratio(**row["time"]).text())
    shared = [
        (", ".join(f"`{layer}`" for layer in layers), *some) for layers, some in times.items()
    ]
    scorecam = [
        (str(row["channels"]), f"{row['seconds']:.1f}", f"{row['memory_mib']:.0f}")
        for row in results["scorecam"]["rows"]
    ]
    return {
        "shared-pass": table(
            ("layers", "`gradcam` on three layers", "four methods on three layers"), shared
        ),
        "scorecam": table(("channels", "seconds", "peak memory above the model's, MiB"), scorecam),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = parser_of("benchmarks.methods_cost", __doc__)
    parser.add_argument("--pairs", type=int, default=15)
    args = parser.parse_args(arguments)
    bench = Bench(quick=args.quick)
    if not args.quick:
        torch.set_num_threads(2)
    content = {"shared_pass": shared_pass(bench, args.pairs), "scorecam": scorecam_growth(bench)}
    print("\n\n".join(sections(content).values()))
    write_json(args.json, {"environment": environment(), **content})


if __name__ == "__main__":
    main()
