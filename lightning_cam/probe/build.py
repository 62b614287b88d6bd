"""`probe_arguments`: what a probe is made of, from samples as the model is fed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lightning_cam.probe.class_names import find_class_names
from lightning_cam.probe.columns import (
    Column,
    columns_of_batch,
    is_channels_last,
    join,
    plain,
)
from lightning_cam.probe.labels import Targets, regression_note, targets_of
from lightning_cam.probe.normalization import find_normalization, normalization_of
from lightning_cam.probe.origin import ProbeOrigin
from lightning_cam.probe.regions import IGNORED, boxes_of, masks_of, pad, pad_to_one_size
from lightning_cam.probe.roles import Roles, find_roles, is_called_label
from lightning_cam.probe.sample_reader import Batch, SampleData
from lightning_cam.runtime.containers import map_tensors, tensors_in
from lightning_cam.runtime.messages import describe

_IMAGE_NDIM = 3

Feed = Callable[[Any], Any]  # a collated batch to the batch that the model's step gets


@dataclass(frozen=True)
class ProbeContext:
    """What is known of a probe beside its samples.

    Attributes:
        feed: passes a batch through the hooks that stand between the loader and the model.
        holders: objects, such as datamodule and model, that may know class names or the
            normalisation where the data set does not.
        known: arguments of `Probe` in place of what is read; None counts as not given.
    """

    feed: Feed | None = None
    holders: Sequence[Any] = ()
    known: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        module: Any,
        datamodule: Any = None,
        *,
        feed: Feed | None = None,
        known: Mapping[str, Any] | None = None,
    ) -> ProbeContext:
        """Return what is known with a model, None for none, and a datamodule, None for none."""
        children = () if module is None else module.children()
        return cls(feed, [datamodule, module, *children], known or {})


@dataclass(frozen=True)
class ProbeArguments:
    """The arguments of a `Probe` by name, and how they were found.

    Attributes:
        values: by name.
        origin: how they were found.
        indices: of the samples in the data set, or their places in a stream.
    """

    values: Mapping[str, Any]
    origin: ProbeOrigin
    indices: tuple[int, ...] = ()

    def with_note(self, note: str) -> ProbeArguments:
        """Return the same with one more note, unless that is empty."""
        return replace(self, origin=self.origin.with_note(note))


@dataclass
class _Draft:
    """Arguments of a `Probe`, and what to say about them."""

    notes: list[str]
    fields: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


def probe_arguments(data: SampleData, context: ProbeContext | None = None) -> ProbeArguments:
    """Return the arguments of the probe of samples that were read.

    Args:
        data: the samples.
        context: what is known beside them.

    Raises:
        ValueError: the samples hold no images that a model can be fed.
    """
    context = context or ProbeContext()
    known = {name: value for name, value in context.known.items() if value is not None}
    fed = join([_columns(batch, context.feed) for batch in data.batches])
    of_items = find_roles(data.items, listed=data.listed, indices=data.indices)
    roles = find_roles(fed, listed=data.listed, indices=data.indices)
    if roles.image is None or roles.image.images is None or _is_pil(roles.image):
        raise ValueError(_no_images(data, fed))
    label_path = roles.label.path if roles.label is not None else ""
    roles = roles.or_else(of_items)
    draft = _Draft([*data.notes])
    _add_images(draft, roles, data, of_items.image, context.holders, known)
    _add_labels(draft, roles, data)
    if roles.label is None and draft.fields["targets"] is None:
        note = regression_note(fed)
        draft.notes += [note] if note else []
    _add_regions(draft, roles, known)
    _add_names(draft, data, context.holders, known)
    origin = ProbeOrigin(draft.facts, draft.notes, label_path)
    return ProbeArguments({**draft.fields, **known}, origin, data.indices)


def _columns(batch: Batch, feed: Feed | None) -> dict[str, Column]:
    fed = batch.data if feed is None else feed(batch.data)
    # `to` keeps the class of a `tv_tensor`, `cpu` does not.
    fed = map_tensors(fed, lambda _, tensor: tensor.detach().to("cpu"))
    columns = columns_of_batch(fed, batch.count)
    return {path: column.take(batch.rows) for path, column in columns.items()}


def _is_pil(column: Column) -> bool:
    """Return whether a column holds PIL images, which no model is fed."""
    return any(hasattr(value, "getbands") for value in column.values)


def _no_images(data: SampleData, fed: Mapping[str, Column]) -> str:
    parts = ", ".join(f"{path or 'batch'}: {describe(c.values[0])}" for path, c in fed.items())
    if not parts and data.batches:
        batch = data.batches[0].data
        parts = ", ".join(f"{path}: {describe(t)}" for path, t in tensors_in(batch))
        parts = parts or f"a {type(batch).__name__} without tensors that can be found"
    several = any(each.ndim > _IMAGE_NDIM for c in fed.values() for each in (c.tensors or ())[:1])
    what_to_do = (
        "Of bags, crops or videos give single images, CAMCallback(probe=Probe(images, targets), "
        "forward=...), with a function of module and images that calls the model with them."
        if several
        else "Add a transform to tensors, or give CAMCallback(probe=Probe(images, targets))."
    )
    return (
        "expected batches that hold images as tensors (B, C, H, W), alone, in a tuple or under a "
        f"key such as 'image'; per sample got {parts or 'nothing'}. {what_to_do}"
    )


# --- the parts -----------------------------------------------------------------------------------


def _add_images(
    draft: _Draft,
    roles: Roles,
    data: SampleData,
    earlier: Column | None,
    holders: Sequence[Any],
    known: Mapping[str, Any],
) -> None:
    assert roles.image is not None
    assert roles.image.images is not None
    images, note = pad_to_one_size(roles.image.images)
    draft.notes += [note] if note else []
    if any(map(is_channels_last, roles.image.values)):
        draft.notes.append(
            "images come as height × width × channels: where the model takes them so, give "
            "forward=lambda module, images: module(images.permute(0, 2, 3, 1))"
        )
    integer = not images.is_floating_point()
    shape = "×".join(map(str, images.shape[1:]))
    kind = str(images.dtype).removeprefix("torch.") if integer else "float"
    available = "" if data.available is None else f" of {data.available}"
    order = "a stream" if data.order == "stream" else data.order
    draft.facts["images"] = f"{len(images)}{available}, {shape} {kind}, from {order}"
    draft.fields["images"] = images if integer else images.float()
    if "mean" in known or "std" in known:
        draft.facts["normalization"] = "mean and std as given"
        return
    normalization = normalization_of(
        images.float(),
        None if earlier is None else earlier.images,
        [(data.normalization, "the data set's Normalize transform")],
        [(find_normalization(h), f"Normalize of {type(h).__name__}") for h in holders],
    )
    draft.fields["mean"], draft.fields["std"] = normalization.mean, normalization.std
    draft.facts["normalization"] = normalization.source


def _add_labels(draft: _Draft, roles: Roles, data: SampleData) -> None:
    targets: Targets | None = None
    source = "none found"
    if roles.label is not None:
        one_hot = data.one_hot if roles.label.vectors is not None else None
        targets = targets_of(roles.label, one_hot=one_hot)
        source = f"batch{roles.label.path}"
    elif data.listed is not None:
        targets = Targets(torch.tensor(data.listed), "class indices")
        source = "the data set's list of labels"
        draft.notes += [
            f"batch{path} is text: the numbers of the data set's own list are taken, which must be "
            "those of the model"
            for path, column in data.items.items()
            if column.kinds == {"str"} and is_called_label(column)
        ]
    elif roles.box_labels is not None:
        first = [int(t.flatten()[0]) if t.numel() else -1 for t in roles.box_labels.tensors or ()]
        targets = Targets(torch.tensor(first), "the class of each image's first box")
        source = f"batch{roles.box_labels.path}"
    if targets is not None and targets.values.ndim == 1 and _some_unknown(targets.values):
        draft.notes.append("some samples have no label: all are explained by their prediction")
        targets, source = None, "not used"
    draft.fields["targets"] = None if targets is None else targets.values
    draft.facts["labels"] = source if targets is None else f"{targets.kind} in {source}"
    if targets is not None and targets.note:
        draft.notes.append(targets.note)
    if roles.other_labels:
        others = ", ".join(f"batch{path}" for path in roles.other_labels)
        draft.notes.append(f"{others} might be labels too; give Probe(images, targets) for those")
    listed, values = data.listed, draft.fields["targets"]
    if listed is not None and values is not None and values.shape == (len(listed),):
        differ = int((values != torch.tensor(listed)).sum())
        if differ:
            draft.notes.append(
                f"{differ} of {len(values)} labels in the batch differ from the data set's own "
                "list; the batch's are taken"
            )


def _some_unknown(labels: Tensor) -> bool:
    """Return whether some labels say that there is none: below 0, or 255 among small ones.

    255 is the usual `ignore_index` of labels in bytes.
    """
    others = labels[labels != IGNORED]
    ignored = 0 < len(others) < len(labels) and int(others.max()) < IGNORED // 2
    return ignored or bool((labels < 0).any())


def _add_regions(draft: _Draft, roles: Roles, known: Mapping[str, Any]) -> None:
    height, width = draft.fields["images"].shape[2:]
    draft.facts["masks"] = "none"
    if roles.mask is None and roles.misfit:
        draft.notes.append(
            f"masks in batch{roles.misfit} have another size than the images, and are not used"
        )
    mask = roles.mask
    if mask is not None and mask.tensors is not None and "masks" not in known:
        padded = Column(mask.path, tuple(_padded(t, height, width) for t in mask.tensors))
        fits = all(t.shape[-2:] == (height, width) for t in padded.tensors or ())
        found = masks_of(padded, draft.fields["targets"]) if fits else "masks have another size"
        if isinstance(found, str):
            draft.notes.append(found)
        else:
            draft.fields["masks"] = found.objects
            draft.facts["masks"] = f"batch{mask.path}"
            draft.notes += [found.note] if found.note else []
            if found.labels is not None and draft.fields["targets"] is None:
                draft.fields["targets"] = found.labels
                draft.facts["labels"] = f"the largest class of each mask in batch{mask.path}"
    if roles.boxes is not None and "boxes" not in known:
        draft.fields["boxes"], note = boxes_of(roles.boxes)
        draft.notes += [note] if note else []
        if draft.fields["boxes"] is not None:
            draft.facts["boxes"] = f"batch{roles.boxes.path}, as x1, y1, x2, y2 in pixels"
        if roles.box_labels is not None and draft.fields["boxes"] is not None:
            labels = roles.box_labels.tensors or ()
            draft.fields["box_labels"] = tuple(plain(t).reshape(-1).long() for t in labels)


def _padded(mask: Tensor, height: int, width: int) -> Tensor:
    smaller = mask.shape[-2] <= height and mask.shape[-1] <= width
    return pad(plain(mask), height, width) if smaller else mask


def _add_names(
    draft: _Draft,
    data: SampleData,
    holders: Sequence[Any],
    known: Mapping[str, Any],
) -> None:
    targets = draft.fields["targets"]
    highest = -1
    if targets is not None:
        highest = targets.shape[1] - 1 if targets.ndim > 1 else int(targets.max())
    if "class_names" in known:
        names, source = list(known["class_names"]), "as given"
    else:
        found = data.class_names
        if found is None or len(found[0]) <= highest:
            found = next(filter(None, (find_class_names(h, highest) for h in holders)), None)
        names, source = found or ([], "none found")
    draft.fields["class_names"] = names or None
    draft.facts["class names"] = f"{len(names)}, {source}" if names else source
    labels = targets.tolist() if targets is not None and targets.ndim == 1 else None
    # The class first, so that loggers that sort by name keep a class together.
    draft.fields["ids"] = [
        f"{index:05d}"
        if labels is None
        else f"{names[labels[n]] if labels[n] < len(names) else labels[n]}-{index:05d}"
        for n, index in enumerate(data.indices)
    ]
