"""A checkpoint that a signal's handler saves holds the model's own weights."""

import contextlib
import os
import signal

import pytest
import torch
from torch import nn

from lightning_cam.interventions.reinitialized import Reinitialized
from lightning_cam.runtime.signals import defer_signals


class Signalled(nn.Module):
    """Is told in the middle of its forward pass that the job ends."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, images):
        os.kill(os.getpid(), signal.SIGUSR1)
        return self.layer(images)


@pytest.fixture
def saved():
    """Return what the handler saved."""
    found, net = [], Signalled()
    before = signal.signal(
        signal.SIGUSR1, lambda *_: found.append(net.layer.weight.detach().clone())
    )
    yield net, found
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_does_not_see_the_weights_of_the_untrained_network(saved):
    net, found = saved
    own, handler = net.layer.weight.detach().clone(), signal.getsignal(signal.SIGUSR1)
    Reinitialized(net, seed=3)(torch.rand(1, 4))
    assert [torch.equal(each, own) for each in found] == [True]
    assert signal.getsignal(signal.SIGUSR1) is handler


def test_a_signal_is_not_lost_when_the_body_fails(saved):
    _, found = saved
    held = []
    with contextlib.suppress(RuntimeError), defer_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        held.append(len(found))
        raise RuntimeError
    assert (held, len(found)) == ([0], 1)


def test_signals_without_a_handler_are_left_alone():
    before = signal.getsignal(signal.SIGUSR2)
    with defer_signals():
        assert signal.getsignal(signal.SIGUSR2) is before
