"""Runs on disk for tests of the record and of the report, from real evaluations of a small net."""

from dataclasses import replace

import torch
from torch import nn

from helpers.monitoring import evaluate, probe_monitor
from lightning_cam import Probe
from lightning_cam.output.record import Recorder

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


def probe_of(count=4, classes=3, *, masks=True, labels=True, multi_label=False, side=SIDE, **known):
    """Return noise with a mask of a square; labels take turns, or each image has two."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, side, side, generator=generator)
    squares = torch.zeros(count, side, side, dtype=torch.bool)
    squares[:, side // 4 : side // 2, side // 4 : side // 2] = True
    targets = torch.arange(count) % classes
    if multi_label:
        targets = torch.stack([targets == k for k in range(classes)], dim=1).long()
        targets[:, 0] = 1
    return Probe(images, targets if labels else None, masks=squares if masks else None, **known)


class Run:
    """Evaluates a probe while the weights change at random, and records each evaluation.

    Args:
        folder: of the run.
        probe: by default `probe_of()`.
        tag: of the probe.
        pictures: how many images are recorded.
        classes: of the network.
        options: of the monitor.
    """

    def __init__(self, folder, probe=None, tag="cam", pictures=16, classes=3, **options):
        self.model = net(classes)
        probe = probe_of(classes=classes) if probe is None else probe
        self.monitor = probe_monitor(self.model, probe, tag, **options)
        self.recorder = Recorder(folder, tag)
        self.pictures = pictures
        self.begin()

    def begin(self):
        """Write the header, or continue the file that is there."""
        settings = self.monitor.config.settings(self.monitor.rules.rules)
        self.recorder.begin(self.monitor.probe, self.pictures, settings, "cpu")

    def evaluate(self, epoch, alerts=None):
        """Change the weights, evaluate and record; `alerts` take the place of those raised."""
        generator = torch.Generator().manual_seed(epoch)
        with torch.no_grad():
            for weights in self.model.parameters():
                weights.add_(torch.randn(weights.shape, generator=generator), alpha=0.4)
        evaluation, raised = evaluate(self.monitor, self.model, epoch, 10 * epoch + 9)
        alerts = tuple(raised if alerts is None else alerts)
        evaluation = replace(evaluation, alerts=alerts)
        self.recorder.add(evaluation)
        return evaluation

    def evaluate_epochs(self, epochs):
        """Evaluate at epochs 0, 1, ..."""
        return [self.evaluate(epoch) for epoch in range(epochs)]
