"""`transform_of`: how a model's images are prepared, as the user or the model says."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_cam.runtime.image_files import is_pil
from lightning_cam.runtime.messages import describe

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Transform: TypeAlias = "Callable[[Picture], Any] | Any"  # or a member of a `WeightsEnum`

_IMAGE_NDIM = 3
_LARGEST_SAMPLE = 512  # pixels; whole photographs would only take longer
_LEVELS = (0, 128, 255)
_TOLERANCE = 0.01  # of the range from black to white


def transform_of(transform: Any, model: nn.Module) -> Callable[[Picture], Any]:
    """Return the function from a PIL image to the model's input.

    Args:
        transform: such a function, or torchvision weights, whose own transforms are taken; None for
            those that the model says: a timm model has them in its `pretrained_cfg`.
        model: the network, without wrappers.

    Raises:
        ValueError: no transform is given, and the model does not say any.
        TypeError: anything else.
    """
    if transform is None:
        return _of_timm(model)
    if isinstance(transform, type) and issubclass(transform, enum.Enum):
        raise TypeError(
            f"expected the weights that the model was loaded with as transform, such as "
            f"{transform.__name__}.DEFAULT, got {transform.__name__}"
        )
    if is_weights(transform):
        made: Callable[[Picture], Any] = transform.transforms()
        return made
    if not callable(transform):
        raise TypeError(
            "expected transform as a function from a PIL image to a tensor (C, H, W), or as "
            f"torchvision weights, got {describe(transform)}"
        )
    prepare: Callable[[Picture], Any] = transform
    return prepare


def is_weights(transform: object) -> bool:
    """Return whether something is torchvision weights: it knows transforms and class names."""
    return callable(getattr(transform, "transforms", None)) and hasattr(transform, "meta")


def _of_timm(model: nn.Module) -> Callable[[Picture], Any]:
    if not isinstance(getattr(model, "pretrained_cfg", None), Mapping):
        raise ValueError(
            f"expected transform=, since a {type(model).__name__} does not say how its images are "
            "prepared. Give the torchvision weights that it was loaded with, such as "
            "transform=ResNet50_Weights.DEFAULT; the transform of the validation images that it "
            "was trained with; a Hugging Face image processor; or any other function from a PIL "
            "image to a tensor (C, H, W)."
        )
    from timm.data import create_transform, resolve_model_data_config

    made: Callable[[Picture], Any] = create_transform(**resolve_model_data_config(model))
    return made


def apply(transform: Callable[[Picture], Any], picture: Picture, name: str) -> Tensor:
    """Return what a transform makes of a picture, (C, H, W) floating point.

    Of a Hugging Face image processor its `pixel_values` are taken.

    Args:
        transform: see `transform_of`.
        picture: a PIL image.
        name: of the image in messages.

    Raises:
        ValueError: the transform failed, or returned anything else.
    """
    try:
        made = transform(picture)
        if isinstance(made, Mapping) and "pixel_values" in made:
            made = made["pixel_values"][0]
        if not isinstance(made, Tensor) and hasattr(made, "__array__") and not is_pil(made):
            made = torch.as_tensor(made)
    except Exception as error:
        raise ValueError(
            f"the transform failed on {name} ({picture.mode}, {picture.width}×{picture.height} "
            f"pixels): {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, Tensor) or made.ndim != _IMAGE_NDIM or not made.is_floating_point():
        raise ValueError(
            "expected the transform to return a floating point tensor (C, H, W), got "
            f"{describe(made)} for {name}. End it with ToTensor() or ToImage() and "
            "ToDtype(torch.float32, scale=True), then Normalize."
        )
    return made.as_subclass(Tensor)


def measured_scale(
    transform: Callable[[Picture], Any], picture: Picture
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the mean and standard deviation per channel with which a transform normalises.

    They are measured on a black, a grey and a white image, so that it does not matter how the
    transform is written. None where its values are not linear in those of the pixels, as after an
    equalisation, or where it fails on such images.

    Args:
        transform: see `transform_of`.
        picture: an image of the mode and of about the size that it is fed.
    """
    from PIL import Image

    size = (min(picture.width, _LARGEST_SAMPLE), min(picture.height, _LARGEST_SAMPLE))
    colors = [level if picture.mode == "L" else (level,) * 3 for level in _LEVELS]
    try:
        fed = [apply(transform, Image.new(picture.mode, size, each), "a test") for each in colors]
    except ValueError:
        return None
    middles = [each[:, each.shape[1] // 2, each.shape[2] // 2].double().cpu() for each in fed]
    black, grey, white = middles
    span = white - black
    linear = (grey - black - span * (_LEVELS[1] / _LEVELS[2])).abs() <= _TOLERANCE * span.abs()
    if not bool((span.isfinite() & (span != 0) & linear).all()):
        return None
    return tuple((-black / span).tolist()), tuple((1 / span).tolist())
