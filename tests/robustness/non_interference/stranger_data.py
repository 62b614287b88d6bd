"""Data that an intrusive reader would disturb: open files, hidden generators, late splits."""

from __future__ import annotations

import functools
import io
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from robustness.non_interference.data import Squares
from robustness.non_interference.modules import Normed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

COUNT, SIDE = 22, 16
_TRAIN = 14

# --- files ---------------------------------------------------------------------------------------


def write_files(folder: Path) -> None:
    """Write the same images as members of a zip file, and as records of one plain file."""
    images = Squares(COUNT, 0, masks=False).images.numpy()
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for n, image in enumerate(images):
            content = io.BytesIO()
            np.save(content, image)
            archive.writestr(f"{n}.npy", content.getvalue())
    with (folder / "images.bin").open("wb") as file:
        for n, image in enumerate(images):
            file.write(struct.pack("<q", n % 4) + image.tobytes())


class Zipped(Dataset[Any]):
    """Opens its zip file at the first access, or at once."""

    def __init__(self, folder: Path, *, at_once: bool = False) -> None:
        self.path = folder / "images.zip"
        self.file = zipfile.ZipFile(self.path) if at_once else None

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.file is None:
            self.file = zipfile.ZipFile(self.path)
        image = np.load(io.BytesIO(self.file.read(f"{index}.npy")))
        return torch.from_numpy(image), index % 4


class Records(Dataset[Any]):
    """Reads records of one file, as a reader of HDF5 does, through one open file."""

    def __init__(self, folder: Path, *, at_once: bool = False) -> None:
        self.path = folder / "images.bin"
        self.size = 8 + 3 * SIDE * SIDE * 4
        self.file = self.path.open("rb") if at_once else None

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.file is None:
            self.file = self.path.open("rb")
        self.file.seek(index * self.size)
        (label,) = struct.unpack("<q", self.file.read(8))
        pixels = np.frombuffer(self.file.read(self.size - 8), np.float32).copy()
        return torch.from_numpy(pixels).reshape(3, SIDE, SIDE), label


class InOrder(Records):
    """The same, but moves to a record only where it is not there already."""

    at = 0

    def __init__(self, folder: Path, *, at_once: bool = False) -> None:
        super().__init__(folder, at_once=at_once)
        if at_once:  # looks at the last image of the training data
            self.shape = self[_TRAIN - 1][0].shape

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.file is None:
            self.file = self.path.open("rb", buffering=0)
        if self.at != index:
            self.file.seek(index * self.size)
        self.at = index + 1
        content = self.file.read(self.size)
        pixels = np.frombuffer(content[8:], np.float32).copy()
        return torch.from_numpy(pixels).reshape(3, SIDE, SIDE), content[0]


class OneDataset(pl.LightningDataModule):
    """Training and validation data are parts of one data set object."""

    def __init__(self, make: Callable[[], Dataset[Any]], **loading: Any) -> None:
        super().__init__()
        self.whole = make()
        self._loading = loading

    def train_dataloader(self) -> Any:
        part = Subset(self.whole, range(_TRAIN))
        return DataLoader(part, batch_size=2, shuffle=True, **self._loading)

    def val_dataloader(self) -> Any:
        return DataLoader(Subset(self.whole, range(_TRAIN, COUNT)), batch_size=4, **self._loading)


class Once(IterableDataset[Any]):
    """A stream whose samples are there once."""

    def __init__(self) -> None:
        squares = Squares(COUNT, 0, masks=False)
        self.samples = (squares[n] for n in range(COUNT))

    def __iter__(self) -> Any:
        return self.samples


class OnceData(OneDataset):
    def __init__(self) -> None:
        super().__init__(lambda: Squares(COUNT, 0, masks=False))

    def train_dataloader(self) -> Any:
        return DataLoader(Once(), batch_size=2)


# --- generators ----------------------------------------------------------------------------------


class Three:
    """One generator of each kind."""

    def __init__(self) -> None:
        self.python = random.Random(1)
        self.numpy = np.random.default_rng(2)
        self.torch = torch.Generator().manual_seed(3)

    def all(self) -> tuple[Any, Any, Any]:
        return self.python, self.numpy, self.torch


def drawn(python: random.Random, array: np.random.Generator, own: torch.Generator) -> Tensor:
    """Return a number per channel, each of a generator of another kind."""
    numbers = [python.random(), array.random(), torch.rand((), generator=own).item()]
    return torch.tensor(numbers)[:, None, None] * 0.01


PYTHON, NUMPY, TORCH = Three().all()


