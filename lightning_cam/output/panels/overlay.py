"""Panel `overlay`: one image per map, with the heat, the object's outline, and text below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_cam import render
from lightning_cam.metrics import is_flat
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import Scene, on_host, suffix_of
from lightning_cam.output.picture import Picture
from lightning_cam.runtime.files import safe_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_cam.output.protocols import MapKey


@register_panel("overlay", default=True)
def overlay(scene: Scene) -> list[Picture]:
    """Return one image per drawn sample, method and layer, each under its own tag."""
    return [picture for key in scene.maps for picture in _overlays(scene, key)]


def _overlays(scene: Scene, key: MapKey) -> list[Picture]:
    displayed, config, drawn = scene.displayed, scene.displayed.config, scene.drawn
    maps = scene.maps[key][list(drawn)]
    height, width = displayed.probe.images.shape[2:]
    size = render.picture_size(height, width)
    masks = displayed.masks(scene.rows(drawn), scene.device)
    peaks = scene.peaks_of(key, drawn)
    blended = render.overlay(
        scene.images(drawn, size),
        maps,
        masks=masks,
        size=size,
        colormap=config.colormap,
        alpha=config.alpha,
        peaks=peaks,
    )
    objects = None if masks is None else on_host(render.sized_masks(masks, size))
    flat = is_flat(maps).tolist()
    shares = None if peaks is None else (maps.amax(dim=(1, 2)) / peaks).tolist()
    group = _group(scene, key)
    pictures = []
    for i, (n, pixels) in enumerate(zip(drawn, on_host(blended), strict=True)):
        lines = _caption(scene, n)
        if flat[i]:
            lines.append("no evidence")
        elif shares is not None:
            lines.append(f"heat {shares[i]:.0%} of its peak")
        captioned = render.with_caption(pixels, lines)
        mask = None if objects is None else _extended(objects[i], len(captioned))
        tag, text = f"{group}/{_name(scene, n)}", " · ".join(lines)
        pictures.append(Picture(tag, captioned, text, scene.snapshot.epoch, mask, group=group))
    return pictures


def _group(scene: Scene, key: MapKey) -> str:
    """Return the tag that all overlays of one method and layer share."""
    suffix = suffix_of(key, scene.maps)
    folder = safe_name(suffix[1:]) if suffix else ""
    return "/".join(part for part in (scene.displayed.tag, "overlay", folder) if part)


def _extended(mask: NDArray[np.uint8], height: int) -> NDArray[np.bool_]:
    """Return a mask with the height of the captioned image, and nothing on the caption."""
    return np.pad(mask.astype(bool), ((0, height - len(mask)), (0, 0)))


def _name(scene: Scene, n: int) -> str:
    """Return the last part of a map's tag: the image, and the class where it has several."""
    probe, snapshot = scene.displayed.probe, scene.snapshot
    row = int(snapshot.rows[n])
    name = safe_name(probe.ids[row], f"image_{row}")
    of_image = (snapshot.rows == row).nonzero()[:, 0].tolist()
    if len(of_image) == 1 and not probe.multi_label:
        return name
    explained = int(snapshot.classes[n])
    label = safe_name(probe.name_of(explained), f"class_{explained}")
    same_class = [m for m in of_image if snapshot.classes[m] == snapshot.classes[n]]
    return f"{name}/{label}" + (f"-{same_class.index(n)}" if len(same_class) > 1 else "")


def _caption(scene: Scene, n: int) -> list[str]:
    """Return label and prediction, and on the last line, where no long name cuts it, figures."""
    displayed, snapshot = scene.displayed, scene.snapshot
    row, explained = int(snapshot.rows[n]), int(snapshot.classes[n])
    lines, figures = [], [f"epoch {snapshot.epoch}"]
    if displayed.probe.multi_label:
        lines.append(f"label {displayed.class_name(explained)}" if explained >= 0 else "all labels")
        if explained >= 0:
            figures.append(f"{float(snapshot.confidences[row, explained]):.0%}")
    else:
        label, predicted = displayed.label(row), int(snapshot.predictions[row])
        if label is not None:
            lines.append(f"label {displayed.class_name(label)}")
        elif explained >= 0:
            lines.append(displayed.class_name(explained))
        if predicted >= 0:
            lines.append(f"predicted {displayed.class_name(predicted)}")
            figures.append(f"{float(snapshot.confidences[row]):.0%}")
            figures += ["wrong"] if label is not None and predicted != label else []
    return [*lines, " · ".join(figures)]
