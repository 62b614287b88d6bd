"""`normalization_of`: the mean and std that bring what a model is fed back into display range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

_HOLDERS = (
    "transform", "transforms", "dataset", "datasets", "transform_fn", "tfm", "tfms", "normalize",
    "preprocess", "processor", "image_processor", "func", "augment", "augmentation", "collate_fn",
    "val_transform", "valid_transform", "test_transform", "eval_transform",
)  # fmt: skip
_WITH_MEAN_AND_STD = ("Normalize", "ImageClassification")  # the latter: `weights.transforms()`
_MAX_DEPTH = 8
_SLACK = 0.05  # by which displayed images may leave 0 to 1
_EXACT = 2e-3  # of the range, by which an affine fit may be off
_BYTES = (32, 255)  # largest value of images that are bytes
_SAMPLE = 200_000  # pixels that a fit uses

Found = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Normalization:
    """How a model's input is normalised: `input = (image - mean) / std` with images in 0 to 1.

    Attributes:
        mean: per channel, or None where nothing is known or needed.
        std: per channel, or None.
        source: how that is known, for people.
    """

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    source: str


def normalization_of(
    images: Tensor,
    earlier: Sequence[Tensor] | None = None,
    found: Sequence[tuple[Found | None, str]] = (),
    later: Sequence[tuple[Found | None, str]] = (),
) -> Normalization:
    """Return how a probe's images are normalised, by what is most certain.

    Where the images are known as they were before (from the data set, before collate function and
    hooks), mean and std are fitted to both. Else those of a `Normalize` transform are taken, if
    they lead back to values within 0 and 1. Values within 0 and 1 need nothing else, those up to
    255 a division.

    Args:
        images: (B, C, H, W) as the model is fed.
        earlier: the same images, (C, H, W) each, before they were collated.
        found: mean and std of transforms, with where they were found.
        later: those of transforms that may come after the images, such as inside the model; only
            for images that do not lie within 0 and 1.
    """
    channels = images.shape[1]
    low, high = float(images.min()), float(images.max())
    fitted = None if earlier is None else _fit(images, earlier)
    if fitted is not None and max(map(abs, (*fitted[0], *(1 - s for s in fitted[1])))) < _EXACT:
        fitted = None  # the same values
    if fitted is not None:
        return Normalization(*fitted, "measured between the data set's images and the model's")
    within = low >= 0 and high <= 1
    for pair, source in [*found, *(() if within else later)]:
        if pair is None or len(pair[0]) not in (1, channels) or len(pair[1]) != len(pair[0]):
            continue
        mean, std = (values * (channels // len(values)) for values in pair)
        if min(std) > 0 and _displayable(images, mean, std):
            return Normalization(tuple(mean), tuple(std), source)
    if within:
        return Normalization(None, None, "none, values lie within 0 and 1")
    if low >= 0 and _BYTES[0] < high <= _BYTES[1]:
        return Normalization((0.0,) * channels, (1 / 255,) * channels, "none, values 0 to 255")
    return Normalization(
        None,
        None,
        "unknown: drawn images are rescaled from their own range; give mean= and std=",
    )


def _displayable(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> bool:
    shape = (1, -1, 1, 1)
    shown = images * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
    return float(shown.min()) >= -_SLACK and float(shown.max()) <= 1 + _SLACK


def _fit(
    images: Tensor, earlier: Sequence[Tensor]
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and std per channel with `images = (earlier - mean) / std`, None if not exact."""
    if len(earlier) != len(images) or any(e.shape != images.shape[1:] for e in earlier):
        return None
    before = torch.stack([_within_one(each) for each in earlier]).double()
    if float(before.min()) < 0 or float(before.max()) > 1 + 1e-6:
        return None
    means, stds = [], []
    for channel in range(images.shape[1]):
        x, y = before[:, channel].flatten(), images[:, channel].double().flatten()
        step = max(1, len(x) // _SAMPLE)
        x, y = x[::step], y[::step]
        centred = x - x.mean()
        variance = float((centred * centred).sum())
        if variance == 0:
            return None
        slope = float((centred * (y - y.mean())).sum()) / variance
        offset = float(y.mean()) - slope * float(x.mean())
        error = float((slope * x + offset - y).abs().max())
        if slope <= 0 or error > _EXACT * max(float(y.max() - y.min()), 1e-12):
            return None
        means.append(-offset / slope)
        stds.append(1 / slope)
    return tuple(means), tuple(stds)


def _within_one(image: Tensor) -> Tensor:
    return image / 255 if image.dtype == torch.uint8 else image


def find_normalization(holder: Any) -> Found | None:
    """Return (mean, std) of the last `Normalize` among an object's transforms, or None.

    Searches wrappers of data sets (`Subset`, `ConcatDataset`, random splits) and of transforms
    (`Compose`, lists, functions, torchvision's v1 and v2 and `StandardTransform`) for a transform
    whose class is called `Normalize` and that has `mean` and `std`, also as kornia's `flags`, for
    that of torchvision's `weights.transforms()`, and for the `image_mean` and `image_std` of a
    Hugging Face processor.
    """
    pairs = (_pair_of(step) for step in _steps(holder, 0, set()))
    found = [pair for pair in pairs if pair is not None]
    return found[-1] if found else None


def _pair_of(step: Any) -> Found | None:
    if type(step).__name__ in _WITH_MEAN_AND_STD:
        flags = getattr(step, "flags", {})
        mean, std = (_attribute(step, flags, name) for name in ("mean", "std"))
    else:
        mean, std = getattr(step, "image_mean", None), getattr(step, "image_std", None)
    means, stds = _numbers(mean), _numbers(std)
    return (means, stds) if means and stds else None


def _attribute(step: Any, flags: Any, name: str) -> Any:
    value = getattr(step, name, None)
    return flags.get(name) if value is None and isinstance(flags, dict) else value


def _steps(holder: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    if holder is None or depth > _MAX_DEPTH or id(holder) in seen:
        return
    seen.add(id(holder))
    yield holder
    inner: list[Any] = []
    if isinstance(holder, Sequence) and not isinstance(holder, str):
        inner = list(holder[:32])  # lists of transforms are short; long lists hold samples
    elif hasattr(holder, "__closure__"):
        inner = [cell.cell_contents for cell in holder.__closure__ or () if _filled(cell)]
    elif hasattr(holder, "__dict__"):
        inner = [vars(holder).get(name) for name in _HOLDERS]
        if isinstance(holder, Dataset):  # transforms and inner data sets under whatever name
            inner += [v for v in vars(holder).values() if callable(v) or isinstance(v, Dataset)]
        inner += list(vars(holder).get("_modules", {}).values())  # v2 and Sequential pipelines
    inner.append(getattr(holder, "__self__", None))  # a bound method's object
    for item in inner:
        yield from _steps(item, depth + 1, seen)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _numbers(value: Any) -> list[float] | None:
    if isinstance(value, (int, float)):
        return [float(value)]
    if isinstance(value, Tensor):
        return [float(number) for number in value.detach().flatten()]
    try:
        return [float(number) for number in value]
    except (TypeError, ValueError):
        return None
