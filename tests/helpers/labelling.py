"""The labelling page of a recorded run, served by the real server in a thread."""

import contextlib
import socket
import threading
import time

import numpy as np
import torch
import uvicorn

from helpers.recorded_run import Run
from lightning_cam import Probe
from lightning_cam.output.labelling.app import HOST, label_app

TOKEN = "a-token"  # noqa: S105


def disc_area(number, side=48):
    """Return (side, side) bool: the disc of an image."""
    y, x = np.mgrid[:side, :side]
    return (x - 16 - 2 * number) ** 2 + (y - 28 + 2 * number) ** 2 < 9**2


def discs(count=8, side=48):
    """Return (count, 3, side, side): a bright disc on dark noise, of a place of its own each."""
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 0.3
    for number in range(count):
        images[number, number % 2 :: 2][:, torch.from_numpy(disc_area(number, side))] += 0.65
    return images


def recorded(folder, count=8, **known):
    """Record an evaluation of the discs in a folder, and return it."""
    probe = Probe(discs(count), [n % 2 for n in range(count)], mean=0.0, std=1.0, **known)
    Run(folder, probe, classes=2).evaluate(0)
    return folder


def bounds(number, margin=3, side=48):
    """Return the corners of a box around an image's disc, as shares of its sides."""
    y, x = np.nonzero(disc_area(number, side))
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()]) + 1
    return ((low - margin) / side).tolist(), ((high + margin) / side).tolist()


def overlap(one, other):
    """Return the intersection over union of two masks."""
    one, other = np.asarray(one) > 0, np.asarray(other) > 0
    return (one & other).sum() / max(1, (one | other).sum())


@contextlib.contextmanager
def serving(labeller):
    """Serve the page, and yield its address."""
    with socket.create_server((HOST, 0)) as listening:
        config = uvicorn.Config(label_app(labeller, TOKEN), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}/{TOKEN}/"
        finally:
            server.should_exit = True
            thread.join(10)
