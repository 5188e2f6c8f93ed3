"""LPIPS (Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018), AlexNet.

Distance of two pictures: the features of five layers, each position's of length 1, their squared difference weighted by
channel and averaged over positions, summed over the layers (eq. 1). Two files: torchvision's ImageNet weights of
AlexNet, and the channels' weights, version 0.1, of the authors' package `lpips`, which learned them from people's
judgements. Attribute names are those of the files.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mimik.networks.constants import constant
from mimik.storage.weights import check_weights, read_pth

WEIGHTS = "alexnet-owt-7be5be79.pth"
"""File name of torchvision's ImageNet weights (AlexNet_Weights.IMAGENET1K_V1)."""

URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"

HEADS = "lpips_alex_v0.1.pth"
"""Name under which the file weights/v0.1/alex.pth of the package `lpips` is placed."""

HEADS_URL = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/alex.pth"

TAPS: Sequence[int] = (1, 4, 7, 9, 11)
"""Places of the five ReLUs in AlexNet's `features`."""

CHANNELS: Sequence[int] = (64, 192, 384, 256, 256)

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of pictures in [-1, 1], by the authors' code."""

SMALLEST = 35
"""Side of the smallest picture of which the last layer is left anything."""


class LPIPS(nn.Module):
    """Two batches of pictures to their distances."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, 1, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1),
            nn.ReLU(),
        )
        self.heads = nn.ParameterList([nn.Parameter(torch.zeros(width)) for width in CHANNELS])

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] twice -> (B,), at least 0."""
        shift, scale = (constant(of, first.dtype, first.device).view(1, 3, 1, 1) for of in (SHIFT, SCALE))
        total = first.new_zeros(len(first))
        x, y = (first - shift) / scale, (second - shift) / scale
        heads = iter(self.heads)
        for place, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if place in TAPS:
                weighted = (_unit(x) - _unit(y)).square() * next(heads).view(1, -1, 1, 1)
                total = total + weighted.sum(1).mean((1, 2))
        return total


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def load(alexnet: Path | str, heads: Path | str) -> LPIPS:
    """The network with the weights of `WEIGHTS` and `HEADS`, in evaluation mode.

    Raises:
        UserError: a file is damaged or holds other weights.
    """
    network = LPIPS()
    own = network.state_dict()
    features = {name: value for name, value in own.items() if name.startswith("features.")}
    channels = {_head(number): own[f"heads.{number}"].view(1, -1, 1, 1) for number in range(len(CHANNELS))}
    state: dict[str, Tensor] = {}
    for path, what, url, expected in (
        (alexnet, "the ImageNet weights of AlexNet", URL, features),
        (heads, "LPIPS's weights of AlexNet's channels", HEADS_URL, channels),
    ):
        remedy = f"Get it from {url}"
        found = read_pth(path, what, remedy)
        check_weights(path, found, expected, what, remedy)
        state |= {name: found[name] for name in expected}
    for number in range(len(CHANNELS)):
        state[f"heads.{number}"] = state.pop(_head(number)).flatten()
    network.load_state_dict(state)
    return network.eval()


def _head(number: int) -> str:
    """The file's name of the weights of a layer's channels."""
    return f"lin{number}.model.1.weight"
