"""`run_diagnostics`: the passes that slow panels need, made at few evaluations only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from lightning_cam.explain.activation_maximization import MaximizedActivations, maximize_activations
from lightning_cam.explain.features import FeatureMaps, feature_maps

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lightning_cam.output.config import OutputConfig
    from lightning_cam.probe import Probe
    from lightning_cam.runtime.chunking import AdaptiveChunkSize

_IMAGES = 4  # of the probe's, whose feature maps are shown
_CLASSES = 8
ASCENT_STEPS = 64


@dataclass(frozen=True)
class Diagnostics:
    """What slow panels show; empty where none was due.

    Attributes:
        features: feature maps by layer, of the probe's first images.
        activations: images that classes and channels respond to most.
    """

    features: dict[str, FeatureMaps] = field(default_factory=dict)
    activations: MaximizedActivations | None = None


def run_diagnostics(
    model: nn.Module,
    images: Tensor,
    probe: Probe,
    config: OutputConfig,
    layers: Sequence[str],
    due: Sequence[str],
    chunk_size: AdaptiveChunkSize,
    *,
    seed: int = 0,
    steps: int = ASCENT_STEPS,
) -> Diagnostics:
    """Run the passes of the slow panels that are due.

    Args:
        model: the network.
        images: the probe's images on the model's device and in its dtype.
        probe: the probe.
        config: which layers, channels and classes.
        layers: those of the maps, for features where `config` names none.
        due: names of the panels.
        chunk_size: images per pass; halved where memory runs out.
        seed: of the gradient ascent.
        steps: of the gradient ascent.

    Raises:
        ValueError: layers, channels or classes that the model does not have.
    """
    features, activations = {}, None
    if "features" in due:
        named = config.feature_layers or tuple(layers) or "auto"

        def some_features(size: int) -> dict[str, FeatureMaps]:
            few = images[: min(_IMAGES, size)]
            return feature_maps(model, few, named, config.feature_channels)

        features = chunk_size.run(some_features, _IMAGES)
        features = {k: replace(each, maps=each.maps.cpu()) for k, each in features.items()}
    if "activation_maximization" in due:
        targets = config.activation_maximization
        targets = classes_of(probe) if targets is None else targets
        pixels = probe.images
        ascend = partial(
            maximize_activations,
            model,
            tuple(pixels.shape[1:]),
            targets,
            steps=steps,
            seed=seed,
            bounds=(pixels.amin(dim=(0, 2, 3)), pixels.amax(dim=(0, 2, 3))),
        )
        activations = chunk_size.run(lambda size: ascend(chunk_size=size), len(targets))
        activations = replace(activations, images=activations.images.cpu())
    return Diagnostics(features, activations)


def classes_of(probe: Probe) -> list[int]:
    """Return the first classes that a probe has labels of; the first two where it has none."""
    targets = probe.targets
    if targets is None:
        return [0, 1]
    if probe.multi_label:
        targets = targets.nonzero()[:, 1]
    return sorted(set(targets.tolist()))[:_CLASSES]
