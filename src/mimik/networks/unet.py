"""U-Net (Ronneberger et al., MICCAI 2015) as CelebAMask-HQ's own face parser has it (MaskGAN, CVPR 2020).

Layers: docs/papers/hier_seg.md#u-net.

Every double convolution is batch-normalised, and the channels are a quarter of the original's (`base` 16, 32, 64,
128, centre 256): 1,944,355 parameters with 19 classes; the original's `base` of 64 gives 31,044,691. Convolutions are
padded, so that the logits have the size of the image.
"""

import torch
from torch import Tensor, nn

LEVELS = 4
"""Number of halvings; sides of images must be multiples of 2**LEVELS."""


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Two times Conv3-BN-ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, 1, 1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Encoder with four max-poolings; decoder with transposed convolutions and skip connections."""

    def __init__(self, classes: int, *, base: int = 16) -> None:
        """Build the network (PyTorch's default initialisation, as the original).

        Args:
            classes: C.
            base: channels of the first level; every level below has twice as many.
        """
        super().__init__()
        widths = [base * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            double_convolution(inputs, outputs) for inputs, outputs in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.centre = double_convolution(widths[-1], 2 * widths[-1])
        self.rise = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, 2) for c in reversed(widths))
        self.up = nn.ModuleList(double_convolution(2 * c, c) for c in reversed(widths))
        self.last = nn.Conv2d(base, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C, H, W) of normalised images (B, 3, H, W).

        Raises:
            ValueError: H or W is not a multiple of 16.
        """
        if images.shape[2] % 2**LEVELS or images.shape[3] % 2**LEVELS:
            raise ValueError(
                f"U-Net halves images {LEVELS} times; got {tuple(images.shape[2:])}, expected multiples of {2**LEVELS}"
            )
        features, skipped = images, []
        for block in self.down:
            skipped.append(block(features))
            features = self.pool(skipped[-1])
        features = self.centre(features)
        for rise, block, skip in zip(self.rise, self.up, reversed(skipped), strict=True):
            features = block(torch.cat([rise(features), skip], 1))
        logits: Tensor = self.last(features)
        return logits.float()
