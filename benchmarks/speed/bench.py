"""What all parts share: the device, the networks, and the calls that are compared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.measuring import peak_memory
from lightning_cam import compute_cams
from lightning_cam.runtime.chunking import default_chunk_size

# The layer that "auto" chooses.
LAYERS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "densenet121": "features",
    "convnext_tiny": "features",
    "swin_t": "norm",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Bench:
    """Where and how thoroughly to measure.

    Attributes:
        device: `cpu` or `cuda`.
        quick: try the commands only; the numbers mean nothing.
    """

    device: str = "cpu"
    quick: bool = False

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def pairs(self, wanted: int) -> int:
        """Return how often to measure."""
        return min(wanted, 2) if self.quick else wanted

    def peak(self, build: Callable[..., Callable[[], object]], *args: object) -> float:
        """Return the MiB by which a call raises the peak of the device's memory; 1 where quick."""
        if self.quick:
            return 1.0
        if self.device == "cpu":
            return peak_memory(functools.partial(build, *args))
        call = build(*args)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return float(torch.cuda.max_memory_allocated() - before) / 2**20


@dataclass(frozen=True)
class Case:
    """A network and a batch.

    Attributes:
        model: one of `LAYERS`.
        batch: number of images.
        dtype: one of `DTYPES`, of weights and images.
        device: `cpu` or `cuda`.
        side: of the images in pixels.
    """

    model: str
    batch: int
    dtype: str = "fp32"
    device: str = "cpu"
    side: int = 224

    def build(self) -> tuple[nn.Module, Tensor, Tensor]:
        """Return the network in evaluation mode, images and targets."""
        torch.manual_seed(0)
        model = torchvision.models.get_model(self.model, weights=None).eval()
        images = torch.randn(self.batch, 3, self.side, self.side)
        model, images = (each.to(self.device, DTYPES[self.dtype]) for each in (model, images))
        return model, images, (torch.arange(self.batch) % 1000).to(self.device)


def forward_of(case: Case, *, chunked: bool = False) -> Callable[[], Tensor]:
    """Return one inference forward of all images, or of the chunks that `compute_cams` runs."""
    model, images, _ = case.build()
    size = default_chunk_size(images) if chunked else case.batch

    @torch.inference_mode()
    def call() -> Tensor:
        return torch.cat([model(chunk) for chunk in images.split(size)])

    return call


def maps_of(case: Case, layer: str = "auto", size: int = 0) -> Callable[[], Tensor]:
    """Return Grad-CAM of the same images by this package, enlarged to `size` pixels if given."""
    model, images, targets = case.build()
    compute_cams(model, images[:1], targets[:1], layers=layer)  # the first call finds the layer

    def call() -> Tensor:
        result = compute_cams(model, images, targets, layers=layer)
        maps = next(iter(result.maps.values()))
        return enlarged(maps, size) if size else maps

    return call


def enlarged(maps: Tensor, size: int) -> Tensor:
    """Return maps (B, h, w) at the size of the images."""
    return nn.functional.interpolate(maps[:, None], size=(size, size), mode="bilinear")[:, 0]
