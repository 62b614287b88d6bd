"""Runs on disk for the tests of the record and of the report, from real looks at a small net."""

import torch
from torch import nn

from lightning_cam import Probe
from lightning_cam.monitor.config import Options
from lightning_cam.output.record import Recorder, settings_of
from lightning_cam.monitor.probe_monitor import Watch

SIDE = 24


def net(classes=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )


def probe_of(count=4, classes=3, *, masks=True, labels=True, several=False, side=SIDE, **known):
    """Noise with a bright square; the labels take turns, or each image has two."""
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, side, side, generator=draw)
    squares = torch.zeros(count, side, side, dtype=torch.bool)
    squares[:, side // 4 : side // 2, side // 4 : side // 2] = True
    targets = torch.arange(count) % classes
    if several:
        targets = torch.stack([targets == k for k in range(classes)], dim=1).long()
        targets[:, 0] = 1
    return Probe(images, targets if labels else None, masks=squares if masks else None, **known)


class Run:
    """A probe being watched while the weights drift, each look recorded.

    `resume` starts from the history of another run, as a checkpoint would.
    """

    def __init__(self, folder, probe=None, tag="cam", pictures=16, classes=3, **options):
        self.model = net(classes)
        self.watch = Watch(tag, probe or probe_of(classes=classes), Options(**options))
        self.watch.prepare(self.model, self.watch.probe.images)
        self.recorder = Recorder(folder, tag)
        self.pictures = pictures
        self.begin()

    def begin(self):
        settings = settings_of(self.watch.options)
        self.recorder.begin(self.watch.probe, self.pictures, settings, "cpu")

    def look(self, epoch, alerts=None):
        draw = torch.Generator().manual_seed(epoch)
        with torch.no_grad():
            for weights in self.model.parameters():
                weights.add_(torch.randn(weights.shape, generator=draw), alpha=0.4)
        look = self.watch.look(self.model, self.watch.probe.images, epoch, 10 * epoch + 9)
        raised = self.watch.remember(look)
        self.recorder.add(look, self.watch.tag, raised if alerts is None else alerts)
        return look

    def looks(self, epochs):
        return [self.look(epoch) for epoch in range(epochs)]
