"""Networks of EF-GAN (Wu et al., Cascade EF-GAN, CVPR 2020, supplementary material, sections 1 to 3).

The layer tables of the supplement (its figure 1) are not readable and no code was published, so the designs below are
reconstructions (docs/papers/ef_gan.md#networks):
- The expression transformers are GANimation's, to which the paper compares itself: `mimik.networks.stargan` with the
  masked head, 8,471,296 parameters for 17 action units. So is the critic of the final image; the others lack its head.
- The refiner is the same encoder and decoder without a condition: 8,424,256 parameters.
- The interpolator of action units and its critic are small perceptrons.

Section 3: orthogonal initialisation and spectral normalisation in all convolutions but those of the output layers.
"""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrally

from mimik.networks.heads import Head, compose, outputs_of, start
from mimik.networks.normalisation import instance_norm
from mimik.networks.slices import Slices
from mimik.networks.stargan import Discriminator, Initialisation, ResidualBlock

HiddenInitialisation = Literal["orthogonal", "normal"]


class Refiner(nn.Module):
    """R: the translated face and the canvas with the translated parts in, the final image out.

    With another head than `direct` (see `mimik.networks.heads`) the result is composed with the canvas.
    """

    def __init__(self, conv_dim: int = 64, residual_blocks: int = 6, head: Head = "direct") -> None:
        super().__init__()
        self.head = head
        c = conv_dim
        layers: list[nn.Module] = [nn.Conv2d(6, c, 7, 1, 3, bias=False), instance_norm(c), nn.ReLU(inplace=True)]
        for width in (c, 2 * c):
            layers += [
                nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
                instance_norm(2 * width),
                nn.ReLU(inplace=True),
            ]
        layers += [ResidualBlock(4 * c) for _ in range(residual_blocks)]
        for width in (4 * c, 2 * c):
            convolution = nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False)
            layers += [convolution, instance_norm(width // 2), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(c, outputs_of(head, 3), 7, 1, 3, bias=False)
        start(self.last, head)

    def forward(self, face: Tensor, canvas: Tensor) -> Tensor:
        """(B, 3, H, W) twice, in [-1, 1]; H and W multiples of 4 -> (B, 3, H, W) in [-1, 1]."""
        out: Tensor = self.last(self.body(torch.cat([face, canvas], 1))).float()
        return compose(canvas, out, self.head)[0]


class PatchCritic(Discriminator):
    """StarGAN's discriminator without the head for states, for images of any shape that its layers divide."""

    def __init__(
        self,
        *,
        conv_dim: int = 64,
        layers: int = 4,
        max_conv_dim: int = 2048,
        negative_slope: float = 0.01,
        initialisation: Initialisation = "default",
    ) -> None:
        """Build the network; arguments are those of `mimik.networks.stargan.Discriminator`."""
        super().__init__(
            2**layers,
            1,
            conv_dim=conv_dim,
            layers=layers,
            max_conv_dim=max_conv_dim,
            negative_slope=negative_slope,
            initialisation=initialisation,
        )
        del self.class_head

    def realness(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> realness map (B, 1, h, w)."""
        realness: Tensor = self.realness_head(self.trunk(images))
        return realness.float()


class Interpolator(nn.Module):
    """Interp: the source's action units and a residual in, natural action units on the way out.

    The perceptron learns what is added to their sum, and adds nothing at first. One that makes action units of its own
    from random weights has a few thousand steps at 1e-5 in a cascade, and stays farther from the way than its start.
    """

    def __init__(self, dim: int, width: int = 64) -> None:
        super().__init__()
        last = nn.Linear(width, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.body = nn.Sequential(nn.Linear(2 * dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: source and residual in, one output for every state."""
        inputs = [(role, state) for role in ("source", "residual") for state in states]
        return {"body.0.weight": {1: inputs}, "body.4.weight": {0: states}, "body.4.bias": {0: states}}

    def forward(self, source: Tensor, residual: Tensor) -> Tensor:
        """(B, K) in [0, 1] and (B, K) in [-1, 1] -> (B, K) in [0, 1]."""
        correction: Tensor = self.body(torch.cat([source, residual], 1))
        return (source + residual + correction).clamp(0, 1)


class UnitsCritic(nn.Module):
    """D_interp: how natural action units are."""

    def __init__(self, dim: int, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(dim, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        )

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: one input for every state."""
        return {"body.0.weight": {1: states}}

    def forward(self, units: Tensor) -> Tensor:
        """(B, K) -> (B, 1)."""
        out: Tensor = self.body(units)
        return out


def prepare_hidden(
    network: nn.Module, outputs: tuple[str, ...], initialisation: HiddenInitialisation, spectral_norm: bool
) -> None:
    """Initialise, and normalise by their largest singular value, all convolutions of a network but the output layers.

    In front of an instance norm the second changes no output, only how far a step of the optimiser goes.

    Args:
        network: changed in place.
        outputs: names of children that are output layers.
        initialisation: `orthogonal` (Saxe et al. 2014), or `normal`: N(0, 0.02), as in GANimation's code.
        spectral_norm: whether to normalise (Miyato et al. 2018, one power iteration for every evaluation of a loss).
    """
    for name, child in network.named_children():
        if name in outputs:
            continue
        for layer in child.modules():
            if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                continue
            if initialisation == "orthogonal":
                nn.init.orthogonal_(layer.weight)
            else:
                nn.init.normal_(layer.weight, 0.0, 0.02)
            if spectral_norm:
                normalise_spectrally(layer)


@contextmanager
def normalised_once(*networks: nn.Module) -> Iterator[None]:
    """Within the block compute every normalised weight once, for all of its uses, in single precision.

    For one evaluation of a loss: parameters must not change inside, nor a gradient be switched on.
    """
    with parametrize.cached():
        for network in networks:
            for layer in network.modules():
                if parametrize.is_parametrized(layer, "weight"):
                    with torch.autocast(_device(layer), enabled=False):
                        _ = layer.weight
        yield


def _device(module: nn.Module) -> str:
    return next(module.parameters()).device.type
