"""What the training waits for at a validation, against a forward and a hand-written callback.

One training whose validations take turns: nothing, ours, the hand-written one. A validation's time
runs from its first hook to its last, Lightning's own logging of our metrics included; what ours
does after a later training batch (handing over finished pictures) is added, and what a validation
with nothing takes is subtracted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightning.pytorch as pl
import torch

from benchmarks.measuring import seconds_of, spread
from benchmarks.speed.bench import Bench
from benchmarks.speed.by_hand import HandWritten
from benchmarks.speed.runs import classifier, loader, probe_for, trainer
from lightning_cam import CAMCallback

NOTHING, OURS, BY_HAND, IN_PLACE = "nothing", "ours", "hand-written", "ours, drawn in place"
_TURNS = (NOTHING, OURS, BY_HAND, OURS, NOTHING, OURS, IN_PLACE, OURS)
_IMAGES, _VALIDATED = 16, 1  # of the probe, and of the validation itself
_PAUSE = 0.6  # seconds after a look in which its pictures are drawn beside nothing that is timed
_FIRST = 5  # looks that ask by interventions whatever comes


class Ours(CAMCallback):
    """The default callback, looking only when it is its turn."""

    due = False
    handing_over = 0.0

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Look in turn."""
        if self.due:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Add up what is spent after training batches."""
        start = time.perf_counter()
        super().on_train_batch_end(trainer, *args, **kwargs)
        self.handing_over += time.perf_counter() - start


@dataclass
class Turn:
    """One validation.

    Attributes:
        side: whose turn it was.
        seconds: that the training waited.
        forward: seconds of an inference forward of the probe right after it.
        kind: of our looks.
    """

    side: str
    seconds: float
    forward: float
    kind: str


class Referee(pl.Callback):
    """Comes first: gives turns, starts the clock, and counts what got after training batches."""

    def __init__(self, sides: dict[str, Any]) -> None:
        self.sides = sides
        self.turns: list[Turn] = []
        self.started = 0.0
        self.images = 0

    @property
    def side(self) -> str:
        """Whose turn it is."""
        return _TURNS[len(self.turns) % len(_TURNS)]

    def on_validation_start(self, *_: Any) -> None:
        """Settle the last turn and start this one."""
        self.settle()
        self.images = 0
        for name, callback in self.sides.items():
            callback.due = name == self.side
        self.started = time.perf_counter()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Count the images that pass: they tell what a look did."""
        del trainer
        pl_module.net.register_forward_pre_hook(self._count)

    def _count(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.images += len(inputs[0])

    def settle(self) -> None:
        """Add what the last turn's callback did after training batches."""
        for name, callback in self.sides.items():
            if self.turns and name == self.turns[-1].side and isinstance(callback, Ours):
                self.turns[-1].seconds += callback.handing_over
            callback.handing_over = 0.0


class Stopwatch(pl.Callback):
    """Comes last: stops the clock, waits, times a forward."""

    def __init__(self, bench: Bench, referee: Referee, images: torch.Tensor) -> None:
        self.bench, self.referee, self.images = bench, referee, images
        self.looks = 0

    def on_validation_end(self, _: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the turn down."""
        self.bench.synchronize()
        seconds = time.perf_counter() - self.referee.started
        side = self.referee.side
        kind = self._kind() if side == OURS else ""
        time.sleep(0 if self.bench.quick else _PAUSE)
        images, training = self.images.to(pl_module.device), pl_module.training
        pl_module.eval()
        with torch.inference_mode():
            pl_module(images)  # the first one after a pause is slower
            forward = seconds_of(lambda: pl_module(images), self.bench.synchronize)
        pl_module.train(training)
        self.referee.turns.append(Turn(side, seconds, forward, kind))

    def _kind(self) -> str:
        self.looks += 1
        if self.looks <= _FIRST:
            return "one of the first five"
        more = self.referee.images - _IMAGES - _VALIDATED
        return f"with {more} more images" if more else "alone"


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return a row a side and kind of look: stall as a multiple of the forward."""
    model, side, layer = ("resnet18", 64, "net.layer4") if bench.quick else _FULL
    turns = play(bench, model, side, layer, validations=16 if bench.quick else 48)
    idle = [turn.seconds for turn in turns if turn.side == NOTHING]
    nothing = statistics.median(idle[1:] or idle)
    rows = []
    for name in (OURS, IN_PLACE, BY_HAND):
        mine = [turn for turn in turns if turn.side == name]
        for kind in sorted({turn.kind for turn in mine}):
            some = [turn for turn in mine if turn.kind == kind]
            some = some[1:] or some  # the first one may warm up
            rows.append(_row(model, name, kind, some, nothing))
    return rows


_FULL = ("resnet50", 224, "net.layer4")


def _row(model: str, side: str, kind: str, turns: Sequence[Turn], nothing: float) -> dict[str, Any]:
    ratio = spread([(turn.seconds - nothing) / turn.forward for turn in turns])
    forward = statistics.median(turn.forward for turn in turns)
    print(f"{model} {side:<22} {kind:<24} {ratio}  forward {forward:.3f} s", flush=True)
    row = {"model": model, "images": _IMAGES, "side": side, "look": kind}
    return {**row, "stall": asdict(ratio), "forward_s": forward, "validation_alone_s": nothing}


def play(bench: Bench, model: str, side: int, layer: str, validations: int) -> list[Turn]:
    """Return the turns of one training with a validation an epoch."""
    module = classifier(model, learning_rate=0.0)
    probe = probe_for(module.net.eval(), _IMAGES, side)
    sides: dict[str, Any] = {
        OURS: Ours(probe),
        BY_HAND: HandWritten(probe, layer),
        IN_PLACE: Ours(probe, tag="place", interventions_every=0, alerts=(), strict=True),
    }
    referee = Referee(sides)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [referee, *sides.values(), Stopwatch(bench, referee, probe.images)]
        few = loader(2, side, 2)
        trainer(folder, callbacks, bench.device, max_epochs=validations).fit(
            module.train(), few, loader(_VALIDATED, side, 1)
        )
    referee.settle()
    return referee.turns
