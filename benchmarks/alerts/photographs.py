"""Natural photographs by class: of a folder or zip archive, or downloaded by torchvision."""

from __future__ import annotations

import csv
import functools
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as T

DOWNLOADS = {  # class of torchvision.datasets: its arguments for training and validation
    "CIFAR10": ({"train": True}, {"train": False}),
    "STL10": ({"split": "train"}, {"split": "test"}),
    "OxfordIIITPet": ({"split": "trainval"}, {"split": "test"}),
    "Flowers102": ({"split": "test"}, {"split": "val"}),
}
_SUFFIXES = (".jpg", ".jpeg", ".png")
_SUBCLASSES = 10  # of each class, where more classes are needed than there are


@functools.lru_cache(maxsize=2)
def photographs(source: str, side: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return images uint8 (N, 3, side, side) and labels (N,) of `train` and `val`.

    Args:
        source: a folder or zip archive of `train/<class>/*` and `val/<class>/*`, or a data set that
            torchvision downloads: one of `DOWNLOADS`.
        side: of the images.

    Raises:
        ValueError: there is neither.
    """
    read = _downloaded if source in DOWNLOADS else _of_files
    found = {}
    for part in ("train", "val"):
        pairs = list(read(source, part, side))
        if not pairs:
            raise ValueError(f"expected photographs {part}/<class>/* in {source}, found none")
        names = sorted({name for _, name in pairs})
        images = torch.stack([image for image, _ in pairs])
        found[part] = images, torch.tensor([names.index(name) for _, name in pairs])
    return found


def _of_files(source: str, part: str, side: int) -> Iterator[tuple[Tensor, str]]:
    path = Path(source)
    if path.is_dir():
        for file in sorted((path / part).glob("*/*")):
            if file.suffix.lower() in _SUFFIXES:
                yield square(Image.open(file), side), file.parent.name
    elif path.is_file():
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith(f"{part}/") and name.lower().endswith(_SUFFIXES):
                    with archive.open(name) as file:
                        yield square(Image.open(file), side), name.split("/")[1]


def _downloaded(source: str, part: str, side: int) -> Iterator[tuple[Tensor, str]]:
    import torchvision

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lightning_cam"
    options = DOWNLOADS[source][part == "val"]
    data = getattr(torchvision.datasets, source)(str(cache), download=True, **options)
    for image, label in data:
        yield square(image, side), f"{int(label):04}"


def square(image: Image.Image, side: int) -> Tensor:
    pixels: Tensor = T.to_image(image.convert("RGB"))
    if tuple(pixels.shape[1:]) == (side, side):
        return pixels
    smaller = T.resize(pixels, [side], antialias=True)
    return T.center_crop(smaller, [side, side])


@functools.lru_cache(maxsize=1)
def subclasses(source: str, side: int) -> dict[str, Tensor]:
    """Return labels of ten times as many classes: clusters of each class's deep features.

    Photographs of a subclass look alike, as those of a fine-grained class do. Features of
    EfficientNet-Lite0, clustered on the training images; validation images go to the nearest.
    """
    from sklearn.cluster import KMeans

    found: dict[str, list[Tensor]] = {"train": [], "val": []}
    features = {part: _features(source, side, part) for part in found}
    labels = {part: photographs(source, side)[part][1] for part in found}
    for label in range(int(labels["train"].max()) + 1):
        of_class = {part: features[part][labels[part] == label].numpy() for part in found}
        clusters = KMeans(_SUBCLASSES, n_init=1, random_state=0).fit(of_class["train"])
        for part, numbers in found.items():
            nearest = torch.from_numpy(clusters.predict(of_class[part])).long()
            numbers.append(nearest + _SUBCLASSES * label)
    joined = {}
    for part, each in found.items():
        order = torch.argsort(labels[part], stable=True)  # classes were taken one by one
        joined[part] = torch.empty_like(labels[part])
        joined[part][order] = torch.cat(each)
    return joined


@torch.inference_mode()
def _features(source: str, side: int, part: str) -> Tensor:
    from benchmarks.alerts.networks import pretrained

    network = pretrained(1000, freshly=False)
    images = photographs(source, side)[part][0]
    chunks = ((chunk.float() / 255 - 0.5) / 0.5 for chunk in images.split(200))
    return torch.cat([network.features(chunk).mean(dim=(2, 3)) for chunk in chunks])


def waterbirds(folder: Path, side: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Return images, labels and masks of Waterbirds (Sagawa et al. 2020) with CUB's segmentations.

    Args:
        folder: holds `metadata.csv` and the photographs it names, and CUB's `segmentations/`.
        side: of the images.

    Returns:
        `train`, `val` with birds on their usual backgrounds, and `shuffled`: all of validation,
        where both backgrounds are equally frequent.
    """
    parts: dict[str, list[tuple[Tensor, int, Tensor]]] = {"train": [], "val": [], "shuffled": []}
    with (folder / "metadata.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] not in ("0", "1"):
                continue
            name = Path(row["img_filename"])
            image = square(Image.open(folder / name), side)
            mask = Image.open((folder / "segmentations" / name).with_suffix(".png"))
            item = image, int(row["y"]), square(mask, side)[0] > 127
            if row["split"] == "0":
                parts["train"].append(item)
                continue
            parts["shuffled"].append(item)
            if row["y"] == row["place"]:
                parts["val"].append(item)
    return {
        part: (
            torch.stack([image for image, *_ in items]),
            torch.tensor([label for _, label, _ in items]),
            torch.stack([mask for *_, mask in items]),
        )
        for part, items in parts.items()
    }
