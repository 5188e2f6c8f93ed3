"""Generator and discriminator of AttGAN (He et al., TIP 2019, arXiv 1711.10678) as SeCGAN uses them.

Layer table: docs/papers/baselines.md#attgan-layers.

An encoder of stride-2 convolutions, a decoder of transposed ones; the condition is tiled onto the latent code and onto
the input of the next `inject_layers` decoder layers, features of the encoder are joined to the outputs of the first
`shortcut_layers` decoder layers. Layers and counts follow elvisyjlin/AttGAN-PyTorch, which SeCGAN builds on (Sun et
al., table 3): 43,459,203 parameters of the generator and 44,718,990 of the discriminator for 13 attributes at 128 px.
Known deviations: the number of labels is not fixed at 13; the discriminator's instance normalisation can be left out.

Options beyond the paper are those of `mimik.networks.stargan`: `head`, `channels`, `seen_channels` of the generator,
`matching`, `negative_slope`, `initialisation` of the discriminator.
"""

from collections.abc import Hashable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.networks.convolution import Conv2d, conv_transpose2d
from mimik.networks.heads import Head, compose, displacements, outputs_of, start
from mimik.networks.slices import Slices, behind, judged
from mimik.networks.stargan import Initialisation

CriticNorm = Literal["instance", "none"]


