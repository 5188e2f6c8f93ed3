"""BiSeNet (Yu et al., ECCV 2018, arXiv 1808.00897) as it is used for face parsing, without a spatial path.

Layer table: docs/papers/hier_seg.md#bisenet.

The variant of the widely used face parser for CelebAMask-HQ: the stage of the ResNet-18 context path at one
eighth of the size takes the place of the spatial path. 13,300,416 parameters with 19 classes, of which the
ResNet-18 has 11,176,512. Names inside `ResNet18` are those of the usual ImageNet weights files.

`width` (64 published) scales every layer, for small faces.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNormRelu(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class BasicBlock(nn.Module):
    """The residual block of ResNet-18: Conv3-BN-ReLU-Conv3-BN plus the (projected) input, then ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride), rounded up."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(features)), inplace=True)))
        shortcut = features if self.downsample is None else self.downsample(features)
        return F.relu(residual + shortcut, inplace=True)


class ResNet18(nn.Module):
    """ResNet-18 (He et al., CVPR 2016, table 1) without its classifier."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) -> features at 1/8 (2 width), 1/16 (4 width) and 1/32 (8 width) of the size."""
        features = F.relu(self.bn1(self.conv1(images)), inplace=True)
        features = self.layer1(F.max_pool2d(features, 3, 2, 1))
        eighth = self.layer2(features)
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class AttentionRefinement(nn.Module):
    """Attention refinement module (BiSeNet, figure 2b): features scaled by a function of their mean."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvNormRelu(inputs, outputs, 3)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        features = self.conv(features)
        out: Tensor = features * self.attention(features)
        return out


class ContextPath(nn.Module):
    """ResNet-18, refined at 1/32 and 1/16 of the size, with the global mean added at the coarsest level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnet = ResNet18(width)
        self.refine16 = AttentionRefinement(4 * width, 2 * width)
        self.refine32 = AttentionRefinement(8 * width, 2 * width)
        self.mean = ConvNormRelu(8 * width, 2 * width, 1)
        self.smooth16 = ConvNormRelu(2 * width, 2 * width, 3)
        self.smooth32 = ConvNormRelu(2 * width, 2 * width, 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) -> ResNet features at 1/8, context at 1/8, context at 1/16; 2 width channels each."""
        eighth, sixteenth, last = self.resnet(images)
        mean = self.mean(last.mean(dim=(2, 3), keepdim=True))
        # The mean is one pixel; adding it broadcasts, which is nearest-neighbour up-sampling.
        context32 = F.interpolate(self.refine32(last) + mean, sixteenth.shape[2:])
        context16 = self.smooth32(context32)
        context8 = F.interpolate(self.refine16(sixteenth) + context16, eighth.shape[2:])
        return eighth, self.smooth16(context8), context16


class FeatureFusion(nn.Module):
    """Feature fusion module (BiSeNet, figure 2c); no batch normalisation inside its attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNormRelu(channels, channels, 1)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """Two times (B, channels / 2, H, W) -> (B, channels, H, W)."""
        features = self.conv(torch.cat([spatial, context], 1))
        out: Tensor = features + features * self.attention(features)
        return out


class Head(nn.Sequential):
    """Conv3-BN-ReLU and a 1x1 convolution to the classes."""

    def __init__(self, inputs: int, middle: int, classes: int) -> None:
        super().__init__(ConvNormRelu(inputs, middle, 3), nn.Conv2d(middle, classes, 1, bias=False))


class BiSeNet(nn.Module):
    """The whole network; logits are up-sampled bilinearly with `align_corners=True`."""

    def __init__(self, classes: int, *, width: int = 64) -> None:
        """Build the network; convolutions start with He's initialisation.

        Args:
            classes: C.
            width: channels of the first layer.
        """
        super().__init__()
        self.context = ContextPath(width)
        self.fusion = FeatureFusion(4 * width)
        self.main = Head(4 * width, 4 * width, classes)
        self.aux16 = Head(2 * width, width, classes)
        self.aux32 = Head(2 * width, width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=1)

    def forward(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Main logits (B, C, *size) of normalised images (B, 3, H, W); the auxiliary heads are not computed."""
        eighth, context8, _ = self.context(images)
        return _enlarge(self.main(self.fusion(eighth, context8)), size)

    def all_logits(self, images: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Logits (B, C, *size) of the main head and the two auxiliary ones (on the context at 1/8 and at 1/16)."""
        eighth, context8, context16 = self.context(images)
        main = self.main(self.fusion(eighth, context8))
        return [_enlarge(part, size) for part in (main, self.aux16(context8), self.aux32(context16))]

    def fast_modules(self) -> list[nn.Module]:
        """What is trained at ten times the learning rate: feature fusion and the heads."""
        return [self.fusion, self.main, self.aux16, self.aux32]


def _enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=True)
