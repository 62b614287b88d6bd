"""What users write themselves: a callback with pytorch-grad-cam and `add_image`."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from lightning_cam import Probe


class HandWritten(pl.Callback):
    """Draws overlays of a probe at every validation, without any metric.

    The images for display are prepared once, and the maps are computed in one batch.
    """

    def __init__(self, probe: Probe, layer: str) -> None:
        assert probe.targets is not None
        self.images = probe.images
        self.displayed = probe.images.permute(0, 2, 3, 1).numpy()
        self.targets = [ClassifierOutputTarget(int(target)) for target in probe.targets]
        self.layer = layer
        self.due = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute, draw, log."""
        if not self.due:
            return
        with torch.enable_grad(), GradCAM(pl_module, [pl_module.get_submodule(self.layer)]) as cam:
            maps = cam(self.images.to(pl_module.device), self.targets)
        pl_module.zero_grad()
        logger: Any = trainer.logger
        for n, (image, heat) in enumerate(zip(self.displayed, maps, strict=True)):
            overlay = show_cam_on_image(image, heat, use_rgb=True)
            logger.experiment.add_image(f"cam/{n}", overlay, trainer.global_step, dataformats="HWC")
