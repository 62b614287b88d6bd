"""A training in a thread that goes on by one epoch whenever it is told to."""

import threading

import lightning.pytorch as pl

from helpers.training import fit, small


class Gate(pl.Callback):
    """Lets one epoch begin per call of `release`."""

    def __init__(self):
        self._allowed = threading.Semaphore(0)
        self._ended = threading.Semaphore(0)

    def on_train_epoch_start(self, trainer, pl_module):
        assert self._allowed.acquire(timeout=120)

    def on_train_epoch_end(self, trainer, pl_module):
        self._ended.release()

    def release(self):
        self._allowed.release()
        assert self._ended.acquire(timeout=120)


class GatedTraining:
    """A training with `CAMCallback` of a few epochs, which begins at once.

    Args:
        folder: of the run.
        epochs: how many.
    """

    def __init__(self, folder, epochs):
        self.folder = folder
        self._gate = Gate()
        self._left = epochs
        self._thread = threading.Thread(target=self._train, args=(epochs,))
        self._thread.start()

    def _train(self, epochs):
        callback = small()
        fit(self.folder, callback, self._gate, max_epochs=epochs)

    def epoch(self):
        """Train for one more epoch."""
        self._left -= 1
        self._gate.release()

    def finish(self):
        """Train to the end."""
        while self._left:
            self.epoch()
        self._thread.join()
