"""What the slow panels show: passes beside the maps, made at few looks only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lightning_cam.explain.features import FeatureMaps, feature_maps
from lightning_cam.explain.preferences import Preferences, preferred_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

_IMAGES = 4  # of the probe's, whose feature maps are shown
_CLASSES = 8
_STEPS = 64


@dataclass(frozen=True)
class Inside:
    """What was found inside the network at one look; empty where nothing was asked.

    Attributes:
        features: feature maps by layer, of the probe's first images.
        preferences: what classes and channels prefer.
    """

    features: dict[str, FeatureMaps] = field(default_factory=dict)
    preferences: Preferences | None = None


def look_inside(
    model: nn.Module,
    images: Tensor,
    probe: Probe,
    options: Options,
    layers: Sequence[str],
    wanted: Sequence[str],
    steps: int = _STEPS,
) -> Inside:
    """Run the passes that slow panels need.

    Args:
        model: the network.
        images: the probe's images on the model's device and in its dtype.
        probe: the probe.
        options: which layers, channels and classes.
        layers: the watched ones, for features where `options` name none.
        wanted: names of the panels that are due.
        steps: of the gradient ascent.

    Raises:
        ValueError: layers, channels or classes that the model does not have.
    """
    features, found = {}, None
    if "features" in wanted:
        named = options.feature_layers or tuple(layers) or "auto"
        features = feature_maps(model, images[:_IMAGES], named, options.feature_channels)
        features = {k: replace(each, maps=each.maps.cpu()) for k, each in features.items()}
    if "preferences" in wanted:
        asked = options.preferred if options.preferred is not None else classes_of(probe)
        pixels = probe.images
        found = preferred_images(
            model,
            tuple(pixels.shape[1:]),
            asked,
            steps=steps,
            seed=options.seed,
            bounds=(pixels.amin(dim=(0, 2, 3)), pixels.amax(dim=(0, 2, 3))),
        )
        found = replace(found, images=found.images.cpu())
    return Inside(features, found)


def classes_of(probe: Probe) -> list[int]:
    """Return the first classes that a probe has labels of; the first two where it has none."""
    targets = probe.targets
    if targets is None:
        return [0, 1]
    if probe.multi_label:
        targets = targets.nonzero()[:, 1]
    return sorted(set(targets.tolist()))[:_CLASSES]
