"""Inception v3 as the Fréchet inception distance uses it: TensorFlow's graph of 2015-12-05, up to pool3.

Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016. The network's weights were
ported by pytorch-fid (`pt_inception-2015-12-05-6726825d.pth`) on top of torchvision's module names, which the
attribute names here repeat so that the file loads as it is. TensorFlow's graph differs from the paper's network, and
so does this one: average pools do not count their padding, the last block pools by maximum, batch norm has eps 1e-3.
Its last layer has 1008 outputs, of which ImageNet's classes take a thousand.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.storage.files import file_sha256
from mimik.storage.weights import read_pth

SIDE = 299
FEATURES = 2048
OUTPUTS = 1008

WEIGHTS = ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth")
"""File names of the same weights in pytorch-fid and torch-fidelity; the end is the start of their SHA-256."""

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"


class Unit(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35 x 35 block: 1x1, 5x5, double 3x3, pool."""

    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(inputs, 64, 1)
        self.branch5x5_1 = Unit(inputs, 48, 1)
        self.branch5x5_2 = Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Unit(inputs, 64, 1)
        self.branch3x3dbl_2 = Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, padding=1)
        self.branch_pool = Unit(inputs, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 224 + pool, H, W)."""
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch5x5_2(self.branch5x5_1(x)),
                self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                self.branch_pool(_average(x)),
            ],
            1,
        )


class BlockB(nn.Module):
    """35 to 17: strided 3x3, double 3x3, max pool."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Unit(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Unit(inputs, 64, 1)
        self.branch3x3dbl_2 = Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, inputs + 480, H / 2, W / 2)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    """17 x 17 block: 1x1, factorised 7x7, double factorised 7x7, pool."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        across, down = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = Unit(inputs, 192, 1)
        self.branch7x7_1 = Unit(inputs, width, 1)
        self.branch7x7_2 = Unit(width, width, **across)  # type: ignore[arg-type]
        self.branch7x7_3 = Unit(width, 192, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_1 = Unit(inputs, width, 1)
        self.branch7x7dbl_2 = Unit(width, width, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_3 = Unit(width, width, **across)  # type: ignore[arg-type]
        self.branch7x7dbl_4 = Unit(width, width, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_5 = Unit(width, 192, **across)  # type: ignore[arg-type]
        self.branch_pool = Unit(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 768, H, W)."""
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
                self.branch_pool(_average(x)),
            ],
            1,
        )


class BlockD(nn.Module):
    """17 to 8: 3x3, 7x7 then 3x3, max pool."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Unit(inputs, 192, 1)
        self.branch3x3_2 = Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Unit(inputs, 192, 1)
        self.branch7x7x3_2 = Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Unit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, inputs + 512, H / 2, W / 2)."""
        large = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), large, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(nn.Module):
    """8 x 8 block: 1x1, 3x3 fanned out, double 3x3 fanned out, pool (by maximum in the last block)."""

    def __init__(self, inputs: int, pool_by_maximum: bool) -> None:
        super().__init__()
        self.pool_by_maximum = pool_by_maximum
        self.branch1x1 = Unit(inputs, 320, 1)
        self.branch3x3_1 = Unit(inputs, 384, 1)
        self.branch3x3_2a = Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Unit(inputs, 448, 1)
        self.branch3x3dbl_2 = Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Unit(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 2048, H, W)."""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.pool_by_maximum else _average(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(single),
                self.branch3x3_2b(single),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            1,
        )


class Inception(nn.Module):
    """Images to 2048-d pool3 features, and these to logits."""

    def __init__(self) -> None:
        super().__init__()
        # The capital letters are the weight file's.
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, pool_by_maximum=False)
        self.Mixed_7c = BlockE(2048, pool_by_maximum=True)
        self.fc = nn.Linear(FEATURES, OUTPUTS, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], any size -> (B, 2048).

        As torch-fidelity: grey levels are scaled by (x - 128) / 128 and resized by TensorFlow 1's rule.
        """
        x = resize(((images + 1) * 127.5 - 128) / 128)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features: Tensor = x.mean((2, 3))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """(B, 2048) -> (B, 1008), without the layer's bias, as the Inception score is taken."""
        logits: Tensor = self.fc(features)
        return logits


def resize(images: Tensor, side: int = SIDE) -> Tensor:
    """TensorFlow 1's bilinear resize: output pixel i samples the input at i * H / side, without any smoothing.

    Args:
        images: (B, C, H, W).
        side: of the output.

    Returns:
        (B, C, side, side).
    """
    rows, columns = (_bilinear(length, side).to(images) for length in images.shape[-2:])
    return rows @ images @ columns.T


def _bilinear(length: int, side: int) -> Tensor:
    position = torch.arange(side, dtype=torch.float64) * (length / side)
    lower = position.floor().long()
    fraction = position - lower
    weights = torch.zeros(side, length, dtype=torch.float64)
    index = torch.arange(side)
    weights[index, lower] += 1 - fraction
    weights[index, (lower + 1).clamp(max=length - 1)] += fraction
    return weights


def load(path: Path | str) -> Inception:
    """The network with the weights of pytorch-fid's file, in evaluation mode.

    Args:
        path: its name ends in "-" and the first hexadecimal digits of its SHA-256, which are checked.

    Raises:
        UserError: the file is damaged, or holds other weights.
    """
    path = Path(path)
    expected = path.stem.rsplit("-", 1)[-1]
    found = file_sha256(path)
    if not found.startswith(expected):
        raise UserError(
            f"{path}: its SHA-256 should start with {expected} but is {found}. The file is damaged or another one; "
            f"get it again from {URL}"
        )
    state = read_pth(path, "the Inception weights of FID", f"Get it again from {URL}")
    network = Inception()
    # The score takes no bias; counters of batches exist in newer files only.
    wanted = {name: value for name, value in state.items() if name != "fc.bias"}
    missing, unexpected = network.load_state_dict(wanted, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise UserError(
            f"{path}: these are not the Inception weights of FID (missing {missing[:3]}, unexpected {unexpected[:3]}). "
            f"Get them from {URL}"
        )
    return network.eval()
