"""The fusion network of hier_seg (Bodur et al., section 3.2): global and local translation in, result out.

Layer table: docs/papers/hier_seg.md#fusion-network.

"Two convolution blocks, four residual blocks and a convolution layer", without resampling. The paper prints no
widths; 64 channels throughout follows APDrawingGAN's combiner (Yi et al., CVPR 2019), the model of the design.
361,280 parameters at the default width.
"""

import torch
from torch import Tensor, nn

from mimik.networks.heads import Head, compose, outputs_of, start
from mimik.networks.normalisation import instance_norm
from mimik.networks.stargan import ResidualBlock


class Fusion(nn.Module):
    """Blend the global translation with the stitched local ones; it is told no label.

    With another head than `direct` (see `mimik.networks.heads`) the result is composed with the global translation.
    """

    def __init__(self, conv_dim: int = 64, residual_blocks: int = 4, head: Head = "direct") -> None:
        super().__init__()
        self.head = head
        last = nn.Conv2d(conv_dim, outputs_of(head, 3), 7, 1, 3, bias=False)
        start(last, head)
        self.body = nn.Sequential(
            nn.Conv2d(6, conv_dim, 7, 1, 3, bias=False),
            instance_norm(conv_dim),
            nn.ReLU(inplace=True),
            nn.Conv2d(conv_dim, conv_dim, 3, 1, 1, bias=False),
            instance_norm(conv_dim),
            nn.ReLU(inplace=True),
            *(ResidualBlock(conv_dim) for _ in range(residual_blocks)),
            last,
        )

    def forward(self, global_image: Tensor, local_image: Tensor) -> Tensor:
        """(B, 3, H, W) twice, in [-1, 1] -> (B, 3, H, W) in [-1, 1]."""
        return self.blend(global_image, local_image)[0]

    def blend(self, global_image: Tensor, local_image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Like `forward`, with how much of every pixel was replaced, (B, 1, H, W) in [0, 1] (None for `direct`)."""
        out: Tensor = self.body(torch.cat([global_image, local_image], 1)).float()
        return compose(global_image, out, self.head)
