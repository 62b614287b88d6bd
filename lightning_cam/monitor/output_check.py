"""`OutputCheck`: compare the probe's outputs with what the model said in its own validation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_cam.explain.modules import add_forward_hook, named_modules
from lightning_cam.explain.outputs import probabilities
from lightning_cam.explain.score_kind import as_logits, class_scores_in
from lightning_cam.runtime.containers import tensors_in

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from lightning_cam.explain.score_kind import ScoreKind
    from lightning_cam.monitor.model_reading import ModelReading

_ENOUGH = 8  # images that are compared
_PIXELS = 64  # of an image, that a first comparison looks at
_EXACT = 2e-3  # difference of two probabilities in single precision, other chunks included
_HALF = 5e-2  # and in half precision
_CLOSE = 1e-4  # relative difference of the same image


class OutputCheck:
    """Finds the probe's images in validation batches and notes what the model says of them.

    Temporary forward hooks, on the modules whose output is the class scores, note what comes out
    inside `validation_step`. They are removed after each batch. Where the model differs from what
    the monitor computes on the same images, its metrics would be about another model.

    Args:
        reading: how the monitor calls the model, and its probe.

    Attributes:
        reported: whether the comparison has been made known.
    """

    def __init__(self, reading: ModelReading) -> None:
        self._reading = reading
        self._images = reading.probe.images
        self.reported = False
        self._handles: list[RemovableHandle] = []
        self._pairs: list[tuple[int, int]] = []  # rows of the batch and of the probe
        self._said: dict[int, list[tuple[Tensor, Tensor | None]]] = {}
        self._half = False  # whether the model runs in half precision
        self._finished = not reading.score_modules

    def start_batch(self, model: nn.Module, batch: Any) -> None:
        """Note what the model says of a batch, if the probe's images are in it.

        Args:
            model: the network, without wrappers.
            batch: as `validation_step` gets it.
        """
        if self._finished or len(self._said) >= _ENOUGH or _is_compiled(model):
            return
        found = _images_in(batch, self._images)
        if found is None:
            return
        self._pairs = _same_rows(found, self._images)
        if not self._pairs:
            return
        modules: dict[str, nn.Module] = {"": model, **named_modules(model)}
        for name, path in self._reading.score_modules.items():
            if name in modules:
                listener = _Listener(self, path, len(found), [row for row, _ in self._pairs])
                module = modules[name]
                self._handles += [
                    nn.Module.register_forward_pre_hook(module, listener.before),
                    add_forward_hook(module, listener.after),
                ]

    def end_batch(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._pairs = [], []

    def note(self, output: Any, images: Tensor | None, path: str, count: int) -> None:
        """Keep the class scores of the probe's images in an output of the model.

        Args:
            output: of a module.
            images: what it was fed, the probe's alone, or None where it is fed none.
            path: of the class scores in the output.
            count: of images in the batch.
        """
        scores = dict(tensors_in(output)).get(path)
        if scores is None or len(scores) != count or self._reading.kind is None:
            return
        logits = _logits(scores.detach(), self._reading.kind, count)
        if logits is None:
            return
        self._half = self._half or scores.element_size() < 4  # noqa: PLR2004
        for n, (row, place) in enumerate(self._pairs):
            fed = None if images is None else images[n]
            self._said.setdefault(place, []).append((logits[row].cpu(), fed))

    def difference(self, logits: Tensor) -> str:
        """Return a sentence about what differs, empty where nothing does or nothing is known.

        To be called once: from then on no batch is looked at.

        Args:
            logits: (B, K) as the monitor computed them for the probe.
        """
        said, self._said = self._said, {}
        self._finished = True
        places = [place for place, each in said.items() if each[0][0].shape == logits[place].shape]
        if not places:
            return ""
        ours = self._probabilities(logits[places])
        # A module may be called several times, such as with a teacher: one that agrees suffices.
        each = [self._probabilities(torch.stack([s[0] for s in said[p]])) for p in places]
        if not bool(ours.isfinite().all()) or not all(bool(t.isfinite().all()) for t in each):
            return ""  # a training that diverged; NaN is not different from NaN
        errors = [float((t - o).abs().amax(dim=1).min()) for t, o in zip(each, ours, strict=True)]
        agree = max(errors) <= (_HALF if self._half else _EXACT)
        if agree and self._altered(places, said) is None:
            return ""
        theirs = torch.stack(
            [t[(t - o).abs().amax(dim=1).argmin()] for t, o in zip(each, ours, strict=True)]
        )
        return self._sentence(places, ours, theirs, said)

    def _probabilities(self, logits: Tensor) -> Tensor:
        return probabilities(logits.float(), multi_label=self._reading.probe.multi_label)

    def _sentence(
        self,
        places: list[int],
        ours: Tensor,
        theirs: Tensor,
        said: Mapping[int, list[tuple[Tensor, Tensor | None]]],
    ) -> str:
        targets = self._reading.probe.targets
        if targets is not None and targets.ndim == 1 and int(targets.max()) < ours.shape[1]:
            index = targets[places][:, None]
            what = "the mean probability of the label"
        else:
            index = theirs.argmax(dim=1, keepdim=True)
            what = "the mean probability of the predicted class"
        here, there = (float(p.gather(1, index).mean()) for p in (ours, theirs))
        flips = int((ours.argmax(dim=1) != theirs.argmax(dim=1)).sum())
        sentence = (
            f"on {len(places)} images that both have seen, {what} is {there:.3f} inside "
            f"validation_step and {here:.3f} on the probe; {flips} predictions differ"
        )
        return f"{sentence}. {self._reason(places, said)}"

    def _reason(
        self, places: list[int], said: Mapping[int, list[tuple[Tensor, Tensor | None]]]
    ) -> str:
        """Return what causes the difference and which argument mends it."""
        altered = self._altered(places, said)
        if altered is not None:
            fed, ours = altered
            return (
                f"validation_step changes the images: the model gets {_range(fed)}, the probe has "
                f"{_range(ours)}. Give forward=lambda module, images: module(change(images)) with "
                "that change, or make it in on_after_batch_transfer."
            )
        return (
            "The model is called in another way or in another state. Give forward=, a function of "
            "module and images that calls it as validation_step does. Weights that another "
            "callback exchanges, dropout in evaluation and BatchNorm without running statistics "
            "cause this too."
        )

    def _altered(
        self, places: list[int], said: Mapping[int, list[tuple[Tensor, Tensor | None]]]
    ) -> tuple[Tensor, Tensor] | None:
        """Return an image as the model got it and as the probe has it, where these differ."""
        if self._reading.call.forward is not None:
            return None  # which may change the images as well
        for place in places:
            fed = [image for _, image in said[place] if image is not None]
            ours = self._images[place]
            if fed and not any(each.shape == ours.shape and _close(each, ours) for each in fed):
                return fed[0], ours
        return None


class _Listener:
    """The forward hooks of one module during one batch."""

    def __init__(self, check: OutputCheck, path: str, count: int, rows: list[int]) -> None:
        self._check, self._path, self._count, self._rows = check, path, count, rows
        self._images: Tensor | None = None

    def before(self, module: nn.Module, args: Any) -> None:
        """Keep the images, which the module may write to."""
        del module
        image = args[0] if args and _is_image(args[0]) else None
        fits = image is not None and len(image) == self._count
        self._images = None
        if image is not None and fits:
            image = image.detach()
            image = image if image.is_floating_point() else image.float()
            self._images = image[self._rows].cpu()

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note the output."""
        del module, args
        with contextlib.suppress(Exception):  # nothing may reach the user's validation_step
            self._check.note(output, self._images, self._path, self._count)


