"""A small convolutional classifier for faces of 64 px, for the demo scale and for tests. No paper."""

import torch.nn.functional as F
from torch import Tensor, nn


def strided_trunk(width: int) -> nn.Sequential:
    """Four times Conv3 (stride 2)-BN-ReLU with width, 2, 4, 4 times width channels."""
    layers: list[nn.Module] = []
    channels = 3
    for outputs in (width, 2 * width, 4 * width, 4 * width):
        layers += [
            nn.Conv2d(channels, outputs, 3, 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
        channels = outputs
    return nn.Sequential(*layers)


class SmallClassifier(nn.Module):
    """Four strided convolutions, pooling to 4 x 4, two fully connected layers.

    The hidden layer is batch-normalised as well: without it training sits on a plateau at chance for longer than the
    demo's whole run.
    """

    feature_dim = 128

    def __init__(self, classes: int, *, width: int = 32) -> None:
        super().__init__()
        self.trunk = strided_trunk(width)
        self.hidden = nn.Sequential(
            nn.Linear(4 * width * 16, self.feature_dim, bias=False),
            nn.BatchNorm1d(self.feature_dim),
            nn.ReLU(inplace=True),
        )
        self.last = nn.Linear(self.feature_dim, classes)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> (B, 128), not negative."""
        pooled = F.adaptive_avg_pool2d(self.trunk(images), 4)
        features: Tensor = self.hidden(pooled.flatten(1))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """(B, 128) -> logits (B, C)."""
        logits: Tensor = self.last(features)
        return logits
