"""Faults of the network, of the user's functions, and signals during an evaluation."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch
from helpers.training import squares_probe
from robustness.fault_injection.fault import (
    ALWAYS_TRIGGERED,
    FAULTS,
    Fault,
    TrainingSetup,
    fault,
)
from robustness.fault_injection.training import FAULTY_EPOCH, FaultyModule, Forward
from torch import Tensor
from torch.nn import functional as F

from lightning_cam import Threshold


def _with_forward(setup: TrainingSetup, forward: Forward) -> None:
    setup.module = lambda: FaultyModule(forward)


# --- the network ---------------------------------------------------------------------------------


def _out_of_memory(most: int) -> Forward:
    """Return a forward pass for which memory holds `most` images."""

    def run(module: FaultyModule, images: Tensor) -> Tensor:
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return module.net(images)

    return run


@fault("memory for one image at a time only", "goes on with 1", strict_raises=False)
def memory_short(setup: TrainingSetup) -> None:
    _with_forward(setup, _out_of_memory(1))


@fault("no memory at all", "out of memory")
def memory_none(setup: TrainingSetup) -> None:
    setup.options["chunk_size"] = 1
    _with_forward(setup, _out_of_memory(0))


def _layer_times(value: float, layer: int) -> Callable[[TrainingSetup], None]:
    """Return a fault that multiplies the output of a layer."""

    def run(module: FaultyModule, images: Tensor) -> Tensor:
        handle = module.net[layer].register_forward_hook(lambda _, __, out: out * value)
        try:
            return module.net(images)
        finally:
            handle.remove()

    return lambda setup: _with_forward(setup, run)


for _value in ("nan", "inf"):
    for _layer, _name in ((2, "activations"), (6, "logits")):
        FAULTS[f"{_value}_{_name}"] = Fault(
            f"{_value} in the {_name}", _layer_times(float(_value), _layer), strict_raises=False
        )


class _NaNGradients(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(_: Any, grads: Tensor) -> Tensor:
        return grads * float("nan")


@fault("nan in the gradients", strict_raises=False)
def nan_gradients(setup: TrainingSetup) -> None:
    _with_forward(setup, lambda module, images: _NaNGradients.apply(module.net(images)))


@fault("the target layer is not run any more", "did not run")
def layer_stops(setup: TrainingSetup) -> None:
    _with_forward(setup, lambda m, x: m.net[6](m.net[:3](x).mean((2, 3))))


@fault("the output of the target layer changes its size", strict_raises=False)
def layer_changes(setup: TrainingSetup) -> None:
    _with_forward(setup, lambda m, x: m.net(F.interpolate(x, scale_factor=2.0)))


@fault("the output of the target layer loses height and width", "spatial")
def layer_flattens(setup: TrainingSetup) -> None:
    def run(module: FaultyModule, images: Tensor) -> Tensor:
        flat = module.net[3](module.net[:3](images).flatten(1)[:, :12])
        return module.net[6](flat)

    _with_forward(setup, run)


@fault("the network raises", "the forward pass fails")
def network_raises(setup: TrainingSetup) -> None:
    def run(_: FaultyModule, __: Tensor) -> Tensor:
        raise RuntimeError("the forward pass fails")

    _with_forward(setup, run)


@fault("labels out of range: the network has fewer classes than before", "below 3")
def labels_out_of_range(setup: TrainingSetup) -> None:
    _with_forward(setup, lambda module, images: module.net(images)[:, :3])


# --- what users write ----------------------------------------------------------------------------


@fault("class names with line breaks, zeros and foreign letters", strict_raises=False)
def class_names(setup: TrainingSetup) -> None:
    names = ["two\nlines", "\x00%s{}", "日本語😀", "../../etc/passwd" + "x" * 300]
    setup.options["probe"] = squares_probe(class_names=names)


@fault("the action of an alert raises", "cannot send mail")
def action_raises(setup: TrainingSetup) -> None:
    def mail(*_: Any) -> None:
        raise RuntimeError("cannot send mail")

    setup.options |= {"alerts": [ALWAYS_TRIGGERED], "on_alert": mail}


class _RaisingRule(Threshold):
    def _judge(self, *_: Any) -> tuple[bool, bool]:
        raise KeyError("a table of the rule")


@fault("a rule of the user raises", "skipped the alerts of an evaluation")
def rule_raises(setup: TrainingSetup) -> None:
    # Without scheduled interventions, rules are asked at every evaluation whether to run them.
    setup.options |= {"alerts": [_RaisingRule("entropy", above=0.0)], "interventions_every": 0}


@fault("a target function of the user raises", "no such head")
def target_raises(setup: TrainingSetup) -> None:
    calls = []

    def target(output: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 8:  # beyond what is tried before the training
            raise KeyError("no such head")
        return output[:, 0]

    setup.options["target"] = target


# --- signals -------------------------------------------------------------------------------------


def _send_signal(number: int) -> Forward:
    def run(module: FaultyModule, images: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return module.net(images)

    return run


@fault(
    "Ctrl-C during an evaluation",
    ends_with=(KeyboardInterrupt, SystemExit),
    strict_raises=False,
    epochs=FAULTY_EPOCH + 1,
)
def interrupted(setup: TrainingSetup) -> None:
    _with_forward(setup, _send_signal(signal.SIGINT))
    setup.contexts.append(_interruptible())


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise: shells turn it off for background jobs, Lightning after the first one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@fault(
    "SIGTERM during an evaluation",
    ends_with=SystemExit,
    strict_raises=False,
    epochs=FAULTY_EPOCH + 1,
)
def terminated(setup: TrainingSetup) -> None:
    _with_forward(setup, _send_signal(signal.SIGTERM))
