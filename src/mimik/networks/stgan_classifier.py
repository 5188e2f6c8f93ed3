"""The classifier by which the authors of STGAN judge edits of attributes, and with them the tables of CelebA.

What it is for: docs/papers/secgan.md#measurements.

Liu et al., "STGAN: A unified selective transfer network for arbitrary image attribute editing", CVPR 2019: the paper
does not describe it, the folder `att_classification` of its code does. Five times two 3x3 convolutions with batch
normalisation and max-pooling, then a hidden layer of 512 without normalisation. Its input is 128 x 128 in [-1, 1]. With
40 attributes 3,297,944 parameters.
"""

from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128, 256)
"""Channels of the two convolutions before each pooling."""


class STGANClassifier(nn.Module):
    """Ten convolutions and two fully connected layers, the last of which has the attributes."""

    input_size = 128
    feature_dim = 512

    def __init__(self, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in WIDTHS:
            for inputs in (channels, width):
                layers += [
                    nn.Conv2d(inputs, width, 3, 1, 1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
            layers.append(nn.MaxPool2d(2))
            channels = width
        self.trunk = nn.Sequential(*layers)
        side = self.input_size // 2 ** len(WIDTHS)
        self.hidden = nn.Sequential(nn.Linear(channels * side**2, self.feature_dim), nn.ReLU(inplace=True))
        self.last = nn.Linear(self.feature_dim, outputs)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 3, 128, 128) in [-1, 1] -> (B, 512), not negative."""
        features: Tensor = self.hidden(self.trunk(images).flatten(1))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """(B, 512) -> logits (B, A)."""
        logits: Tensor = self.last(features)
        return logits
