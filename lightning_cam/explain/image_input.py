"""`model_input`: the batch that a model is fed, from tensors, photographs, files or arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_cam.explain.modules import channels_of
from lightning_cam.explain.transforms import Transform, apply, measured_scale, transform_of
from lightning_cam.probe.probe_checks import numbered
from lightning_cam.runtime.checks import Channels, as_mean_and_std, check_images
from lightning_cam.runtime.forward_context import ForwardContext
from lightning_cam.runtime.image_files import as_8_bit, check_image, is_path, is_pil, picture_of
from lightning_cam.runtime.messages import describe
from lightning_cam.runtime.model_state import isolated_rng

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# A PIL image, a path, an array, or several of these.
Photographs: TypeAlias = "Picture | str | Path | Any | Iterable[Picture | str | Path | Any]"

_BATCH_NDIM = 4


@dataclass(frozen=True)
class ModelInput:
    """A batch, and what is known of it.

    Attributes:
        images: (B, C, H, W) floating point, as the model is fed them.
        ids: a name per image; empty for a tensor's, which have numbers.
        mean: mean per channel that was subtracted from pixels in 0 to 1; None where unknown.
        std: standard deviation per channel that they were divided by; None where unknown.
    """

    images: Tensor
    ids: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def part(self, rows: slice | None) -> dict[str, Any]:
        """Return the fields by name, of the images `rows` alone; None for all of them."""
        images = self.images if rows is None else self.images[rows]
        ids = self.ids if rows is None else self.ids[rows]
        return {"images": images, "ids": ids, "mean": self.mean, "std": self.std}


def model_input(
    model: nn.Module,
    images: Tensor | Photographs,
    transform: Transform | None = None,
    mean: Channels = None,
    std: Channels = None,
) -> ModelInput:
    """Return the batch that a model is fed. A tensor is taken as it is.

    Photographs are rotated by their EXIF orientation, brought to 8 bits in colour (in grey where
    the model takes one channel), passed through the transform, and moved to the model's device and
    dtype. Global random streams stay as they were, also where the transform draws from them.

    Args:
        model: the network, without wrappers.
        images: a tensor (B, C, H, W), or a PIL image, a path, an array (H, W, 3) or (H, W), or
            several of these.
        transform: see `transform_of`; only for photographs.
        mean: in place of what the transform subtracts.
        std: in place of what the transform divides by.

    Raises:
        ValueError: a transform for a tensor, which has passed it already; images that cannot be
            read, or that are of several sizes after the transform; and as `transform_of`.
        TypeError: images of another type.
    """
    if isinstance(images, Tensor):
        if transform is not None:
            raise ValueError(
                "expected PIL images, paths or arrays with transform=, got a tensor, which is fed "
                "to the model as it is. Leave transform out; for drawing give mean= and std=."
            )
        check_images(images)
        means, stds = as_mean_and_std(mean, std, images.shape[1])
        return ModelInput(images, mean=means, std=stds)
    several = _several(images)
    ids = _ids(several)
    prepare = transform_of(transform, model)
    channels = channels_of(model)
    with isolated_rng():
        tensors = []
        for image, id_ in zip(several, ids, strict=True):
            name = f"image {id_}" if id_.isdigit() else id_
            picture = as_8_bit(picture_of(image, name), channels, name)
            tensors.append(apply(prepare, picture, name))
        scale = None if mean is not None else measured_scale(prepare, picture)
    batch = ForwardContext.of(model).to_model(_stacked(tensors, ids))
    check_images(batch)
    means, stds = as_mean_and_std(mean, std, batch.shape[1]) if scale is None else scale
    return ModelInput(batch, ids, means, stds)


def _several(images: Any) -> list[Any]:
    """Return the images as a list."""
    wanted = (
        "expected images as a tensor (B, C, H, W), a PIL image, a path, an array (H, W, 3), or "
        "several of these last three"
    )
    single = is_path(images) or is_pil(images)
    if isinstance(images, (bytes, Mapping)) or not (single or isinstance(images, Iterable)):
        raise TypeError(f"{wanted}, got {describe(images)}")
    if hasattr(images, "__array_interface__") and not single:
        single = images.ndim < _BATCH_NDIM
    several = [images] if single else list(images)
    if not several:
        raise ValueError(f"{wanted}, got none")
    if any(isinstance(each, Tensor) for each in several):
        raise TypeError(f"{wanted}, got several tensors: give torch.stack(images)")
    for n, each in enumerate(several):
        check_image(each, f"image {n}")
    return several


def _ids(images: Sequence[Any]) -> tuple[str, ...]:
    """Return the name of each image's file, its number where there is none."""
    numbers = numbered(len(images))
    names = [each if is_path(each) else getattr(each, "filename", "") for each in images]
    return tuple(
        Path(name).name if is_path(name) and Path(name).name else number
        for name, number in zip(names, numbers, strict=True)
    )


def _stacked(tensors: Sequence[Tensor], ids: Sequence[str]) -> Tensor:
    odd = next((n for n, each in enumerate(tensors) if each.shape != tensors[0].shape), None)
    if odd is not None:
        raise ValueError(
            "expected the transform to return images of one shape, got "
            f"{tuple(tensors[0].shape)} for {ids[0]} and {tuple(tensors[odd].shape)} for "
            f"{ids[odd]}. Let it crop, such as CenterCrop(224), or give the images one by one."
        )
    return torch.stack(list(tensors))
