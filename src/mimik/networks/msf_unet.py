"""U-Net with multi-scale fusion (MSF) modules as skip connections (Ling et al., ECCV 2020, sections 3.2 and 3.3).

Layer table: docs/papers/relative_au.md#generator.

Where paper and authors' code differ (kernel sizes, number of modules, the module's inside) this is the code:
57,632,768 parameters for 17 action units, 57,524,736 for 13. The condition enters at the bottleneck and in every
module. The modules depend on each other from the bottom up, so fewer of them (Table 1's k_MSF) are the deepest ones;
above them the decoder gets the encoder's features as a plain U-Net's does.

Beyond the paper, off by default, for small images: `head` and `stem` as in `mimik.networks.stargan`.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.networks.convolution import convolve_joined
from mimik.networks.heads import Head, compose, displacements, outputs_of, start
from mimik.networks.normalisation import instance_norm
from mimik.networks.slices import Slices, behind
from mimik.networks.stargan import Stem, initialise

Fusing = Literal["exchange", "text"]

LEVELS = 4
"""Number of halvings; sides of images must be multiples of 2**LEVELS."""


def _block(inputs: int, outputs: int, kernel: int, *, leaky: bool = False) -> nn.Sequential:
    """Convolution of the same size, instance norm, (leaky) ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)
    return nn.Sequential(convolution, instance_norm(outputs), _activation(leaky))


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), instance_norm(outputs), _activation(leaky=True)
    )


def _up(inputs: int, outputs: int, *, leaky: bool = False) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
    return nn.Sequential(convolution, instance_norm(outputs), _activation(leaky))


def _activation(leaky: bool) -> nn.Module:
    return nn.LeakyReLU(0.01, inplace=True) if leaky else nn.ReLU(inplace=True)


