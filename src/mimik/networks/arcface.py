"""ArcFace's face-recognition backbone IR-SE50: aligned faces of 112 px to unit vectors of 512 numbers.

Deng et al., "ArcFace", CVPR 2019, section 3.1: a ResNet-50 of improved residual blocks (batch norm first, PReLU)
with squeeze and excitation (Hu et al., CVPR 2018). Attribute names and order are those of the widely used weight file
`model_ir_se50.pth` of InsightFace_Pytorch, so that it loads as it is.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.storage.weights import read_pth

SIDE = 112

WEIGHTS = "model_ir_se50.pth"

TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where the left eye, right eye, nose tip, left and right mouth corner (sides of the image) lie, in pixels, x and y."""


class SqueezeExcitation(nn.Module):
    """Channels scaled by what the whole map says."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        scale = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(scale)


class Block(nn.Module):
    """Improved residual block with squeeze and excitation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = (
            nn.MaxPool2d(1, stride)
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class ArcFace(nn.Module):
    """Aligned faces to identity vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        blocks: list[nn.Module] = []
        inputs = 64
        for outputs, number in ((64, 3), (128, 4), (256, 14), (512, 3)):
            for index in range(number):
                blocks.append(Block(inputs, outputs, 2 if index == 0 else 1))
                inputs = outputs
        self.body = nn.Sequential(*blocks)
        # The third place is a Flatten in the weight file's network; places, not names, are its keys.
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(0.6), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)
        )

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, 112, 112) RGB in [-1, 1], aligned to `TEMPLATE` -> (B, 512) of length 1."""
        return F.normalize(self.output_layer(self.body(self.input_layer(faces))))


def load(path: Path | str) -> ArcFace:
    """The network with the weights of `model_ir_se50.pth`, in evaluation mode.

    Raises:
        UserError: the file is damaged or holds other weights.
    """
    state = read_pth(
        path, f"the weights of ArcFace IR-SE50 (InsightFace_Pytorch's {WEIGHTS})", "Get it again or remove it."
    )
    try:
        network = ArcFace()
        network.load_state_dict(state)
    except Exception as error:
        raise UserError(
            f"{path}: expected the weights of ArcFace IR-SE50 (InsightFace_Pytorch's {WEIGHTS}), but {error}. "
            "Get the file again or remove it."
        ) from error
    return network.eval()