def of_module_globals() -> Callable[[Tensor], Tensor]:
    PYTHON.seed(1)
    NUMPY.bit_generator.state = np.random.default_rng(2).bit_generator.state
    TORCH.manual_seed(3)
    return lambda image: image + drawn(PYTHON, NUMPY, TORCH)


def of_a_closure() -> Callable[[Tensor], Tensor]:
    python, array, own = Three().all()
    return lambda image: image + drawn(python, array, own)


def _shift(python: Any, array: Any, own: Any, image: Tensor) -> Tensor:
    return image + drawn(python, array, own)


def of_partial() -> Callable[[Tensor], Tensor]:
    return functools.partial(_shift, *Three().all())


class Slotted:
    __slots__ = ("array", "own", "python")

    def __init__(self) -> None:
        self.python, self.array, self.own = Three().all()

    def __call__(self, image: Tensor) -> Tensor:
        return image + drawn(self.python, self.array, self.own)


def of_class() -> Callable[[Tensor], Tensor]:
    class Shifting:
        python, array, own = Three().all()

        def __call__(self, image: Tensor) -> Tensor:
            return image + drawn(self.python, self.array, self.own)

    return Shifting()


def of_defaults() -> Callable[[Tensor], Tensor]:
    three = Three()

    def shift(
        image: Tensor,
        python: Any = three.python,
        array: Any = three.numpy,
        *,
        own: Any = three.torch,
    ) -> Tensor:
        return image + drawn(python, array, own)

    return shift


def of_an_inner_function() -> Callable[[Tensor], Tensor]:
    of_module_globals()

    def shift(image: Tensor) -> Tensor:
        now = lambda: drawn(PYTHON, NUMPY, TORCH)
        return image + now()

    return shift


HIDING_PLACES = {
    "inner function": of_an_inner_function,
    "module global": of_module_globals,
    "closure": of_a_closure,
    "partial": of_partial,
    "slots": Slotted,
    "class attribute": of_class,
    "default argument": of_defaults,
}


class Transformed(Dataset[Any]):
    """Squares, changed by a function that is created with them."""

    def __init__(self, transform: Callable[[], Callable[[Tensor], Tensor]]) -> None:
        self.images = Squares(COUNT, 0, masks=False)
        self.transform = transform()

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        image, label = self.images[index]
        return self.transform(image), label


class Collating(OneDataset):
    """The same in the collate function."""

    def __init__(self, transform: Callable[[], Callable[[Tensor], Tensor]]) -> None:
        change = transform()

        def collate(items: list[Any]) -> Any:
            images, labels = torch.utils.data.default_collate(items)
            return torch.stack([change(image) for image in images]), labels

        super().__init__(lambda: Squares(COUNT, 0, masks=False), collate_fn=collate)


def opencv_noise() -> Callable[[Tensor], Tensor]:
    """Return a transform that draws from OpenCV's own stream."""
    cv2.setRNGSeed(7)
    noise = np.zeros((SIDE, SIDE), np.float32)
    return lambda image: image + torch.from_numpy(cv2.randu(noise, 0, 0.01).copy())


# --- late data, hooks ----------------------------------------------------------------------------


class LateSplit(pl.LightningDataModule):
    """Draws its split from the global stream when it is asked for the validation data."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def train_dataloader(self) -> Any:
        return DataLoader(Squares(_TRAIN, 0, masks=False), batch_size=2, shuffle=True)

    def val_dataloader(self) -> Any:
        assert self.trainer is not None
        self.asked.append(self.trainer.global_step)
        part = torch.randperm(COUNT)[:8].tolist()
        return DataLoader(Subset(Squares(COUNT, 1, masks=True), part), batch_size=4)


class NoisyHook(Normed):
    """Adds noise of its own generators to each batch that was transferred."""

    def __init__(self) -> None:
        super().__init__()
        self.gen = torch.Generator().manual_seed(5)
        self.generators = [np.random.default_rng(6)]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        images, *rest = batch
        noise = torch.rand(images.shape, generator=self.gen) * 0.01
        return [images + noise + 0.01 * float(self.generators[0].random()), *rest]


class NoisyForward(Normed):
    """Draws from its own generator in each forward pass, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.gen = torch.Generator().manual_seed(5)

    def forward(self, images: Tensor) -> Tensor:
        noise = torch.rand(images.shape, generator=self.gen).to(images)
        found: Tensor = super().forward(images + 0.01 * noise)
        return found


class HookedData(OneDataset):
    """The same hook in the data module."""

    def __init__(self) -> None:
        super().__init__(lambda: Squares(COUNT, 0, masks=False))
        self.gen = torch.Generator().manual_seed(5)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        noise = torch.rand(batch[0].shape, generator=self.gen) * 0.01
        return [batch[0] + noise, batch[1]]