class ExchangeFusion(nn.Module):
    """The MSF module of the authors' code: both resolutions exchange features, then join at the higher one.

    f: features of the encoder at this scale, (B, C, H, W); lower: output f'_{i+1} of the scale below, (B, L, H/2, W/2).
    """

    def __init__(self, channels: int, lower: int, condition_dim: int) -> None:
        super().__init__()
        self.inner = _block(channels + condition_dim, channels, 5)
        self.high_to_high = _block(channels, channels // 2, 3)
        self.high_to_low = _down(channels, lower // 2)
        self.low_to_high = _up(lower, channels - channels // 2, leaky=True)
        self.low_to_low = _block(lower, lower - lower // 2, 3)
        raised = min(lower, channels)
        self.rise = _up(lower, raised, leaky=True)
        self.narrow = _block(raised + channels, channels // 2, 3)
        self.wide = _block(raised + channels, channels - channels // 2, 5)

    def forward(self, features: Tensor, lower: Tensor, condition: Tensor) -> Tensor:
        """f'_i, (B, C, H, W)."""
        high = self.inner(_with_planes(features, condition))
        exchanged = torch.cat([self.high_to_high(high), self.low_to_high(lower)], 1)
        low = torch.cat([self.high_to_low(high), self.low_to_low(lower)], 1)
        joined = torch.cat([exchanged, self.rise(low)], 1)
        return torch.cat([self.narrow(joined), self.wide(joined)], 1)


class TextFusion(nn.Module):
    """The MSF module as section 3.3 words it (a second, unused class of the authors' code has its layer sizes).

    Features and condition pass a convolution and, in parallel, a down-sampling one; the latter's result is joined with
    that of the scale below and raised; both are fused by kernels of two sizes. Shapes as in `ExchangeFusion`.
    """

    def __init__(self, channels: int, lower: int, condition_dim: int) -> None:
        super().__init__()
        narrower = min(channels, lower)
        self.inner = _block(channels + condition_dim, channels, 3)
        self.lower = _down(channels + condition_dim, narrower)
        self.rise = _up(narrower + lower, narrower, leaky=True)
        self.narrow = _block(narrower + channels, channels, 1)
        self.wide = _block(narrower + channels, channels, 3)
        self.last = _block(2 * channels, channels, 3)

    def forward(self, features: Tensor, lower: Tensor, condition: Tensor) -> Tensor:
        """f'_i, (B, C, H, W)."""
        told = _with_planes(features, condition)
        raised = self.rise(torch.cat([self.lower(told), lower], 1))
        joined = torch.cat([self.inner(told), raised], 1)
        fused: Tensor = self.last(torch.cat([self.narrow(joined), self.wide(joined)], 1))
        return fused


class Generator(nn.Module):
    """Image and condition in, edited image out."""

    def __init__(
        self,
        condition_dim: int,
        *,
        conv_dim: int = 64,
        max_conv_dim: int = 512,
        k_msf: int = 3,
        fusing: Fusing = "exchange",
        head: Head = "direct",
        stem: Stem = "conv",
    ) -> None:
        """Build the network. Convolutions start from N(0, 0.02), as in the authors' code.

        Args:
            condition_dim: length of the condition vector, appended as constant planes.
            conv_dim: width at full size; doubles with every halving up to `max_conv_dim`.
            max_conv_dim: greatest width.
            k_msf: number of MSF modules, 0 to 3; the deepest skip connections get them first.
            fusing: which module.
            head: see `mimik.networks.heads`.
            stem: `conv` (published) or `unshuffle`.

        Raises:
            ValueError: a number of modules that there is no place for.
        """
        super().__init__()
        if not 0 <= k_msf <= LEVELS - 1:
            raise ValueError(f"k_msf is one of 0 to {LEVELS - 1}, not {k_msf}")
        self.head, self.stem = head, stem
        c0, c1, c2, c3, c4 = (min(conv_dim * 2**level, max_conv_dim) for level in range(LEVELS + 1))
        outputs = outputs_of(head, 3)
        if stem == "conv":
            self.first = nn.Sequential(_block(3, c0, 7, leaky=True), _down(c0, c1))
        else:
            self.first = _block(12, c1, 3, leaky=True)
        self.down2, self.down3, self.down4 = _down(c1, c2), _down(c2, c3), _down(c3, c4)
        self.bottleneck = _block(c4 + condition_dim, c4, 3)
        module = ExchangeFusion if fusing == "exchange" else TextFusion
        scales = [(c3, c4), (c2, c3), (c1, c2)][:k_msf]
        self.fusions = nn.ModuleList(module(channels, lower, condition_dim) for channels, lower in scales)
        self.up4, self.up3, self.up2 = _up(c4, c3), _up(2 * c3, c2), _up(2 * c2, c1)
        if stem == "conv":
            self.up1: nn.Module = _up(2 * c1, c0)
            self.last = nn.Conv2d(c0, outputs, 7, 1, 3, bias=False)
        else:
            # Half-size features become full-size ones by pixel-shuffle; the head sees the image again.
            self.up1 = nn.Sequential(nn.Conv2d(2 * c1, 4 * c0, 3, 1, 1), nn.PixelShuffle(2))
            self.refine = nn.Conv2d(c0 + 3, c0, 3, 1, 1)
            self.last = nn.Conv2d(c0, outputs, 3, 1, 1)
        initialise(self, "normal")
        start(self.last, head)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: convolutions that are told the states see them behind the features."""
        told: dict[str, Any] = {"bottleneck.0": self.bottleneck[0]}
        fusions: Any = self.fusions
        for index, fusion in enumerate(fusions):
            told[f"fusions.{index}.inner.0"] = fusion.inner[0]
            if isinstance(fusion, TextFusion):
                told[f"fusions.{index}.lower.0"] = fusion.lower[0]
        return {f"{name}.weight": behind(layer.in_channels, 1, states) for name, layer in told.items()}

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Edit images.

        Args:
            images: (B, 3, H, W) in [-1, 1].
            condition: (B, condition_dim).

        Returns:
            (B, 3, H, W) in [-1, 1].

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        edited, _ = self.edit(images, condition)
        return edited

    def edit(self, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """Like `forward`, with what was changed: see `mimik.networks.stargan.Generator.edit`."""
        return compose(images, self.raw(images, condition), self.head)

    def displacements(self, images: Tensor, condition: Tensor) -> Tensor | None:
        """(B, 2, H, W), see `mimik.networks.heads.displacements`; None for another head. Args: like `forward`."""
        return displacements(self.raw(images, condition)) if self.head == "warped" else None

    def raw(self, images: Tensor, condition: Tensor) -> Tensor:
        """What the last convolution gives, float32 (B, K, H, W) with K as the head asks. Args: like `forward`."""
        if images.shape[2] % 2**LEVELS or images.shape[3] % 2**LEVELS:
            raise ValueError(
                f"the MSF U-Net halves images {LEVELS} times; got {tuple(images.shape[2:])}, expected multiples of "
                f"{2**LEVELS}"
            )
        encoded = [self.first(images if self.stem == "conv" else F.pixel_unshuffle(images, 2))]
        for down in (self.down2, self.down3):
            encoded.append(down(encoded[-1]))
        lower = self.bottleneck(_with_planes(self.down4(encoded[-1]), condition))
        features = self.up4(lower)
        skips = encoded[::-1]
        for index, rise in enumerate((self.up3, self.up2, self.up1)):
            skip = skips[index]
            if index < len(self.fusions):
                skip = lower = self.fusions[index](skip, lower, condition)
            features = rise(torch.cat([features, skip], 1))
        if self.stem == "unshuffle":
            features = F.leaky_relu(convolve_joined(self.refine, features, images), 0.1)
        out: Tensor = self.last(features).float()
        return out


def _with_planes(features: Tensor, condition: Tensor) -> Tensor:
    """Features (B, C, H, W) and condition (B, K) -> (B, C + K, H, W)."""
    planes = condition.to(features.dtype)[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat([features, planes], 1)
