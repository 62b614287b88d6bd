"""A training loop in plain PyTorch, without a trainer, monitored by ``CAMMonitor``.

The data is the demo's shortcut: digits on photographs that predict the class, see
``digits.py``. Run it with ``python examples/plain_loop.py``.

For your own data, change these lines:

- ``make_loaders``: your loaders of (image, label) or (image, label, mask).
- ``SmallResNet()``: your network. The monitor leaves it as it was: weights, mode, gradients and
  random streams.
- ``CAMMonitor(...)``: takes the arguments of ``CAMCallback``; ``loggers=[TensorBoardLogger(...)]``
  adds curves and images there.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import torch
from digits import Sample, SmallResNet, make_loaders
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from lightning_cam import CAMMonitor, Probe


@torch.inference_mode()
def accuracy(network: nn.Module, loader: DataLoader[Sample]) -> float:
    """Return the share of images that are classified as labelled."""
    network.eval()
    correct = [network(images).argmax(dim=1) == labels for images, labels, _ in loader]
    return float(torch.cat(correct).float().mean())


def train(out: Path, epochs: int, seed: int, batches: int | None = None) -> Path | None:
    """Train a network and return the path of the monitor's report.

    Args:
        out: folder of the run.
        epochs: passes over the training images.
        seed: of data, weights and order.
        batches: per epoch; by default all.
    """
    torch.manual_seed(seed)
    loaders = make_loaders(correlation=0.95, seed=seed)
    network = SmallResNet()
    steps = epochs * min(len(loaders.train), batches or len(loaders.train))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)

    monitor = CAMMonitor(Probe.from_dataloader(loaders.val), log_dir=out)
    step = 0
    for epoch in range(epochs):
        network.train()
        for images, labels, _ in islice(loaders.train, batches):
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
        correct = accuracy(network, loaders.val)

        evaluation = monitor.evaluate(network, epoch=epoch, step=step)
        enrichment = evaluation.metrics["enrichment"]
        print(f"epoch {epoch}  accuracy {correct:4.0%}  cam/enrichment {enrichment:.2f}")
        for alert in evaluation.alerts:
            print(alert)
    return monitor.close()


def main() -> None:
    """Train once and print where the report is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=6, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and order")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/plain_loop"), help="folder of the run"
    )
    parser.add_argument("--quick", action="store_true", help="run a few steps only")
    options = parser.parse_args()
    epochs, batches = (2, 2) if options.quick else (options.epochs, None)
    print(f"\nreport      {train(options.out, epochs, options.seed, batches)}")


if __name__ == "__main__":
    main()
