"""One picture a map: image, heat, the object's outline, and words below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_cam import render
from lightning_cam.loggers.base import Picture, safe_name
from lightning_cam.metrics import is_flat
from lightning_cam.panels.scene import Scene, on_host, suffix_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_cam.monitor.history import MapKey


def overlays(scene: Scene) -> list[Picture]:
    """Return a picture for each drawn image at each method and layer, each under its own tag."""
    return [picture for key in scene.maps for picture in _of(scene, key)]


def _of(scene: Scene, key: MapKey) -> list[Picture]:
    gallery, options, drawn = scene.gallery, scene.gallery.options, scene.drawn
    maps = scene.maps[key][list(drawn)]
    height, width = gallery.probe.images.shape[2:]
    size = render.picture_size(height, width)
    masks = gallery.masks(scene.rows(drawn), scene.device)
    peaks = scene.peaks_of(key, drawn)
    pictures = on_host(
        render.overlay(
            scene.images(drawn, size),
            maps,
            masks=masks,
            size=size,
            colormap=options.colormap,
            alpha=options.alpha,
            peaks=peaks,
        )
    )
    objects = None if masks is None else on_host(render.sized_masks(masks, size))
    flat = is_flat(maps).tolist()
    shares = None if peaks is None else (maps.amax(dim=(1, 2)) / peaks).tolist()
    suffix = suffix_of(key, scene.maps)
    folder = safe_name(suffix[1:]) if suffix else ""
    group = "/".join(part for part in (gallery.tag, "overlay", folder) if part)
    finished = []
    for i, n in enumerate(drawn):
        lines = _caption(scene, n)
        if flat[i]:
            lines.append("no evidence")
        elif shares is not None:
            lines.append(f"heat {shares[i]:.0%} of its peak")
        pixels = render.with_caption(pictures[i], lines)
        finished.append(
            Picture(
                f"{group}/{_place(scene, n)}",
                pixels,
                " · ".join(lines),
                scene.snapshot.epoch,
                mask=None if objects is None else _below(objects[i], len(pixels)),
                group=group,
            )
        )
    return finished


def _below(mask: NDArray[np.uint8], height: int) -> NDArray[np.bool_]:
    """Return a mask with nothing on the caption below the picture."""
    return np.pad(mask.astype(bool), ((0, height - len(mask)), (0, 0)))


def _place(scene: Scene, n: int) -> str:
    """Return the last part of a map's tag: the image, and the class where it has several."""
    probe, snapshot = scene.gallery.probe, scene.snapshot
    row = int(snapshot.rows[n])
    name = safe_name(probe.ids[row])
    same = (snapshot.rows == row).nonzero()[:, 0].tolist()
    if len(same) == 1 and not probe.multi_label:
        return name
    label = safe_name(probe.name_of(int(snapshot.classes[n])))
    twins = [m for m in same if snapshot.classes[m] == snapshot.classes[n]]
    return f"{name}/{label}" + (f"-{twins.index(n)}" if len(twins) > 1 else "")


def _caption(scene: Scene, n: int) -> list[str]:
    """Return label, prediction, and last, where no long name cuts them off, the figures."""
    gallery, snapshot = scene.gallery, scene.snapshot
    row, explained = int(snapshot.rows[n]), int(snapshot.classes[n])
    lines, figures = [], [f"epoch {snapshot.epoch}"]
    if gallery.probe.multi_label:
        lines.append(f"label {gallery.name(explained)}" if explained >= 0 else "all labels")
        if explained >= 0:
            figures.append(f"{float(snapshot.confidences[row, explained]):.0%}")
    else:
        label, predicted = gallery.label(row), int(snapshot.predictions[row])
        if label is not None or explained >= 0:
            lines.append(
                f"label {gallery.name(label)}" if label is not None else gallery.name(explained)
            )
        if predicted >= 0:
            lines.append(f"predicted {gallery.name(predicted)}")
            figures.append(f"{float(snapshot.confidences[row]):.0%}")
            figures += ["wrong"] if label is not None and predicted != label else []
    return [*lines, " · ".join(figures)]
