"""Checks of arguments that several packages share; each raises with what it expected and got."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightning_cam.runtime.messages import describe, unknown_name

OnAlert: TypeAlias = Callable[..., object] | str  # of alert, trainer, module; a str for YAML
ALERT_ACTIONS = ("warn", "stop", "checkpoint")


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected {name} as an integer of {least} or more, got {value!r}")


def check_type(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless `value` is of a type: `str`, `int`, or for flags `bool`.

    A text such as "no" would be taken for true.
    """
    fits = value in (True, False) if kind is bool else isinstance(value, kind)
    if not fits or (kind is int and isinstance(value, bool)):
        words = {str: "a text", int: "an integer", bool: "True or False"}
        raise TypeError(f"expected {name} as {words[kind]}, got {value!r}")


def check_images(images: Tensor) -> None:
    """Raise unless `images` is a floating point tensor (B, C, H, W) with at least one image.

    Raises:
        TypeError: no tensor.
        ValueError: another shape or dtype, or no images.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"expected images as a tensor (B, C, H, W), got {describe(images)}")
    if images.ndim != 4 or not images.is_floating_point():  # noqa: PLR2004
        raise ValueError(
            f"expected images of shape (B, C, H, W) and floating point, got {describe(images)}. "
            "Convert and normalise them as for the model; add the batch dimension to a single one."
        )
    if images.numel() == 0:
        raise ValueError(f"expected at least one image, got {describe(images)}")


def as_class_indices(classes: Tensor, batch: int) -> Tensor:
    """Return (B,) class indices as int64.

    Raises:
        ValueError: not integers, not one per image, or negative.
    """
    if classes.dtype == torch.bool or classes.is_floating_point() or classes.is_complex():
        raise ValueError(f"expected targets to be integer class indices, got {describe(classes)}")
    if classes.shape != (batch,):
        raise ValueError(
            f"expected one target per image, shape ({batch},), got {describe(classes)}"
        )
    if batch and int(classes.min()) < 0:
        raise ValueError(f"expected class indices of 0 and above, got {int(classes.min())}")
    return classes.long()


def as_multi_label(labels: Tensor, batch: int) -> Tensor:
    """Return (B, K) labels of 0 and 1 as bool.

    Raises:
        ValueError: another shape, or other values.
    """
    if labels.ndim != 2 or len(labels) != batch:  # noqa: PLR2004
        raise ValueError(f"expected labels of shape ({batch}, labels), got {describe(labels)}")
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise ValueError(f"expected labels of 0 and 1, got {describe(labels)} with other values")
    return labels > 0


def check_class_range(classes: Tensor, num_logits: int) -> None:
    """Raise ValueError where a class index has no logit; a single logit stands for two classes."""
    num_classes = max(2, num_logits)
    if len(classes) and int(classes.max()) >= num_classes:
        raise ValueError(
            f"expected class indices below {num_classes}, the model's number of classes, got "
            f"{int(classes.max())}"
        )


Channels: TypeAlias = "Sequence[float] | float | None"  # a number per channel, or one for all


def as_mean_and_std(
    mean: Channels, std: Channels, channels: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return mean and standard deviation as a number per channel each; None where not given.

    Raises:
        ValueError: only one of them, another number of numbers, or numbers that are not finite; a
            standard deviation of 0 or less.
    """
    means, stds = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if (means is None) != (stds is None):
        raise ValueError("expected mean and std together, got only one of them")
    if stds is not None and min(stds) <= 0:
        raise ValueError(f"expected std above 0, got {stds}")
    return means, stds


def _per_channel(what: str, values: Channels, channels: int) -> tuple[float, ...] | None:
    if values is None:
        return None
    numbers = torch.as_tensor(values, dtype=torch.float32).flatten().tolist()
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"expected finite {what}, got {numbers}")
    if len(numbers) == 1:
        numbers = numbers * channels
    if len(numbers) != channels:
        raise ValueError(f"expected {what} for each of {channels} channels, got {len(numbers)}")
    return tuple(numbers)


def check_alert_actions(on_alert: Any) -> tuple[OnAlert, ...]:
    """Return the actions of an alert, one or several of `ALERT_ACTIONS` or functions.

    Raises:
        ValueError: an unknown action.
    """
    actions = (on_alert,) if isinstance(on_alert, str) or callable(on_alert) else tuple(on_alert)
    for action in actions:
        if not callable(action) and action not in ALERT_ACTIONS:
            raise ValueError(unknown_name("action on_alert", action, ALERT_ACTIONS))
    return actions
