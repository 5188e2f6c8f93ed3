"""Generator of GANnotation (Sanchez and Valstar 2018, arXiv 1811.03492): StarGAN's, told where 68 landmarks shall lie.

Layers: docs/papers/baselines.md#gannotation-layers.

Known deviations from the authors' released code: the Gaussians are neither moved to whole pixels nor cut off beyond
seven; and those of `mimik.networks.stargan`. 8,628,096 parameters at the default settings (theirs with 68 maps).
"""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from mimik.networks.heads import Head
from mimik.networks.slices import Slices
from mimik.networks.stargan import Generator, Stem

POINTS = 68


class LandmarkGenerator(nn.Module):
    """Image and landmarks in, edited image out."""

    def __init__(
        self,
        *,
        conv_dim: int = 64,
        residual_blocks: int = 6,
        head: Head = "direct",
        stem: Stem = "conv",
        deviation: float = 1.75 / 128,
    ) -> None:
        """Build the network.

        Args:
            conv_dim, residual_blocks, head, stem: see `mimik.networks.stargan.Generator`.
            deviation: standard deviation of a landmark's Gaussian, as a fraction of the image's side. The authors'
                code draws 7 x 7 Gaussians of a quarter of that width into maps of 128 pixels.
        """
        super().__init__()
        self.deviation = deviation
        self.network = Generator(POINTS, conv_dim=conv_dim, residual_blocks=residual_blocks, head=head, stem=stem)

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: none, as it is told landmarks whatever the states are."""
        return {}

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Edit images (B, 3, H, H) in [-1, 1] so that they show `landmarks`, see `heatmaps`; returns the same shape."""
        edited, _ = self.edit(images, landmarks)
        return edited

    def edit(self, images: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor | None]:
        """Like `forward`, with what was changed, see `mimik.networks.stargan.Generator.edit`."""
        return self.network.edit(images, self._planes(images, landmarks))

    def displacements(self, images: Tensor, landmarks: Tensor) -> Tensor | None:
        """(B, 2, H, W), see `mimik.networks.heads.displacements`. Args: like `forward`."""
        return self.network.displacements(images, self._planes(images, landmarks))

    def _planes(self, images: Tensor, landmarks: Tensor) -> Tensor:
        side = images.shape[-1] // self.network.planes_reduction
        return heatmaps(landmarks, side, self.deviation).to(images.dtype)


def heatmaps(landmarks: Tensor, side: int, deviation: float) -> Tensor:
    """One map for every landmark: a Gaussian of height 2 round it on a ground of -1 (so in [-1, 1], like an image).

    Args:
        landmarks: float (B, N, 2), x then y, as fractions of the side; (0, 0) is the image's upper left corner.
        side: of the maps in pixels.
        deviation: standard deviation as a fraction of the side.

    Returns:
        float (B, N, side, side), sampled at the pixels' centres.
    """
    centres = (torch.arange(side, device=landmarks.device, dtype=landmarks.dtype) + 0.5) / side
    distance = (landmarks[..., None] - centres) / deviation  # (B, N, 2, side)
    across, down = torch.exp(-0.5 * distance**2).unbind(2)
    return 2 * down[..., None] * across[..., None, :] - 1
