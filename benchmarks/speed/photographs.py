"""Images that compress like photographs: crops of the two in scikit-learn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def photographs(count: int, side: int, seed: int = 0) -> Tensor:
    """Return (count, 3, side, side) float32 in 0 to 1."""
    from sklearn.datasets import load_sample_images

    generator = torch.Generator().manual_seed(seed)
    photos = load_sample_images().images
    found = []
    for n in range(count):
        photo = torch.tensor(photos[n % 2]).permute(2, 0, 1).float() / 255
        edge = int(torch.randint(224, 400, (1,), generator=generator))
        y, x = (
            int(torch.randint(size - edge, (1,), generator=generator)) for size in photo.shape[1:]
        )
        crop = photo[None, :, y : y + edge, x : x + edge]
        found.append(F.interpolate(crop, size=(side, side), mode="area"))
    return torch.cat(found).contiguous()  # as a dataloader stacks them
