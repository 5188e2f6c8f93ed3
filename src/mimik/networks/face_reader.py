"""A network that reads off a rendered face what the renderer was told: action units and identity. No paper.

Evaluation on the synthetic dataset measures edits with it: the action units that the edit should have set, and
whether the identity is still the same. It knows rendered faces only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.labels import ACTION_UNITS
from mimik.networks.small_classifier import strided_trunk
from mimik.networks.stored import build_stored, load_weights, read_network

KIND = "reader"


class FaceReader(nn.Module):
    """One convolutional trunk, two heads.

    Attributes:
        identity_dim: d, length of the identity descriptor.
        name: the name it was trained under, sha256: digest of its weights; empty for a network that was not loaded.
        action_unit_extractor: what measured the action units it learned from (`FaceStore.action_unit_extractor`).
    """

    identity_mean: Tensor
    identity_scale: Tensor

    def __init__(self, identity_dim: int, *, width: int = 32, hidden: int = 256) -> None:
        """Build the network.

        Args:
            identity_dim: d.
            width: channels of the first convolution.
            hidden: neurons of each head.
        """
        super().__init__()
        self.identity_dim = identity_dim
        self.name = ""
        self.sha256 = ""
        self.action_unit_extractor: str | None = None
        self.trunk = strided_trunk(width)
        inputs = 4 * width * 16
        self.unit_head = _head(inputs, hidden, len(ACTION_UNITS))
        self.identity_head = _head(inputs, hidden, identity_dim)
        # Mean and standard deviation of the descriptor over the training identities: the head works in these units.
        self.register_buffer("identity_mean", torch.zeros(identity_dim))
        self.register_buffer("identity_scale", torch.ones(identity_dim))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read both.

        Args:
            images: (B, 3, H, W) in [-1, 1].

        Returns:
            action units (B, 17) in (0, 1) in the order of `mimik.labels.ACTION_UNITS`, and the standardised
            identity descriptor (B, d): (descriptor - identity_mean) / identity_scale.
        """
        pooled = F.adaptive_avg_pool2d(self.trunk(images), 4).flatten(1)
        return torch.sigmoid(self.unit_head(pooled).float()), self.identity_head(pooled).float()

    def action_units(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> intensities (B, 17) in (0, 1)."""
        units, _ = self(images)
        return units  # type: ignore[no-any-return]

    def identity(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> standardised identity descriptor (B, d), see `standardise`."""
        _, descriptor = self(images)
        return descriptor  # type: ignore[no-any-return]

    def standardise(self, descriptor: Tensor) -> Tensor:
        """The dataset's own descriptor (B, d) in the units of `identity`: mean 0, variance 1 over training faces.

        Standardised because its entries have different units, and because cosines need a centre.
        """
        return (descriptor - self.identity_mean) / self.identity_scale


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, outputs),
    )


def build(settings: Mapping[str, Any], identity_dim: int) -> FaceReader:
    """A freshly initialised reader; `settings` may hold `width` (32). Other entries are not read."""
    return FaceReader(identity_dim, width=settings.get("width") or 32)


def load(directory: Path | str) -> FaceReader:
    """The trained reader of a folder (`model.safetensors`, `config.json`), in evaluation mode.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those that the config was written for.
    """
    config, state = read_network(directory, KIND)
    reader = build_stored(lambda: build(config["architecture"], config["identity_dim"]), directory)
    load_weights(reader, state, directory)
    reader.name, reader.sha256 = config["name"], config["model_sha256"]
    reader.action_unit_extractor = config.get("action_units")
    return reader.eval()
