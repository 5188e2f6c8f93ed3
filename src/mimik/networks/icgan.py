"""Networks of IcGAN (Perarnau et al. 2016, arXiv 1611.06355): a DCGAN that is told a condition, and encoders.

Layer table: docs/papers/baselines.md#icgan-layers.

Layers as in the authors' code, for images of 64 pixels and any other power of two: the generator starts at 4 pixels and
halves its channels with every doubling; the discriminator sees the condition as planes after its first layer.
"""

import math
from collections.abc import Hashable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mimik.networks.slices import Slices, behind

FIRST_SIDE = 4


class Generator(nn.Module):
    """Noise and condition in, image out: transposed convolutions with batch normalisation."""

    def __init__(self, condition_dim: int, *, size: int = 64, noise_dim: int = 100, conv_dim: int = 64) -> None:
        """Build the network.

        Args:
            condition_dim: K.
            size: side of the images in pixels.
            noise_dim: Z.
            conv_dim: width of the layer before the last.
        """
        super().__init__()
        self.noise_dim = noise_dim
        widths = [conv_dim * 2**layer for layer in range(doublings(size))][::-1]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(noise_dim + condition_dim, widths[0], FIRST_SIDE),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for last, width in pairwise(widths):
            layers += [nn.ConvTranspose2d(last, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1), nn.Tanh())
        _initialise(self)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: the states stand behind the noise."""
        return {"network.0.weight": behind(self.noise_dim + len(states), 0, states)}

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """(B, Z) and (B, K) -> (B, 3, size, size) in [-1, 1]."""
        image: Tensor = self.network(torch.cat([noise, condition], 1)[:, :, None, None]).float()
        return image


class Discriminator(nn.Module):
    """Image and condition in, one realness logit out."""

    def __init__(self, condition_dim: int, *, size: int = 64, conv_dim: int = 64) -> None:
        """Build the network; arguments like `Generator`, `conv_dim` is the width of the first layer."""
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, conv_dim, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True))
        layers: list[nn.Module] = []
        last = conv_dim + condition_dim
        for layer in range(1, doublings(size)):
            width = conv_dim * 2**layer
            layers += [nn.Conv2d(last, width, 4, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2, inplace=True)]
            last = width
        self.rest = nn.Sequential(*layers, nn.Conv2d(last, 1, FIRST_SIDE))
        _initialise(self)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: the states' planes stand behind the features of the first layer."""
        second = self.rest[0]
        assert isinstance(second, nn.Conv2d)
        return {"rest.0.weight": behind(second.in_channels, 1, states)}

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """(B, 3, size, size) in [-1, 1] and (B, K) -> (B,)."""
        features = self.first(images)
        planes = condition[:, :, None, None].expand(-1, -1, *features.shape[2:]).to(features.dtype)
        logits: Tensor = self.rest(torch.cat([features, planes], 1)).float().flatten()
        return logits


class Encoder(nn.Module):
    """Image in, vector out: four convolutions of stride 2 and two linear layers, with batch normalisation."""

    def __init__(self, outputs: int, *, size: int = 64, conv_dim: int = 32, hidden: int | None = None) -> None:
        """Build the network.

        Args:
            outputs: length of the vector.
            size: side of the images in pixels, at least 16.
            conv_dim: width of the first layer; doubles with every layer.
            hidden: length of the layer before the last; None: as many as features come in.
        """
        super().__init__()
        layers: list[nn.Module] = []
        last = 3
        for width in (conv_dim * 2**layer for layer in range(4)):
            layers += [nn.Conv2d(last, width, 5, 2, 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            last = width
        features = last * (size // 16) ** 2
        hidden = hidden or features
        self.network = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) in [-1, 1] -> (B, outputs)."""
        vector: Tensor = self.network(images).float()
        return vector


def doublings(size: int) -> int:
    """How often 4 pixels are doubled to make `size`. Raises `ValueError` unless it is a power of two from 16 on."""
    count = int(math.log2(size / FIRST_SIDE)) if size > 0 else 0
    if count < 2 or FIRST_SIDE * 2**count != size:
        raise ValueError(f"images of {size} pixels: expected 16, 32, 64 or another power of two")
    return count


def _initialise(network: nn.Module) -> None:
    """As DCGAN does: convolutions from N(0, 0.02), scales of batch normalisation from N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
