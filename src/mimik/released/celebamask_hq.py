"""The U-Net of switchablenorms/CelebAMask-HQ (`model.pth` of face_parsing); docs/weights.md#celebamask-hq.

That network joins (skipped, raised) features where ours joins (raised, skipped): the inputs of the convolution after
each join change places.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mimik.labels import SEGMENTATION_CLASSES
from mimik.networks.unet import LEVELS
from mimik.released.conversion import Source, converted, normed, without_wrapper
from mimik.released.face_parsing import image_sides

SOURCE = Source("the face parser U-Net", "switchablenorms/CelebAMask-HQ", "3f6c45d")
NETWORK = "unet"
SIZE = 512
"""Side of the images that the released weights were trained for."""

CLASSES: Sequence[str] = SEGMENTATION_CLASSES
"""What the outputs mean, by the names of CelebAMask-HQ's files, whose left is the person's."""


def weights(path: Path, state: Mapping[str, Any], network: nn.Module) -> dict[str, Tensor]:
    """Weights of `mimik.networks.unet.UNet` by their names in mimik. Raises `UserError` where they do not fit."""
    expected = network.state_dict()
    names: dict[str, str] = {}
    orders: dict[str, tuple[int, Sequence[int]]] = {}
    for level in range(LEVELS):
        names |= _double(f"down.{level}", f"conv{level + 1}")
        theirs = f"up_concat{LEVELS - level}"
        names |= {f"rise.{level}.{kind}": f"{theirs}.up.{kind}" for kind in ("weight", "bias")}
        names |= _double(f"up.{level}", f"{theirs}.conv")
        joined = expected[f"up.{level}.0.weight"].shape[1]
        orders[f"up.{level}.0.weight"] = (1, [*range(joined // 2, joined), *range(joined // 2)])
    names |= _double("centre", "center")
    for kind in ("weight", "bias"):
        names[f"last.{kind}"] = f"final.{kind}"
        orders[f"last.{kind}"] = (0, image_sides(CLASSES))
    return converted(path, without_wrapper(state), SOURCE, names, expected, orders)


def _double(ours: str, theirs: str) -> dict[str, str]:
    """Two convolutions, each with its bias and batch normalisation."""
    names: dict[str, str] = {}
    for place, part in ((0, "conv1"), (3, "conv2")):
        names |= {f"{ours}.{place}.{kind}": f"{theirs}.{part}.0.{kind}" for kind in ("weight", "bias")}
        names |= normed(f"{ours}.{place + 1}", f"{theirs}.{part}.1")
    return names
