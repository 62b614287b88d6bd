"""`read_model`: call the model once, and settle what its output means for a probe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_cam.explain.model_call import ModelAdapter, ModelCall, select
from lightning_cam.explain.modules import add_forward_hook, named_modules
from lightning_cam.explain.outputs import (
    LOGIT_KEYS,
    find_dense_logits,
    find_detections,
    find_logits,
    is_flat,
)
from lightning_cam.explain.score_kind import ScoreKind, class_scores_in
from lightning_cam.monitor.label_fit import fit_labels
from lightning_cam.runtime.chunking import is_out_of_memory
from lightning_cam.runtime.containers import tensors_in
from lightning_cam.runtime.model_state import preserve_model_state

if TYPE_CHECKING:
    from lightning_cam.explain.model_call import Forward, Output, ScoresOption
    from lightning_cam.probe import Probe

_FEW = 2  # images of the first call
_DENSE_NDIM = 4
_KIND_TEXT = {
    "logits": "logits",
    "softmax": "probabilities of a softmax, explained as log-probabilities",
    "sigmoid": "probabilities of a sigmoid, explained as logits",
}


@dataclass(frozen=True)
class ModelReading:
    """How a model is called for a probe, and what its output means.

    Attributes:
        call: how it is called.
        kind: what its class scores are; None for outputs without any.
        probe: the probe, its labels fitted to the model's classes.
        facts: what was taken for what, for people.
        notes: what should be known beside that.
        score_modules: modules whose output holds the class scores, with their place in it.
    """

    call: ModelCall
    kind: ScoreKind | None
    probe: Probe
    facts: dict[str, str]
    notes: tuple[str, ...] = ()
    score_modules: Mapping[str, str] = field(default_factory=dict)

    def adapter(self, model: nn.Module) -> ModelAdapter:
        """Return the model as the engine needs it."""
        return ModelAdapter(model, self.call, kind=self.kind)


def read_model(
    model: nn.Module,
    images: Tensor,
    probe: Probe,
    *,
    forward: Forward | None = None,
    output: Output = None,
    scores: ScoresOption = "auto",
    label_path: str = "",
) -> ModelReading:
    """Call a model with the first images of a probe, and find its class scores.

    Of several tensors that might be class scores those with as many classes as there are class
    names count, then those called like the label, then the usual names, then the fewest classes
    that the labels allow.

    Args:
        model: the network, without wrappers.
        images: the probe's images on its device.
        probe: the probe.
        forward: as in `compute_cams`.
        output: as in `compute_cams`.
        scores: as in `compute_cams`.
        label_path: where in the batch the label is, such as `"[1][colour]"`.

    Raises:
        ValueError: the model cannot be called with images, or has no such output.
    """
    call = ModelCall(forward, output, scores, integer_images=probe.integer_dtype)
    adapter = ModelAdapter(model, call)
    few = images[:_FEW]
    outputs: list[tuple[nn.Module, Any]] = []
    with (
        preserve_model_state(model, images.device),
        torch.enable_grad(),
        _outputs_into(outputs, model),
    ):
        try:
            found = adapter.run_first(few.clone())
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            few = images[:1]
            outputs.clear()
            found = adapter.run_first(few.clone())
        path = _class_scores_path(found, len(few), probe, label_path)
        call = replace(call, class_scores=path)
        adapter = ModelAdapter(model, call)
        scores_found = class_scores_in(select(found, path), len(few))
        if scores_found is not None:
            adapter.logits(found, len(few))
    facts, notes = {}, []
    whole = _path_of(found, scores_found) if scores_found is not None else ""
    if scores_found is None:
        facts["output"] = _output_text(found, scores_found, whole, len(few), probe)
        return ModelReading(call, None, probe, facts)
    facts["scores"] = _KIND_TEXT[adapter.kind or "logits"]
    if scores != "auto":
        facts["scores"] += f", as scores={scores!r} says"
    probe, doubts = fit_labels(probe, scores_found)
    notes += [*doubts, *_rivals(found, scores_found, whole)]
    facts["output"] = _output_text(found, scores_found, whole, len(few), probe)
    modules = _modules_with(scores_found, outputs, model)
    return ModelReading(call, adapter.kind, probe, facts, tuple(notes), modules)


@contextlib.contextmanager
def _outputs_into(outputs: list[tuple[nn.Module, Any]], model: nn.Module) -> Iterator[None]:
    """Append every module of a model that runs, with its output."""

    def hook(module: nn.Module, _: Any, output: Any) -> None:
        outputs.append((module, output))

    modules = {id(each): each for each in (model, *named_modules(model).values())}
    handles = [add_forward_hook(module, hook) for module in modules.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _modules_with(
    scores: Tensor, outputs: list[tuple[nn.Module, Any]], model: nn.Module
) -> dict[str, str]:
    """Return the names of modules whose output holds a tensor, with its path there."""
    names = {id(module): name for name, module in named_modules(model).items()} | {id(model): ""}
    found: dict[str, str] = {}
    for module, output in outputs:
        for path, tensor in tensors_in(output):
            same = tensor is scores or tensor.data_ptr() == scores.data_ptr()
            if same and tensor.numel() == scores.numel() and id(module) in names:
                found.setdefault(names[id(module)], path)
    return found


def _class_scores_path(output: Any, batch: int, probe: Probe, label_path: str) -> str | None:
    """Return the path of the class scores, None where a search finds them too."""
    if find_detections(output, batch) is not None:
        return None
    tensors = [(p, t) for p, t in tensors_in(output) if t.is_floating_point() and len(t.shape) > 0]
    of_batch = [(p, t) for p, t in tensors if len(t) == batch]
    flat = [(p, t) for p, t in of_batch if t.ndim in (1, 2) or is_flat(t)]
    dense = [(p, t) for p, t in of_batch if t.ndim == _DENSE_NDIM and not is_flat(t)]
    candidates = flat or dense
    if len(candidates) < 2:  # noqa: PLR2004
        return None
    usual = find_logits(output, batch) if flat else find_dense_logits(output, batch)
    best = min(candidates, key=lambda item: _rank(item, probe, label_path, usual))
    same = usual is not None and best[1].data_ptr() == usual.data_ptr()
    return None if same or not best[0] else best[0]


def _rank(
    candidate: tuple[str, Tensor], probe: Probe, label_path: str, usual: Tensor | None
) -> tuple[bool, bool, bool, bool, int]:
    path, tensor = candidate
    classes = tensor.shape[1] if tensor.ndim > 1 else 1
    names = 0 if probe.class_names is None else len(probe.class_names)
    if probe.targets is None:
        too_few = False
    elif probe.multi_label:
        names = names or probe.targets.shape[1]
        too_few = classes != probe.targets.shape[1]
    else:
        highest = int(probe.targets.max())
        too_few = classes <= highest and not (classes == 1 and highest <= 1)
    key = label_path.rpartition("[")[2].rstrip("]")
    key = "" if key.isdigit() else key  # positions in batch and output have nothing in common
    called_alike = bool(key) and path.rpartition("[")[2].rstrip("]") == key
    is_usual = usual is not None and tensor.data_ptr() == usual.data_ptr()
    named = is_usual and path in LOGIT_KEYS and not path.strip("[]").isdigit()
    return (too_few, names > 0 and classes != names, not called_alike, not named, classes)


def _rivals(output: Any, scores: Tensor, path: str) -> list[str]:
    """Return a note where a tensor was taken by its position and another one has its shape."""
    if not path.strip("[]").isdigit():
        return []
    same = [
        path
        for path, tensor in tensors_in(output)
        if tensor.is_floating_point()
        and tensor.shape == scores.shape
        and tensor.data_ptr() != scores.data_ptr()
    ]
    others = ", ".join(f"output{path}" for path in same)
    return [f"{others} might be the class scores too: output= chooses"] if same else []


def _path_of(output: Any, tensor: Tensor) -> str:
    """Return where in an output a tensor is."""
    same = (path for path, each in tensors_in(output) if each.data_ptr() == tensor.data_ptr())
    return next(same, "")


def _output_text(output: Any, scores: Tensor | None, path: str, batch: int, probe: Probe) -> str:
    if scores is None:
        detections = find_detections(output, batch) is not None
        return "detections" if detections else "no class scores"
    count = scores.shape[1]
    classes = "one logit of two classes" if count == 1 else f"{count} classes"
    if count == 1 and probe.targets is None and probe.masks is None:
        classes = "one value per image, taken for the logit of two classes"
    dense = " per pixel" if scores.ndim == _DENSE_NDIM else ""
    return f"{classes}{dense}{f' in output{path}' if path else ''}"
