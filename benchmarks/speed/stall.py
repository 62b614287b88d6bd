"""How long the training waits at a validation, against a forward and a hand-written callback.

In one training, validations take turns: no callback, `CAMCallback`, the hand-written one. A
validation's time is that from its first hook to its last, so Lightning's logging of our metrics is
included. What `CAMCallback` does after later training batches (logging finished images) is added;
the time of a validation without a callback is subtracted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks.measuring import Ratio, seconds_of
from benchmarks.speed.bench import Bench
from benchmarks.speed.hand_written import HandWritten
from benchmarks.speed.runs import classifier, loader, probe_for, trainer
from lightning_cam import CAMCallback

NOTHING, OURS, HAND_WRITTEN = "nothing", "CAMCallback", "hand-written"
IN_PLACE = "CAMCallback, drawn in place"
_TURNS = (NOTHING, OURS, HAND_WRITTEN, OURS, NOTHING, OURS, IN_PLACE, OURS)
_IMAGES, _VALIDATED = 16, 1  # of the probe, and of the validation itself
_PAUSE = 0.6  # seconds after an evaluation, in which images are drawn while nothing is timed
_FIRST = 5  # evaluations at which interventions always run


class Ours(CAMCallback):
    """The default callback, which evaluates only when it is its turn."""

    due = False
    after_batches = 0.0

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Evaluate in turn."""
        if self.due:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Add up the time after training batches."""
        start = time.perf_counter()
        super().on_train_batch_end(trainer, *args, **kwargs)
        self.after_batches += time.perf_counter() - start


@dataclass
class Turn:
    """One validation.

    Attributes:
        side: the callback whose turn it was.
        seconds: that the training waited.
        forward: seconds of an inference forward of the probe right after it.
        kind: of our evaluations.
    """

    side: str
    seconds: float
    forward: float
    kind: str


class TurnStart(pl.Callback):
    """Listed first: assigns turns, starts the clock, counts the images that the network runs."""

    def __init__(self, sides: dict[str, Any]) -> None:
        self.sides = sides
        self.turns: list[Turn] = []
        self.started = 0.0
        self.images = 0

    @property
    def side(self) -> str:
        """The callback whose turn it is."""
        return _TURNS[len(self.turns) % len(_TURNS)]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Count the images of every pass: they tell what an evaluation did."""
        del trainer
        pl_module.net.register_forward_pre_hook(self._count)

    def _count(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.images += len(inputs[0])

    def on_validation_start(self, *_: Any) -> None:
        """Finish the last turn and start this one."""
        self.add_time_after_batches()
        self.images = 0
        for name, callback in self.sides.items():
            callback.due = name == self.side
        self.started = time.perf_counter()

    def add_time_after_batches(self) -> None:
        """Add what the last turn's callback did after training batches."""
        for name, callback in self.sides.items():
            if self.turns and name == self.turns[-1].side and isinstance(callback, Ours):
                self.turns[-1].seconds += callback.after_batches
            callback.after_batches = 0.0


class TurnEnd(pl.Callback):
    """Listed last: stops the clock, waits for the drawing, times a forward."""

    def __init__(self, bench: Bench, start: TurnStart, images: torch.Tensor) -> None:
        self.bench, self.start, self.images = bench, start, images
        self.evaluations = 0

    def on_validation_end(self, _: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the turn."""
        self.bench.synchronize()
        seconds = time.perf_counter() - self.start.started
        side = self.start.side
        kind = self._kind() if side == OURS else ""
        time.sleep(0 if self.bench.quick else _PAUSE)
        images, training = self.images.to(pl_module.device), pl_module.training
        pl_module.eval()
        with torch.inference_mode():
            pl_module(images)  # the first one after a pause is slower
            forward = seconds_of(lambda: pl_module(images), self.bench.synchronize)
        pl_module.train(training)
        self.start.turns.append(Turn(side, seconds, forward, kind))

    def _kind(self) -> str:
        self.evaluations += 1
        if self.evaluations <= _FIRST:
            return "one of the first five"
        more = self.start.images - len(self.images) - _VALIDATED
        return f"with {more} more images" if more else "maps alone"


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row per callback and kind of evaluation: the stall as a multiple of the forward."""
    model, side = ("resnet18", 32) if bench.quick else ("resnet50", 224)
    turns = take_turns(bench, model, side, validations=8 if bench.quick else 48)
    plain = [turn.seconds for turn in turns if turn.side == NOTHING]
    nothing = statistics.median(plain[1:] or plain)
    for name in (OURS, IN_PLACE, HAND_WRITTEN):
        mine = [turn for turn in turns if turn.side == name]
        for kind in sorted({turn.kind for turn in mine}):
            some = [turn for turn in mine if turn.kind == kind]
            yield _row(model, name, kind, some[1:] or some, nothing)  # the first is a warm-up


def _row(model: str, side: str, kind: str, turns: Sequence[Turn], nothing: float) -> dict[str, Any]:
    stall = Ratio.of([(turn.seconds - nothing) / turn.forward for turn in turns])
    forward = statistics.median(turn.forward for turn in turns)
    row = {"model": model, "images": _IMAGES, "side": side, "evaluation": kind}
    return {**row, "stall": asdict(stall), "forward_s": forward, "validation_alone_s": nothing}


def take_turns(bench: Bench, model: str, side: int, validations: int) -> list[Turn]:
    """Return the turns of one training with a validation per epoch."""
    module = classifier(model, learning_rate=0.0)
    probe = probe_for(module.net.eval(), 2 if bench.quick else _IMAGES, side)
    sides: dict[str, Any] = {
        OURS: Ours(probe),
        HAND_WRITTEN: HandWritten(probe, "net.layer4"),
        IN_PLACE: Ours(probe, tag="place", interventions_every=0, alerts=(), strict=True),
    }
    start = TurnStart(sides)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [start, *sides.values(), TurnEnd(bench, start, probe.images)]
        trainer(folder, callbacks, bench.device, max_epochs=validations).fit(
            module.train(), loader(2, side, 2), loader(_VALIDATED, side, 1)
        )
    start.add_time_after_batches()
    return start.turns
