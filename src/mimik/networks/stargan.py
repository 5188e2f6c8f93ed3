"""Generator and discriminator of StarGAN (Choi et al., CVPR 2018, arXiv 1711.09020, tables 4 and 5).

Layer tables: docs/papers/baselines.md#stargan-layers.

Known deviations from the authors' released code: instance normalisation keeps no running statistics (their test
code never leaves training mode, so their published images use instance statistics as well). Everything else at
the default settings is theirs: 8,439,936 generator parameters for 8 classes.

Options beyond the paper, all off by default:
- `parts`: P generators (discriminators) of equal shape side by side as one grouped network; part p owns the p-th
  slice of every channel axis and shares nothing with the others.
- `head`: another output head than tanh, see `mimik.networks.heads`.
- `channels` other than 3: other pictures than images. For label maps the caller makes its own of what `raw` returns.
- `seen_channels`: further planes that the generator sees and does not paint.
- `stem="unshuffle"`: the first two resolutions are reached by pixel-unshuffle and left by pixel-shuffle, so that all
  convolutions but the head's run at half the size or less; the head sees the input image at full size.
"""

from collections.abc import Hashable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.networks.convolution import Conv2d, conv_transpose2d, convolve_joined
from mimik.networks.heads import Head, compose, displacements, outputs_of, start
from mimik.networks.normalisation import instance_norm
from mimik.networks.slices import Slices, behind, judged, side_by_side

Stem = Literal["conv", "unshuffle"]
Initialisation = Literal["default", "kaiming", "normal"]


