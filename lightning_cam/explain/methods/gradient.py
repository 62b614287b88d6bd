"""Maps from a layer's activations and the gradients of the score with respect to them.

Notation: A_k activation of channel k, g_k = dS/dA_k its gradient, both (h, w).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_cam.explain.methods.registry import register

if TYPE_CHECKING:
    from torch import Tensor


@register("gradcam", "Grad-CAM")
def gradcam(acts_BCHW: Tensor, grads_BCHW: Tensor) -> Tensor:
    """ReLU(Σ_k mean(g_k) · A_k). Selvaraju et al. 2017, eq. 1 and 2."""
    weights_BC = grads_BCHW.mean(dim=(2, 3))
    return torch.einsum("bc,bchw->bhw", weights_BC, acts_BCHW).relu()


@register("hirescam", "HiResCAM")
def hirescam(acts_BCHW: Tensor, grads_BCHW: Tensor) -> Tensor:
    """ReLU(Σ_k g_k ⊙ A_k). Draelos and Carin 2020, eq. 4."""
    return (grads_BCHW * acts_BCHW).sum(dim=1).relu()


@register("layercam", "LayerCAM")
def layercam(acts_BCHW: Tensor, grads_BCHW: Tensor) -> Tensor:
    """ReLU(Σ_k ReLU(g_k) ⊙ A_k). Jiang et al. 2021, eq. 7 and 8."""
    return (grads_BCHW.relu() * acts_BCHW).sum(dim=1).relu()
