"""What maps cost, as multiples of one inference forward of the same images.

python -m benchmarks.speed [--models resnet50 ...] [--batches 16 64] [--json FILE]
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from dataclasses import asdict

import torch
import torchvision

from benchmarks.measuring import environment, peak_memory, ratio, write_json
from lightning_cam import compute_cams

LAYERS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "densenet121": "features",
    "convnext_tiny": "features",
    "swin_t": "norm",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}


def _model(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval()


def forward_of(name: str, batch: int) -> Callable[[], object]:
    """Return one inference forward, the floor."""
    model, images = _model(name), torch.randn(batch, 3, 224, 224)

    @torch.inference_mode()
    def call() -> object:
        return model(images)

    return call


def maps_of(name: str, batch: int, layers: str = "auto") -> Callable[[], object]:
    """Return Grad-CAM of the same images by this package."""
    model, images = _model(name), torch.randn(batch, 3, 224, 224)
    targets = torch.arange(batch)
    compute_cams(model, images[:1], targets[:1], layers=layers)  # the first look finds the layer
    return lambda: compute_cams(model, images, targets, layers=layers)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet50", "densenet121"], choices=LAYERS)
    parser.add_argument("--batches", nargs="+", type=int, default=[16])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(2)
    rows = []
    print(f"{'model':<14} {'batch':>5}  {'time / forward':<34} memory / forward")
    for name in args.models:
        for batch in args.batches:
            time = ratio(maps_of(name, batch), forward_of(name, batch), pairs=args.pairs)
            floor = peak_memory(functools.partial(forward_of, name, batch))
            memory = peak_memory(functools.partial(maps_of, name, batch)) / floor
            rows.append({"model": name, "batch": batch, "time": asdict(time), "memory": memory})
            print(f"{name:<14} {batch:>5}  {time!s:<34} {memory:.3f}", flush=True)
    write_json(args.json, {"environment": environment("cpu"), "maps": rows})


if __name__ == "__main__":
    main()