class ResidualBlock(nn.Module):
    """Conv3-IN-ReLU-Conv3-IN added to the input; no activation after the sum."""

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False, groups=groups),
            instance_norm(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False, groups=groups),
            instance_norm(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        out: Tensor = features + self.body(features)
        return out


class Generator(nn.Module):
    """Image and condition in, edited image out."""

    def __init__(
        self,
        condition_dim: int,
        *,
        channels: int = 3,
        seen_channels: int = 0,
        conv_dim: int = 64,
        residual_blocks: int = 6,
        parts: int = 1,
        head: Head = "direct",
        stem: Stem = "conv",
        initialisation: Initialisation = "default",
    ) -> None:
        """Build the network.

        Args:
            condition_dim: length of the condition vector, appended as constant planes.
            channels: of every part's images.
            seen_channels: further planes of every part's input.
            conv_dim: width of the first layer (of each part).
            residual_blocks: number of residual blocks at a quarter of the size.
            parts: P, see the module's docstring.
            head: see `mimik.networks.heads`.
            stem: `conv` (published) or `unshuffle`.
            initialisation: see `initialise`.
        """
        super().__init__()
        self.parts = parts
        self.part_names: Sequence[Hashable] = range(parts)
        self.channels = channels
        self.head = head
        self.stem = stem
        groups, c = parts, conv_dim * parts
        outputs = outputs_of(head, channels) * parts
        given = channels + seen_channels
        planes = (given + condition_dim) * parts
        if stem == "conv":
            first: list[nn.Module] = [
                nn.Conv2d(planes, c, 7, 1, 3, bias=False, groups=groups),
                instance_norm(c),
                nn.ReLU(inplace=True),
                nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False, groups=groups),
                instance_norm(2 * c),
                nn.ReLU(inplace=True),
            ]
        else:
            first = [
                nn.Conv2d((4 * given + condition_dim) * parts, 2 * c, 3, 1, 1, bias=False, groups=groups),
                instance_norm(2 * c),
                nn.ReLU(inplace=True),
            ]
        self.encoder = nn.Sequential(
            *first,
            nn.Conv2d(2 * c, 4 * c, 4, 2, 1, bias=False, groups=groups),
            instance_norm(4 * c),
            nn.ReLU(inplace=True),
            *(ResidualBlock(4 * c, groups) for _ in range(residual_blocks)),
            nn.ConvTranspose2d(4 * c, 2 * c, 4, 2, 1, bias=False, groups=groups),
            instance_norm(2 * c),
            nn.ReLU(inplace=True),
        )
        if stem == "conv":
            self.decoder = nn.Sequential(
                nn.ConvTranspose2d(2 * c, c, 4, 2, 1, bias=False, groups=groups),
                instance_norm(c),
                nn.ReLU(inplace=True),
            )
            self.last = nn.Conv2d(c, outputs, 7, 1, 3, bias=False, groups=groups)
        else:
            # Half-size features become full-size ones by pixel-shuffle; the image is given to the head again, since
            # everything finer than two pixels was mixed up on the way.
            self.decoder = nn.Sequential(nn.Conv2d(2 * c, 4 * c, 3, 1, 1, groups=groups))
            self.refine = nn.Conv2d(c + channels * parts, c, 3, 1, 1, groups=groups)
            self.last = nn.Conv2d(c, outputs, 3, 1, 1, groups=groups)
        initialise(self, initialisation)
        start(self.last, head, parts)

    @property
    def layers(self) -> list[nn.Module]:
        """Modules that hold nearly all work and are called as such, however the network is called."""
        return [self.encoder, self.decoder]

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: the first convolution sees the states' planes behind the image's."""
        found = side_by_side(self, self.part_names) if self.parts > 1 else {}
        first = self.encoder[0]
        assert isinstance(first, nn.Conv2d)
        planes = behind(first.in_channels // self.parts, 1, states)
        return {**found, "encoder.0.weight": {**found.get("encoder.0.weight", {}), **planes}}

    @property
    def planes_reduction(self) -> int:
        """Side of the images over the side of the condition's planes."""
        return 1 if self.stem == "conv" else 2

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Edit images.

        Args:
            images: (B, P*3, H, W) in [-1, 1]; H and W multiples of 4.
            condition: (B, condition_dim), or (B, condition_dim, H/r, W/r) where it differs from place to place, with
                r = `planes_reduction`; shared by the parts.

        Returns:
            (B, P*3, H, W) in [-1, 1].
        """
        edited, _ = self.edit(images, condition)
        return edited

    def edit(self, images: Tensor, condition: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Like `forward`, with what was changed.

        Args:
            images, condition: like `forward`.
            seen: (B, P*seen_channels, H, W).

        Returns:
            the edited images, and (B, P, H, W) in [0, 1] how much of every pixel was replaced, or None; see
            `mimik.networks.heads.compose`.
        """
        split = images.unflatten(1, (self.parts, self.channels))
        edited, change = compose(split, self.raw(images, condition, seen), self.head)
        return edited.flatten(1, 2), None if change is None else change.flatten(1, 2)

    def displacements(self, images: Tensor, condition: Tensor, seen: Tensor | None = None) -> Tensor | None:
        """(B, P*2, H, W), see `mimik.networks.heads.displacements`; None for another head. Args: like `edit`."""
        if self.head != "warped":
            return None
        return displacements(self.raw(images, condition, seen)).flatten(1, 2)

    def raw(self, images: Tensor, condition: Tensor, seen: Tensor | None = None) -> Tensor:
        """What the last convolution gives, float32 (B, P, K, H, W) with K as the head asks.

        Args: like `edit`.
        """
        batch, _, height, width = images.shape
        parts = self.parts
        split = images.view(batch, parts, self.channels, height, width)
        given = split if seen is None else torch.cat([split, seen.unflatten(1, (parts, -1))], 2)
        if self.stem == "conv":
            planes = _planes(condition, parts, height, width)
            features = self.decoder(self.encoder(torch.cat([given, planes], 2).flatten(1, 2)))
            out = self.last(features)
        else:
            packed = F.pixel_unshuffle(given, 2)
            planes = _planes(condition, parts, height // 2, width // 2)
            features = F.pixel_shuffle(self.decoder(self.encoder(torch.cat([packed, planes], 2).flatten(1, 2))), 2)
            out = self.last(F.leaky_relu(convolve_joined(self.refine, features, images), 0.1))
        result: Tensor = out.float().view(batch, parts, -1, height, width)
        return result


def initialise(network: nn.Module, initialisation: Initialisation, negative_slope: float = 0.0) -> None:
    """Set the convolutions of a new network; biases become zero.

    Args:
        network: with convolutions anywhere in it.
        initialisation: `default` leaves torch's, which StarGAN's code has too; `kaiming` is He et al. 2015; `normal` is
            N(0, 0.02), which GANimation's and Ling et al.'s code have.
        negative_slope: of the leaky ReLUs between the convolutions, for `kaiming`.
    """
    if initialisation == "default":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if initialisation == "kaiming":
                nn.init.kaiming_normal_(module.weight, a=negative_slope)
            else:
                nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _planes(condition: Tensor, parts: int, height: int, width: int) -> Tensor:
    """(B, K), or (B, K, height, width) -> (B, parts, K, height, width)."""
    places = condition[:, :, None, None] if condition.ndim == 2 else condition
    return places[:, None].expand(-1, parts, -1, height, width)


class Discriminator(nn.Module):
    """PatchGAN with a realness map and a condition head; optionally further logits for realness given the condition.

    Those ("does this image show class k?", trained with real images under a wrong label as negatives) are not in the
    paper; a generator cannot satisfy them by traces that only the condition head reads.
    """

    piecewise_linear = True

    def __init__(
        self,
        image_size: int,
        classes: int,
        *,
        channels: int = 3,
        conv_dim: int = 64,
        layers: int = 6,
        max_conv_dim: int = 2048,
        parts: int = 1,
        matching: int = 0,
        negative_slope: float = 0.01,
        initialisation: Initialisation = "default",
    ) -> None:
        """Build the network.

        Args:
            image_size: side of the images; must be divisible by 2**layers.
            classes: C, outputs of the condition head.
            channels: of every part's images.
            conv_dim: width of the first layer; doubles with every layer up to `max_conv_dim`.
            layers: number of stride-2 convolutions.
            max_conv_dim: widest layer.
            parts: P discriminators side by side.
            matching: M, number of the further realness logits.
            negative_slope: of the leaky ReLUs.
            initialisation: see `mimik.networks.stargan.initialise`; under `kaiming` a critic without normalisation
                learns its classes in a fraction of the steps.
        """
        super().__init__()
        if image_size % 2**layers:
            raise ValueError(f"{layers} halvings do not divide an image of {image_size} pixels")
        self.parts = parts
        self.part_names: Sequence[Hashable] = range(parts)
        self.classes = classes
        self.matching = matching
        self.negative_slope = negative_slope
        self.layers = layers
        trunk: list[nn.Module] = []
        last = channels
        for layer in range(layers):
            width = min(conv_dim * 2**layer, max_conv_dim)
            trunk += [Conv2d(last * parts, width * parts, 4, 2, 1, groups=parts), nn.LeakyReLU(negative_slope)]
            last = width
        self.trunk = nn.Sequential(*trunk)
        side = image_size // 2**layers
        self.realness_head = nn.Conv2d(last * parts, parts, 3, 1, 1, bias=False, groups=parts)
        outputs = classes + matching
        self.class_head = nn.Conv2d(last * parts, outputs * parts, side, bias=False, groups=parts)
        initialise(self, initialisation, negative_slope)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Judge images (B, P*channels, H, W) in [-1, 1].

        Returns:
            realness map (B, P, h, w), condition logits (B, P, C), further realness logits (B, P, M) or None.
        """
        features = self.trunk(images)
        logits = self.class_head(features).view(len(images), self.parts, -1)
        matching = logits[:, :, self.classes :].float() if self.matching else None
        return self.realness_head(features).float(), logits[:, :, : self.classes].float(), matching

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: the condition head has outputs for every state."""
        found = side_by_side(self, self.part_names) if self.parts > 1 else {}
        if not hasattr(self, "class_head"):
            return found
        outputs = judged(states, self.matching)
        return {**found, "class_head.weight": {0: [(part, one) for part in self.part_names for one in outputs]}}

    def adversarial_outputs(self, side: int) -> int:
        """How many numbers judge an image of `side` pixels: the realness map and the further realness logits."""
        patches = side >> self.layers
        return patches * patches + self.matching

    def input_gradient(self, images: Tensor, matching: bool = False) -> Tensor:
        """Gradient of the sum of the realness map with respect to the images, for penalties on its length.

        With leaky ReLUs and no normalisation the network is linear around every image, so that this gradient is the
        transposed network with the slopes that the image chose. Written like that it is an ordinary function of the
        weights: a penalty on it needs one backward pass, where differentiating a gradient takes two, and runs under
        mixed precision.

        Args:
            images: (B, P*channels, H, W) in [-1, 1].
            matching: of the sum of realness map and further realness logits instead.

        Returns:
            of the shape of `images`, differentiable in the weights, not in the images.
        """
        convolutions = [module for module in self.trunk if isinstance(module, nn.Conv2d)]
        slopes = []
        with torch.no_grad():
            features = images
            for convolution in convolutions:
                features = convolution(features)
                slopes.append(torch.where(features > 0, 1.0, self.negative_slope).to(features.dtype))
                features = features * slopes[-1]
        batch, _, height, width = features.shape
        seed = features.new_ones(batch, self.parts, height, width)
        gradient = F.conv_transpose2d(seed, self.realness_head.weight, padding=1, groups=self.parts)
        if matching and self.matching:
            kernels = self.class_head.weight.unflatten(0, (self.parts, -1))[:, self.classes :]
            # The head sees the whole map at once: its gradient is the sum of its kernels, the same for every image.
            gradient = gradient + kernels.sum(1).flatten(0, 1).to(gradient.dtype)
        for convolution, slope in zip(reversed(convolutions), reversed(slopes), strict=True):
            gradient = conv_transpose2d(gradient * slope, convolution.weight, 2, 1, convolution.groups)
        return gradient