def _is_image(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4  # noqa: PLR2004


def _is_compiled(model: nn.Module) -> bool:
    """Return whether a hook would make `torch.compile` compile again."""
    modules = [model, *model.modules()]
    if any(getattr(m, "_compiled_call_impl", None) is not None for m in modules):
        return True
    return getattr(model, "_compiler_ctx", None) is not None or any(
        hasattr(m, "_orig_mod") for m in modules
    )


def _images_in(batch: Any, images: Tensor) -> Tensor | None:
    """Return the batch's tensor of images, None where none has the probe's size."""
    found = (t for _, t in tensors_in(batch) if t.ndim == 4 and t.shape[1:] == images.shape[1:])  # noqa: PLR2004
    return next(found, None)


def _same_rows(batch: Tensor, images: Tensor) -> list[tuple[int, int]]:
    """Return the rows of a batch that are images of the probe, with their places in the probe."""
    flat, probe = batch.detach().flatten(1), images.flatten(1).to(batch.device)
    if not flat.is_floating_point():
        flat = flat.float()  # older torch cannot index all integers
    pixels = torch.linspace(0, probe.shape[1] - 1, _PIXELS, device=batch.device).long()
    probe = probe.to(flat.dtype)
    few, ours = flat[:, pixels].float(), probe[:, pixels].float()
    scale = float(ours.abs().max()) + 1e-12
    same = (few[:, None] - ours[None]).abs().amax(dim=2) <= _CLOSE * scale
    pairs = [(int(row), int(place)) for row, place in same.nonzero().tolist()]
    pairs = [(r, p) for r, p in pairs if _close(flat[r], probe[p])]
    return list({place: (row, place) for row, place in pairs}.values())


def _close(first: Tensor, second: Tensor) -> bool:
    """Return whether two images are the same, up to the precision of the first."""
    first, second = first.float(), second.to(first.dtype).float()
    scale = float(second.abs().max()) + 1e-12
    return float((first - second).abs().max()) <= _CLOSE * scale


def _logits(scores: Tensor, kind: ScoreKind, count: int) -> Tensor | None:
    found = class_scores_in(as_logits(scores, kind, count), count)
    return found if found is not None and found.ndim == 2 else None  # noqa: PLR2004


def _range(image: Tensor) -> str:
    shape = "×".join(map(str, image.shape))
    return f"values {float(image.min()):.2f} to {float(image.max()):.2f} of shape {shape}"
