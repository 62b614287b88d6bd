"""Count alerts of a sound network: EfficientNet-Lite0 with its ImageNet weights on photographs.

    python -m benchmarks.alerts.sound PHOTOS.zip --json benchmarks/results/alerts-sound.json

Each probe is a random sample of the photographs, whose names begin with their ImageNet index. It is
evaluated several times: once with that label, of which no two images may be there, and once as
animals and things.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.alerts.photographs import square
from benchmarks.measuring import environment
from benchmarks.pages import parser_of, write_json
from benchmarks.randomization import trained
from lightning_cam import CAMMonitor, Probe

_ANIMALS = 398  # ImageNet's first classes


class AnimalOrThing(nn.Module):
    """Sums the probabilities of animals and of things."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        parts = logits[:, :_ANIMALS], logits[:, _ANIMALS:]
        return torch.stack([part.logsumexp(dim=1) for part in parts], dim=1)


def read(path: str, side: int) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, side, side) in -1 to 1 and ImageNet labels (N,) of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))
        images = [square(Image.open(archive.open(name)), side) for name in names]
    labels = torch.tensor([int(Path(name).name[:3]) for name in names])
    return torch.stack(images).float() / 127.5 - 1, labels


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("benchmarks.alerts.sound", __doc__)
    parser.add_argument("photos", help="a zip archive of photographs")
    parser.add_argument("--probes", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=3)
    parser.add_argument("--side", type=int, default=160, help="of the images, in pixels")
    args = parser.parse_args(arguments)
    images, labels = read(args.photos, args.side)
    network = trained()
    tasks = {"1000 classes": (network, labels),
             "animal or thing": (AnimalOrThing(network), (labels >= _ANIMALS).long())}  # fmt: skip
    found = {
        name: {"right": _accuracy(*each, images), "alerted": 0} for name, each in tasks.items()
    }
    for n in tqdm(range(2 if args.quick else args.probes)):
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(n))[:32]
        for name, (model, targets) in tasks.items():
            monitor = CAMMonitor(Probe(images[chosen], targets[chosen]), seed=n, draw=False)
            for _ in range(args.evaluations):
                monitor.evaluate(model)
            alerted = [a.attribute for a in monitor.alerts if a.verdict == "confirmed"]
            found[name]["alerted"] += bool(alerted)
            if alerted:
                tqdm.write(f"probe {n}, {name}: {alerted}")
    print(found)
    options = {name: vars(args)[name] for name in ("probes", "evaluations", "side")}
    write_json(args.json, {**options, "environment": environment(), "found": found})


@torch.inference_mode()
def _accuracy(model: nn.Module, labels: Tensor, images: Tensor) -> float:
    hits = [
        model(part).argmax(dim=1) == of
        for part, of in zip(images.split(50), labels.split(50), strict=True)
    ]
    return round(float(torch.cat(hits).float().mean()), 3)


if __name__ == "__main__":
    main()
