"""VGG-19 (Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556, table 1, configuration E) as a yardstick of pictures.

The distance between the features of two pictures is the perceptual loss of Johnson et al. (ECCV 2016). Layers are
numbered as in torchvision's ImageNet weights, of which the fully connected ones are not read. Its sixteen convolutions
have 20,024,384 parameters; those behind the last wanted layer are left out.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from mimik.errors import UserError
from mimik.networks.normalisation import normalise
from mimik.storage.files import file_sha256
from mimik.storage.weights import read_pth

WEIGHTS = "vgg19-dcbb9e9d.pth"
"""File name of torchvision's ImageNet weights (VGG19_Weights.IMAGENET1K_V1); its end is the start of the SHA-256."""

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"

CONFIGURATION_E: Sequence[int] = (2, 2, 4, 4, 4)
"""3x3 convolutions between two poolings; they have 64, 128, 256, 512 and 512 channels."""

_WIDTHS: Sequence[int] = (64, 128, 256, 512, 512)

LAYERS: Sequence[str] = tuple(
    f"relu{block}_{number}" for block, count in enumerate(CONFIGURATION_E, 1) for number in range(1, count + 1)
)
"""Names of the sixteen layers whose features can be asked for."""


class VGG19(nn.Module):
    """The convolutions of VGG-19 up to the last of `layers`."""

    def __init__(self, layers: Sequence[str]) -> None:
        """Build the network. Raises `ValueError` for a layer that there is not, or for none."""
        super().__init__()
        if not layers or set(layers) - set(LAYERS):
            raise ValueError(f"layers are one or more of {', '.join(LAYERS)}; got {', '.join(layers) or 'none'}")
        modules: list[nn.Module] = []
        self.wanted: list[int] = []
        channels, last = 3, max(LAYERS.index(layer) for layer in layers)
        names = iter(LAYERS)
        for width, count in zip(_WIDTHS, CONFIGURATION_E, strict=True):
            for _ in range(count):
                name = next(names)
                if LAYERS.index(name) > last:
                    break
                modules += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU()]
                channels = width
                if name in layers:
                    self.wanted.append(len(modules) - 1)
            modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules[: self.wanted[-1] + 1])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [-1, 1] -> features (B, c, h, w) of the wanted layers, from the first to the last."""
        features, found = normalise(images, "imagenet"), []
        for index, module in enumerate(self.features):
            features = module(features)
            if index in self.wanted:
                found.append(features)
        return found


def load(path: Path, layers: Sequence[str]) -> VGG19:
    """The network with torchvision's ImageNet weights, frozen.

    Args:
        path: the file `WEIGHTS`.
        layers: which features it gives, see `LAYERS`.

    Raises:
        UserError: the file is damaged, or holds other weights.
        ValueError: an unknown layer.
    """
    network = VGG19(layers)
    if not file_sha256(path).startswith(Path(WEIGHTS).stem.rpartition("-")[2]):
        raise UserError(f"{path}: its SHA-256 does not start with what its name ends in; get it again from {URL}")
    state = read_pth(path, "the weights of VGG-19", f"Get it from {URL}")
    try:
        network.load_state_dict({name: state[name] for name in network.state_dict()})
    except Exception as error:
        raise UserError(f"{path}: cannot be read as the weights of VGG-19 ({error}). Get it from {URL}") from error
    return network.requires_grad_(False).eval()
