"""From images in [-1, 1] to the input statistics that a network was designed for."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Normalisation = Literal["imagenet", "half"]

STATISTICS: Mapping[Normalisation, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation (RGB, of values in [0, 1])."""


def normalise(images: Tensor, normalisation: Normalisation) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> ((x + 1) / 2 - mean) / deviation."""
    mean, deviation = (
        torch.tensor(values, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        for values in STATISTICS[normalisation]
    )
    return ((images + 1) / 2 - mean) / deviation
