"""The BiSeNet of zllrunning/face-parsing.PyTorch (`79999_iter.pth`); docs/weights.md#face-parsing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mimik.labels import MIRRORED_CLASSES, SEGMENTATION_CLASSES
from mimik.released.conversion import Source, converted, normed, without_wrapper

SOURCE = Source("the face parser BiSeNet", "zllrunning/face-parsing.PyTorch", "d2e684c")
NETWORK = "bisenet"
SIZE = 512
"""Side of the images that the released weights were trained for."""

CLASSES: Sequence[str] = (
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose", "mouth",
    "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
)  # fmt: skip
"""What the outputs mean, by the names of CelebAMask-HQ's files, whose left is the person's."""


def image_sides(classes: Sequence[str]) -> list[int]:
    """Where each of mimik's classes stands among `classes`, in which left and right are the person's.

    mimik's left is the image's, so that both change places.
    """
    return [classes.index(SEGMENTATION_CLASSES[other]) for other in MIRRORED_CLASSES]


def weights(path: Path, state: Mapping[str, Any], network: nn.Module) -> dict[str, Tensor]:
    """Weights of `mimik.networks.bisenet.BiSeNet` by their names in mimik. Raises `UserError` where they do not fit."""
    names = {f"context.resnet.{name}": f"cp.resnet.{name}" for name in network.context.resnet.state_dict()}  # type: ignore[union-attr]
    for ours, theirs in (("refine16", "arm16"), ("refine32", "arm32")):
        names |= _convolved(f"context.{ours}.conv", f"cp.{theirs}.conv")
        names[f"context.{ours}.attention.1.weight"] = f"cp.{theirs}.conv_atten.weight"
        names |= normed(f"context.{ours}.attention.2", f"cp.{theirs}.bn_atten")
    for ours, theirs in (("mean", "conv_avg"), ("smooth16", "conv_head16"), ("smooth32", "conv_head32")):
        names |= _convolved(f"context.{ours}", f"cp.{theirs}")
    names |= _convolved("fusion.conv", "ffm.convblk")
    names |= {"fusion.attention.1.weight": "ffm.conv1.weight", "fusion.attention.3.weight": "ffm.conv2.weight"}
    orders = {}
    for ours, theirs in (("main", "conv_out"), ("aux16", "conv_out16"), ("aux32", "conv_out32")):
        names |= _convolved(f"{ours}.0", f"{theirs}.conv")
        names[f"{ours}.1.weight"] = f"{theirs}.conv_out.weight"
        orders[f"{ours}.1.weight"] = (0, image_sides(CLASSES))
    return converted(path, without_wrapper(state), SOURCE, names, network.state_dict(), orders)


def _convolved(ours: str, theirs: str) -> dict[str, str]:
    """A convolution and its batch normalisation."""
    return {f"{ours}.0.weight": f"{theirs}.conv.weight", **normed(f"{ours}.1", f"{theirs}.bn")}
