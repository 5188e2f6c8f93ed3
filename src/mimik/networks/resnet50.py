"""ResNet-50 (He et al., CVPR 2016, table 1) up to its average pool, with the weights of SwAV.

Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", NeurIPS 2020, train it
without labels; Morozov et al. (ICLR 2021) measure pictures with it. The stride of a stage is in its first 3x3
convolution. Attribute names are those of the released file, so that it loads as it is; 23,508,032 parameters.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from mimik.storage.weights import check_weights, read_pth

WEIGHTS = "swav_800ep_pretrain.pth.tar"
"""File name of SwAV's weights of 800 epochs; facebookresearch/swav."""

URL = "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar"

SIDE = 224
FEATURES = 2048
STAGES: Sequence[tuple[int, int]] = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Channels inside the blocks of a stage, and number of its blocks."""

WIDER = 4
"""Channels of a block's output, in those inside it."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a short cut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = WIDER * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if changes
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        inside = F.relu(self.bn1(self.conv1(x)))
        inside = F.relu(self.bn2(self.conv2(inside)))
        short = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(inside)) + short)


class ResNet50(nn.Module):
    """Images to the 2048 numbers of the average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for number, (width, blocks) in enumerate(STAGES, 1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(blocks):
                layers[str(index)] = Bottleneck(channels, width, 2 if index == 0 and number > 1 else 1)
                channels = WIDER * width
            self.add_module(f"layer{number}", nn.Sequential(layers))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) with ImageNet's mean and deviation -> (B, 2048)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean((2, 3))


def load(path: Path | str) -> ResNet50:
    """The network with the weights of `WEIGHTS`, in evaluation mode; the file's projection and prototypes are left out.

    Raises:
        UserError: the file is damaged or holds other weights.
    """
    remedy = f"Get it from {URL}"
    what = "the weights of SwAV's ResNet-50"
    state = read_pth(path, what, remedy)
    own = {name.removeprefix("module."): value for name, value in state.items()}
    network = ResNet50()
    expected = network.state_dict()
    check_weights(path, own, expected, what, remedy)
    network.load_state_dict({name: own[name] for name in expected})
    return network.eval()
