"""`regions_by_image`: which annotation and which of its regions are an image's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from lightning_cam.probe.annotations.regions import ImageAnnotation

_MOST_LISTED = 5


def regions_by_image(
    annotations: Sequence[ImageAnnotation],
    places: Sequence[str],
    labels: Sequence[str],
) -> list[ImageAnnotation | None]:
    """Return for each image its annotation with the regions of its class, None where it has none.

    An annotation is of the image whose path ends as its own name does, in as many folders as
    possible, whatever the suffix. Where no region has the name of any class and all have the same,
    or none, they are the object of whatever class.

    Args:
        annotations: of a file.
        places: the images' paths in their folder, with `/`.
        labels: the class of each image, by name.

    Raises:
        ValueError: a name that fits several images, an image that has several annotations, no
            image that has one, or labels of regions that are no classes.
    """
    wanted = _labels_to_take(annotations, labels)
    found: list[ImageAnnotation | None] = [None] * len(places)
    for number, annotation in _by_image(annotations, places).items():
        regions = annotation.regions
        if wanted:
            own = _folded(labels[number])
            regions = tuple(r for r in regions if r.label is None or _folded(r.label) == own)
        found[number] = replace(annotation, regions=regions) if regions else None
    if not any(found):
        raise ValueError(
            f"expected annotations of images such as {_listed(places)}, got "
            f"{_listed([each.name for each in annotations]) or 'none'} without a region of their "
            "classes"
        )
    return found


def _by_image(
    annotations: Sequence[ImageAnnotation], places: Sequence[str]
) -> dict[int, ImageAnnotation]:
    """Return the annotation of each image that has one, by the image's number."""
    paths = [PurePosixPath(place) for place in places]
    by_stem: dict[str, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        by_stem[path.stem].append(number)
    best: dict[int, tuple[tuple[int, bool], ImageAnnotation]] = {}
    for annotation in annotations:
        name = PurePosixPath(annotation.name.replace("\\", "/"))
        scores: dict[int, tuple[int, bool]] = {}
        for stem in {name.stem, name.name}:  # a name without suffix may hold a dot
            scores |= {number: _likeness(name, paths[number]) for number in by_stem.get(stem, ())}
        fitting = [number for number, score in scores.items() if score == max(scores.values())]
        if len(fitting) > 1:
            several = " and ".join(places[number] for number in fitting[:2])
            raise ValueError(
                f"expected names of single images, got {annotation.name!r}, which may be {several}"
                ": names must hold the folder too"
            )
        for number in fitting:
            score = scores[number]
            if number in best and best[number][0] == score:
                both = f"{best[number][1].name!r} and {annotation.name!r}"
                raise ValueError(f"expected one annotation of {places[number]}, got {both}")
            if number not in best or best[number][0] < score:
                best[number] = (score, annotation)
    return {number: annotation for number, (_, annotation) in best.items()}


def _likeness(name: PurePosixPath, path: PurePosixPath) -> tuple[int, bool]:
    """Return how many of the last folders are the same, and whether the whole file name is."""
    count = 0
    for one, other in zip(reversed(name.parts[:-1]), reversed(path.parts[:-1]), strict=False):
        if one != other:
            break
        count += 1
    return count, name.name == path.name


def _labels_to_take(annotations: Sequence[ImageAnnotation], labels: Sequence[str]) -> bool:
    """Return whether regions say by their label whether they are of an image's class."""
    named = {r.label for each in annotations for r in each.regions if r.label is not None}
    classes = set(labels)
    if {_folded(each) for each in named} & {_folded(each) for each in classes}:
        return True
    if len(named) > 1:
        raise ValueError(
            f"expected regions of the classes {_listed(sorted(classes))}, got "
            f"{_listed(sorted(named))}"
        )
    return False


def _folded(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MOST_LISTED else ""
    return ", ".join(map(repr, names[:_MOST_LISTED])) + more
