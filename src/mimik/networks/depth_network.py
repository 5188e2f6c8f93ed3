"""From a face to the map of its geometry and back (Bodur et al., WACV 2021, section 3.2): depth, or surface normals.

Beside the other networks of the paper: docs/papers/depth_guided.md#networks.

The generator of StarGAN, told by a code of two which domain to translate to (pictures or maps), so that one network
is both G_depth and G'_depth: 8,421,120 parameters. Maps have three channels, as pictures do: a depth map three times
the same, normals x, y and z. A network of one way has no code and cannot go back.

Depth is one number per pixel. The three channels that the generator makes of it are therefore averaged, and the mean
given three times, as the true one is: free channels would tell D_depth by their colour which maps are made, and let
G'_depth read the picture from the colour of its map.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from mimik.networks.constants import constant
from mimik.networks.stargan import Discriminator, Generator, Stem
from mimik.networks.stored import build_stored, load_weights, read_network

KIND = "depth_network"

Geometry = Literal["depth", "normals"]
Domains = Literal["two_way", "one_way"]


class DepthNetwork(nn.Module):
    """G_depth and, with two ways, G'_depth.

    Attributes:
        geometry: what its maps show, and the entry of the batch that holds the true ones.
        two_way: whether it goes back from maps to pictures.
        critic: D_depth as it was trained beside it; None for a network that was not loaded.
        sha256: digest of the weights it was loaded with; empty likewise.
        name: the name it was trained under; empty likewise.
        settings: what `build` makes the same generator from; JSON-able.
    """

    def __init__(
        self,
        geometry: Geometry = "depth",
        domains: Domains = "two_way",
        *,
        conv_dim: int = 64,
        residual_blocks: int = 6,
        stem: Stem = "conv",
    ) -> None:
        """Build the network; the sizes are those of `mimik.networks.stargan.Generator`."""
        super().__init__()
        self.geometry: Geometry = geometry
        self.two_way = domains == "two_way"
        self.generator = Generator(
            2 if self.two_way else 0, conv_dim=conv_dim, residual_blocks=residual_blocks, stem=stem
        )
        self.critic: Discriminator | None = None
        self.sha256 = ""
        self.name = ""
        self.settings: dict[str, Any] = {
            "geometry": geometry,
            "domains": domains,
            "conv_dim": conv_dim,
            "residual_blocks": residual_blocks,
            "stem": stem,
        }

    def to_maps(self, images: Tensor) -> Tensor:
        """G_depth: pictures (B, 3, H, W) in [-1, 1] -> maps (B, 3, H, W) in [-1, 1]; of depth, three equal channels."""
        maps = self._translate(images, 1)
        return maps.mean(1, keepdim=True).repeat(1, 3, 1, 1) if self.geometry == "depth" else maps

    def to_images(self, maps: Tensor) -> Tensor:
        """G'_depth: maps (B, 3, H, W) -> pictures of the same shape. Raises `ValueError` for a network of one way."""
        if not self.two_way:
            raise ValueError("a depth network of one way makes no pictures from maps")
        return self._translate(maps, 0)

    def true_maps(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The true maps (B, 3, H, W) in [-1, 1] of a batch that holds `depth` (B, 1, H, W) or `normals`."""
        return batch[self.geometry].expand(-1, 3, -1, -1)

    def _translate(self, pictures: Tensor, domain: int) -> Tensor:
        code = pictures.new_zeros(1, 0)
        if self.two_way:
            code = constant(((1.0, 0.0), (0.0, 1.0)), pictures.dtype, pictures.device)[domain, None]
        translated: Tensor = self.generator(pictures, code.expand(len(pictures), -1))
        return translated


def build(settings: Mapping[str, Any]) -> DepthNetwork:
    """A freshly initialised network.

    Args:
        settings: those of `DepthNetwork`'s arguments that differ from their defaults; other entries are not read.
    """
    names = ("geometry", "domains", "conv_dim", "residual_blocks", "stem")
    return DepthNetwork(**{name: settings[name] for name in names if name in settings})


def load(directory: Path | str) -> DepthNetwork:
    """The trained network of a folder (`model.safetensors`, `config.json`) with its critic, in evaluation mode.

    Raises:
        UserError: a file is missing or damaged, or the weights are not those that the config was written for.
    """
    config, state = read_network(directory, KIND)
    network = build_stored(lambda: build(config["architecture"]), directory)
    network.critic = build_stored(lambda: Discriminator(**config["critic"]), directory)
    load_weights(network, state, directory)
    network.sha256, network.name = config["model_sha256"], config["name"]
    return network.eval()
