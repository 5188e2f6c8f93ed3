"""A segmenter of one layer and, by the same class, a classifier."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

TRAINING: Mapping[str, Any] = {"steps": 100, "batch_size": 4, "learning_rate": 1e-3}


class Network(nn.Module):
    """Convolution of every pixel; embedded, the mean colour."""

    feature_dim = 3

    def __init__(self, outputs: int, width: int | None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, outputs, 1)
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, outputs)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images)
        return logits + 0 * self.last.weight.sum()

    def embed(self, images: Tensor) -> Tensor:
        embedded: Tensor = self.norm(images.mean((2, 3)))
        return embedded

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(features)
        return logits + 0 * self.layer.weight.sum()
