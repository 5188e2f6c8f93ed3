"""MobileNet v1 as 3DDFA_V2 uses it: a face of 120 px to 62 numbers that describe it.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", arXiv 1704.04861,
table 1, with the classification layer replaced (Guo et al., "Towards Fast, Accurate and Stable 3D Dense Face
Alignment", ECCV 2020). Attribute names are those of the weight files of the GitHub project cleardusk/3DDFA_V2,
`mb1_120x120.pth` (width 1) and `mb05_120x120.pth` (width 0.5).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.storage.weights import read_pth

SIDE = 120

PARAMETERS = 62

STEM = 32
"""Channels of the first layer at width 1."""

BLOCKS: Sequence[tuple[str, int, int]] = (
    ("dw2_1", 64, 1),
    ("dw2_2", 128, 2),
    ("dw3_1", 128, 1),
    ("dw3_2", 256, 2),
    ("dw4_1", 256, 1),
    ("dw4_2", 512, 2),
    ("dw5_1", 512, 1),
    ("dw5_2", 512, 1),
    ("dw5_3", 512, 1),
    ("dw5_4", 512, 1),
    ("dw5_5", 512, 1),
    ("dw5_6", 1024, 2),
    ("dw6", 1024, 1),
)
"""Name, channels at width 1 and stride of each block."""


class SeparableBlock(nn.Module):
    """A 3 x 3 convolution of each channel by itself, then a 1 x 1 convolution; batch norm and ReLU after both."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.bn_dw = nn.BatchNorm2d(inputs)
        self.conv_sep = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        x = F.relu(self.bn_dw(self.conv_dw(x)), inplace=True)
        return F.relu(self.bn_sep(self.conv_sep(x)), inplace=True)


class MobileNet(nn.Module):
    """Faces to standardised parameters."""

    def __init__(self, width: float = 1.0) -> None:
        """Untrained.

        Args:
            width: factor of the numbers of channels.
        """
        super().__init__()
        inputs = round(STEM * width)
        self.conv1 = nn.Conv2d(3, inputs, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        for name, channels, stride in BLOCKS:
            outputs = round(channels * width)
            self.add_module(name, SeparableBlock(inputs, outputs, stride))
            inputs = outputs
        self.fc_param = nn.Linear(inputs, PARAMETERS)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, 120, 120), blue before green before red, as (level - 127.5) / 128 -> (B, 62)."""
        x = F.relu(self.bn1(self.conv1(faces)), inplace=True)
        for name, _, _ in BLOCKS:
            x = self.get_submodule(name)(x)
        parameters: Tensor = self.fc_param(x.mean((2, 3)))
        return parameters


def load(path: Path | str) -> MobileNet:
    """The network with the weights of a file of 3DDFA_V2, in evaluation mode; the file says which width.

    The files hold a training state: every name begins with "module.", and a second output layer for landmarks stands
    beside the one for parameters.

    Raises:
        UserError: the file is damaged or holds other weights.
    """
    stored = read_pth(path, "the weights of 3DDFA_V2's MobileNet", "Get the file again.")
    try:
        state: Mapping[str, Tensor] = {
            name.removeprefix("module."): value for name, value in stored["state_dict"].items()
        }
        wanted = {name: value for name, value in state.items() if not name.startswith("fc_lm.")}
        network = MobileNet(len(wanted["conv1.weight"]) / STEM)
        network.load_state_dict(wanted)
    except Exception as error:
        raise UserError(
            f"{path}: expected the weights of 3DDFA_V2's MobileNet (cleardusk/3DDFA_V2 on GitHub, "
            f"weights/mb1_120x120.pth), but {error}. Get the file again."
        ) from error
    return network.eval()
