"""`defer_signals`: a checkpoint that a signal handler saves holds the model's own weights."""

import contextlib
import os
import signal

import pytest
import torch
from torch import nn

from lightning_cam.interventions.untrained import Untrained
from lightning_cam.runtime.signals import defer_signals


class Signalled(nn.Module):
    """Sends SIGUSR1 to its own process in the middle of its forward pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, images):
        os.kill(os.getpid(), signal.SIGUSR1)
        return self.layer(images)


@pytest.fixture
def net_and_saved():
    """Return a network and the list of weights that the handler of SIGUSR1 saved."""
    saved, net = [], Signalled()
    before = signal.signal(
        signal.SIGUSR1, lambda *_: saved.append(net.layer.weight.detach().clone())
    )
    yield net, saved
    signal.signal(signal.SIGUSR1, before)


def test_the_handler_saves_the_models_own_weights_and_not_the_untrained_ones(net_and_saved):
    net, saved = net_and_saved
    own, handler = net.layer.weight.detach().clone(), signal.getsignal(signal.SIGUSR1)
    Untrained(net, seed=3)(torch.rand(1, 4))
    assert [torch.equal(each, own) for each in saved] == [True]
    assert signal.getsignal(signal.SIGUSR1) is handler


def test_a_signal_is_delivered_after_a_body_that_fails(net_and_saved):
    _, saved = net_and_saved
    inside = []
    with contextlib.suppress(RuntimeError), defer_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        inside.append(len(saved))
        raise RuntimeError
    assert (inside, len(saved)) == ([0], 1)


def test_a_signal_that_was_sent_twice_is_delivered_once(net_and_saved):
    _, saved = net_and_saved
    with defer_signals():
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
    assert len(saved) == 1


def test_signals_without_a_handler_in_python_keep_their_default():
    before = signal.getsignal(signal.SIGUSR2)
    with defer_signals():
        assert signal.getsignal(signal.SIGUSR2) is before