class Generator(nn.Module):
    """Image and condition in, edited image out."""

    def __init__(
        self,
        condition_dim: int,
        *,
        channels: int = 3,
        seen_channels: int = 0,
        conv_dim: int = 64,
        layers: int = 5,
        max_conv_dim: int = 1024,
        shortcut_layers: int = 1,
        inject_layers: int = 1,
        head: Head = "direct",
    ) -> None:
        """Build the network.

        Args:
            condition_dim: K, length of the condition vector.
            channels: of the images.
            seen_channels: further planes that the encoder sees.
            conv_dim: width of the first layer; doubles with every layer up to `max_conv_dim`.
            layers: L, number of halvings.
            max_conv_dim: widest layer.
            shortcut_layers: decoder layers whose output is joined by features of the encoder, fewer than L.
            inject_layers: decoder layers whose output is joined by the condition, fewer than L.
            head: see `mimik.networks.heads`.
        """
        super().__init__()
        if not (0 <= shortcut_layers < layers and 0 <= inject_layers < layers):
            raise ValueError(f"shortcut_layers and inject_layers are fewer than the {layers} layers")
        self.channels, self.head = channels, head
        self.shortcut_layers, self.inject_layers = shortcut_layers, inject_layers
        widths = [min(conv_dim * 2**layer, max_conv_dim) for layer in range(layers)]
        self.encoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(inplace=True)
            )
            for before, width in zip([channels + seen_channels, *widths], widths, strict=False)
        )
        decoder: list[nn.Module] = []
        before = widths[-1] + condition_dim
        for layer in range(layers - 1):
            width = widths[layers - 1 - layer]
            decoder.append(
                nn.Sequential(
                    nn.ConvTranspose2d(before, width, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                )
            )
            before = width
            if layer < shortcut_layers:
                before += widths[layers - 2 - layer]
            if layer < inject_layers:
                before += condition_dim
        decoder.append(nn.ConvTranspose2d(before, outputs_of(head, channels), 4, 2, 1))
        self.decoder = nn.ModuleList(decoder)
        start(decoder[-1], head)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: decoder layers that are told the states see them behind the features."""
        found = {}
        for index, layer in enumerate(self.decoder[: self.inject_layers + 1]):
            inner = layer[0] if isinstance(layer, nn.Sequential) else layer
            assert isinstance(inner, nn.ConvTranspose2d)
            name = f"decoder.{index}.0.weight" if inner is not layer else f"decoder.{index}.weight"
            found[name] = behind(inner.in_channels, 0, states)
        return found

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Edit images (B, channels, H, W) in [-1, 1], H and W multiples of 2**L, told `condition` (B, K)."""
        edited, _ = self.edit(images, condition)
        return edited

    def edit(self, images: Tensor, condition: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Like `forward`, with what was changed.

        Args:
            images, condition: like `forward`.
            seen: (B, seen_channels, H, W).

        Returns:
            the edited images, and how much of every pixel was replaced, (B, 1, H, W) in [0, 1], or None for the direct
            head.
        """
        return self.decode(images, self.encode(images, seen), condition)

    def displacements(self, images: Tensor, condition: Tensor, seen: Tensor | None = None) -> Tensor | None:
        """(B, 2, H, W), see `mimik.networks.heads.displacements`; None for another head. Args: like `edit`."""
        if self.head != "warped":
            return None
        return displacements(self.raw(self.encode(images, seen), condition))

    def encode(self, images: Tensor, seen: Tensor | None = None) -> list[Tensor]:
        """Features of every encoder layer, the finest first; the last is the latent code."""
        features = [images if seen is None else torch.cat([images, seen], 1)]
        for layer in self.encoder:
            features.append(layer(features[-1]))
        return features[1:]

    def decode(self, images: Tensor, features: Sequence[Tensor], condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """`edit` from the `features` that `encode` made of `images`."""
        return compose(images, self.raw(features, condition), self.head)

    def raw(self, features: Sequence[Tensor], condition: Tensor) -> Tensor:
        """What the last layer gives, float32 (B, K, H, W), with K as the head asks."""
        out = _joined(features[-1], condition)
        for index, layer in enumerate(self.decoder):
            out = layer(out)
            if index < self.shortcut_layers:
                out = torch.cat([out, features[len(self.decoder) - 2 - index].to(out.dtype)], 1)
            if index < self.inject_layers:
                out = _joined(out, condition)
        return out.float()


def _joined(features: Tensor, condition: Tensor) -> Tensor:
    """(B, C, h, w) and (B, K) -> (B, C + K, h, w)."""
    planes = condition.to(features.dtype)[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat([features, planes], 1)


class Discriminator(nn.Module):
    """Convolutions and two heads of two linear layers each: realness, and the condition."""

    def __init__(
        self,
        image_size: int,
        classes: int,
        *,
        channels: int = 3,
        conv_dim: int = 64,
        layers: int = 5,
        max_conv_dim: int = 1024,
        hidden: int = 1024,
        norm: CriticNorm = "instance",
        matching: int = 0,
        negative_slope: float = 0.01,
        initialisation: Initialisation = "default",
    ) -> None:
        """Build the network.

        Args:
            image_size: side of the images; must be divisible by 2**layers.
            classes: C, outputs of the condition head.
            channels: of the images.
            conv_dim: width of the first layer; doubles with every layer up to `max_conv_dim`.
            layers: number of stride-2 convolutions.
            max_conv_dim: widest layer.
            hidden: width of the linear layers.
            norm: of the convolutions.
            matching: M, further realness logits given the condition, see `mimik.networks.stargan.Discriminator`.
            negative_slope: of the leaky ReLUs.
            initialisation: see `mimik.networks.stargan.Discriminator`.
        """
        super().__init__()
        if image_size % 2**layers:
            raise ValueError(f"{layers} halvings do not divide an image of {image_size} pixels")
        self.classes, self.matching, self.negative_slope = classes, matching, negative_slope
        self.piecewise_linear = norm == "none"
        trunk: list[nn.Module] = []
        last = channels
        for layer in range(layers):
            width = min(conv_dim * 2**layer, max_conv_dim)
            trunk.append(Conv2d(last, width, 4, 2, 1, bias=norm == "none"))
            if norm == "instance":
                # Torch's own, which can be differentiated twice.
                trunk.append(nn.InstanceNorm2d(width, affine=True))
            trunk.append(nn.LeakyReLU(negative_slope))
            last = width
        self.trunk = nn.Sequential(*trunk)
        flat = last * (image_size // 2**layers) ** 2
        self.realness_head = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.class_head = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, classes + matching))
        if initialisation == "kaiming":
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(module.weight, a=negative_slope)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Judge images (B, channels, H, W) in [-1, 1].

        Returns:
            realness (B, 1, 1, 1), condition logits (B, 1, C), further realness logits (B, 1, M) or None.
        """
        features = self.trunk(images).flatten(1)
        realness = self.realness_head(features).float()[:, :, None, None]
        logits = self.class_head(features).float()[:, None]
        matching = logits[:, :, self.classes :] if self.matching else None
        return realness, logits[:, :, : self.classes], matching

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: the condition head has outputs for every state."""
        outputs = judged(states, self.matching)
        return {"class_head.2.weight": {0: outputs}, "class_head.2.bias": {0: outputs}}

    def adversarial_outputs(self, side: int) -> int:
        """How many numbers judge an image of `side` pixels: realness and the further realness logits."""
        return 1 + self.matching

    def input_gradient(self, images: Tensor, matching: bool = False) -> Tensor:
        """Gradient of realness with respect to the images without normalisation; see the StarGAN discriminator's.

        Args:
            images: (B, channels, H, W) in [-1, 1].
            matching: of the sum of realness and further realness logits instead.

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
            flat = features.flatten(1)
        gradient = _head_gradient(self.realness_head, flat, slice(None))
        if matching and self.matching:
            gradient = gradient + _head_gradient(self.class_head, flat, slice(self.classes, None))
        gradient = gradient.view_as(features)
        for convolution, slope in zip(reversed(convolutions), reversed(slopes), strict=True):
            gradient = conv_transpose2d(gradient * slope, convolution.weight, 2, 1, 1)
        return gradient


def _head_gradient(head: nn.Sequential, features: Tensor, outputs: slice) -> Tensor:
    """Gradient (B, F) of the sum of some outputs of a Linear-ReLU-Linear head with respect to `features` (B, F)."""
    first, last = head[0], head[2]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    with torch.no_grad():
        active = first(features) > 0
    upstream = last.weight[outputs].sum(0) * active
    return F.linear(upstream, first.weight.T)
