"""Generator and discriminator of CycleGAN (Zhu et al., ICCV 2017, arXiv 1703.10593, appendix 7.2), P of each at once.

Layers: docs/papers/baselines.md#cyclegan-layers.

P networks of equal shape run side by side as one grouped network: part p owns the p-th slice of every channel axis.
Known deviation from the authors' code: instance normalisation is affine, as in the other generators here; the biases
of the convolutions before it, which it would cancel, are left out. 11,383,427 and 2,765,633 parameters a part.
"""

from collections.abc import Hashable, Sequence

from torch import Tensor, nn

from mimik.networks import stargan
from mimik.networks.heads import Head, compose, outputs_of, start
from mimik.networks.normalisation import instance_norm
from mimik.networks.slices import Slices, side_by_side
from mimik.networks.stargan import Stem


class ResidualBlock(nn.Module):
    """Conv3-IN-ReLU-Conv3-IN with reflected borders, added to the input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False, groups=groups),
            instance_norm(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False, groups=groups),
            instance_norm(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        out: Tensor = features + self.body(features)
        return out


class Generator(nn.Module):
    """c7s1-64, d128, d256, residual blocks, u128, u64, c7s1-3; borders are reflected."""

    def __init__(
        self, parts: int, *, conv_dim: int = 64, residual_blocks: int = 9, head: Head = "direct", stem: Stem = "conv"
    ) -> None:
        """Build the networks.

        Args:
            parts: P.
            conv_dim: width of a part's first layer.
            residual_blocks: 9 for images of 256 pixels, 6 for 128 (the paper's).
            head: `direct` (tanh; published), or another of `mimik.networks.heads`.
            stem: `conv` (published), or `unshuffle`: StarGAN's generator in that form, told nothing; it has the same
                layout, which StarGAN took from here, but for the borders.
        """
        super().__init__()
        self.parts, self.head = parts, head
        self.part_names: Sequence[Hashable] = range(parts)
        c, groups = conv_dim * parts, parts
        if stem == "unshuffle":
            self.network: nn.Module = stargan.Generator(
                0, conv_dim=conv_dim, residual_blocks=residual_blocks, parts=parts, head=head, stem=stem
            )
            return
        outputs = outputs_of(head, 3) * parts
        self.network = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3 * parts, c, 7, bias=False, groups=groups),
            instance_norm(c),
            nn.ReLU(inplace=True),
            nn.Conv2d(c, 2 * c, 3, 2, 1, bias=False, groups=groups),
            instance_norm(2 * c),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * c, 4 * c, 3, 2, 1, bias=False, groups=groups),
            instance_norm(4 * c),
            nn.ReLU(inplace=True),
            *(ResidualBlock(4 * c, groups) for _ in range(residual_blocks)),
            nn.ConvTranspose2d(4 * c, 2 * c, 3, 2, 1, output_padding=1, bias=False, groups=groups),
            instance_norm(2 * c),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * c, c, 3, 2, 1, output_padding=1, bias=False, groups=groups),
            instance_norm(c),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(3),
            last := nn.Conv2d(c, outputs, 7, groups=groups),
        )
        _initialise(self)
        start(last, head, parts)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: every network is that of one way between two states."""
        return side_by_side(self, self.part_names)

    def forward(self, images: Tensor) -> Tensor:
        """Edit images (B, P*3, H, W) in [-1, 1], H and W multiples of 4; returns the same shape and range."""
        if isinstance(self.network, stargan.Generator):
            nothing = images.new_zeros(len(images), 0)
            result: Tensor = self.network(images, nothing)
            return result
        batch, _, height, width = images.shape
        split = images.view(batch, self.parts, 3, height, width)
        out = self.network(images).float().view(batch, self.parts, -1, height, width)
        edited, _ = compose(split, out, self.head)
        return edited.flatten(1, 2)


class Discriminator(nn.Module):
    """PatchGAN, C64-C128-C256-C512 with its default depth: every output sees 70 x 70 pixels."""

    def __init__(self, parts: int, *, conv_dim: int = 64, layers: int = 3) -> None:
        """Build the networks.

        Args:
            parts: P.
            conv_dim: width of a part's first layer; doubles with every layer, up to eightfold.
            layers: number of stride-2 convolutions; one of stride 1 follows.
        """
        super().__init__()
        self.part_names: Sequence[Hashable] = range(parts)
        width = conv_dim * parts
        body: list[nn.Module] = [nn.Conv2d(3 * parts, width, 4, 2, 1, groups=parts), nn.LeakyReLU(0.2, True)]
        for layer in range(1, layers + 1):
            last, width = width, conv_dim * parts * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            body += [
                nn.Conv2d(last, width, 4, stride, 1, bias=False, groups=parts),
                instance_norm(width),
                nn.LeakyReLU(0.2, True),
            ]
        self.network = nn.Sequential(*body, nn.Conv2d(width, parts, 4, 1, 1, groups=parts))
        _initialise(self)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: every network judges what one generator makes."""
        return side_by_side(self, self.part_names)

    def forward(self, images: Tensor) -> Tensor:
        """Realness maps (B, P, h, w) of images (B, P*3, H, W) in [-1, 1]."""
        maps: Tensor = self.network(images).float()
        return maps


def _initialise(network: nn.Module) -> None:
    """Weights from N(0, 0.02), as in the paper."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def one_part(state: dict[str, Tensor], part: int, parts: int) -> dict[str, Tensor]:
    """The weights of one part, as those of a network with `parts=1`, from those of P; views, nothing is copied."""
    return {name: value[part * (len(value) // parts) :][: len(value) // parts] for name, value in state.items()}
