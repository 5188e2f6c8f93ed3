"""VGG-Face (Parkhi et al., "Deep face recognition", BMVC 2015): VGG-16, trained to name 2,622 people.

The layers are those of `mimik.networks.vgg16`, under the names of the authors' Caffe model, which the usual PyTorch
file of it keeps (conv1_1 to fc8). Pictures are RGB from 0 to 255, less the mean colour of the training set.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from torch import Tensor, nn

from mimik.networks.constants import constant
from mimik.networks.vgg16 import CONFIGURATION_D, VGG16
from mimik.storage.weights import check_weights, read_pth

WEIGHTS = "vgg_face_dag.pth"
"""File name of the authors' weights as converted by S. Albanie (pytorch-mcn)."""

URL = "https://www.robots.ox.ac.uk/~albanie/models/pytorch-mcn/vgg_face_dag.pth"

SIDE = 224
FEATURES = 4096
PEOPLE = 2622
MEAN = (129.186279296875, 104.76238250732422, 93.59396362304688)
"""Mean colour, RGB (pytorch-mcn, vgg_face_dag)."""


def _names() -> dict[str, str]:
    """The file's name of every layer that is read, by the layer's name in `VGG16`."""
    found: dict[str, str] = {}
    place, block, number = 0, 1, 1
    for width in CONFIGURATION_D:
        if width == 0:
            place, block, number = place + 1, block + 1, 1
            continue
        found[f"features.{place}"] = f"conv{block}_{number}"
        place, number = place + 2, number + 1
    return {**found, "classifier.0": "fc6", "classifier.3": "fc7"}


NAMES: Mapping[str, str] = MappingProxyType(_names())


class VGGFace(nn.Module):
    """Pictures of faces to 4096 numbers, those of fc7 after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.network = VGG16(1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) in [-1, 1] -> (B, 4096)."""
        mean = constant(MEAN, images.dtype, images.device).view(1, 3, 1, 1)
        return self.network.embed((images + 1) * 127.5 - mean)


def load(path: Path | str) -> VGGFace:
    """The network with the weights of `WEIGHTS`, in evaluation mode; the last layer, which names people, is left out.

    Raises:
        UserError: the file is damaged or holds other weights.
    """
    remedy, what = f"Get it from {URL}", "the weights of VGG-Face"
    state = read_pth(path, what, remedy)
    face = VGGFace()
    own = face.network.state_dict()
    taken = {f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in NAMES.items() for part in ("weight", "bias")}
    check_weights(path, state, {theirs: own[ours] for ours, theirs in taken.items()}, what, remedy)
    face.network.load_state_dict({**own, **{ours: state[theirs] for ours, theirs in taken.items()}})
    return face.eval()
