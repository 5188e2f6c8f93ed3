"""How a generator's last convolution becomes an edited image: its output head.

- `direct`: tanh of what the convolution gives; the whole image is painted (most papers).
- `masked`: the convolution also gives a keep-mask m in [0, 1]; the edit is m * x + (1 - m) * colour, as the output head
  of GANimation (Pumarola et al. 2018, eq. 1; docs/papers/baselines.md#ganimation).
- `residual`: the edit is x plus what the convolution gives, cut off at -1 and 1; it starts as identity.
- `warped`: the convolution also gives a displacement field. The image is moved along it first and then painted like
  `masked`. Most of an expression is motion of what is already there, so that little is left to be invented; no paper
  here has it. It starts without motion.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Head = Literal["direct", "masked", "residual", "warped"]

REACH = 0.1
"""The largest displacement of the warped head in x and in y, as a share of the image's side."""

COARSE, FINE = 16, 32
"""Cells along a side of which the warped head makes displacements and shares, and colours: it cannot paint specks."""


def outputs_of(head: Head, channels: int) -> int:
    """How many channels the last convolution has for images of `channels`."""
    return channels + {"direct": 0, "residual": 0, "masked": 1, "warped": 3}[head]


@torch.no_grad()
def start(last: nn.Module, head: Head, parts: int = 1) -> None:
    """Zero what is to start from nothing: all outputs of the residual head, the displacements of the warped one.

    Args:
        last: the last convolution, plain or transposed.
        head: which head.
        parts: how many networks stand side by side in it.
    """
    if head not in ("residual", "warped"):
        return
    assert isinstance(last, nn.Conv2d | nn.ConvTranspose2d)
    weight = last.weight.transpose(0, 1) if last.transposed else last.weight
    which = slice(None) if head == "residual" else slice(-2, None)
    for tensor in (weight, last.bias):
        if tensor is not None:
            tensor.unflatten(0, (parts, -1))[:, which].zero_()


def compose(images: Tensor, out: Tensor, head: Head) -> tuple[Tensor, Tensor | None]:
    """The edited image from the input and the last convolution's output.

    Args:
        images: (..., C, H, W) in [-1, 1].
        out: (..., `outputs_of(head, C)`, H, W).
        head: which composition.

    Returns:
        (..., C, H, W) in [-1, 1], and how much of every pixel was replaced, (..., 1, H, W) in [0, 1], or None. For the
        warped head, a pixel counts as replaced by the share of `REACH` that it was moved, as well.
    """
    # The channels of a pixel are treated apart: where they lie side by side, tanh takes a processor four times as long.
    out = out.contiguous()
    if head == "direct":
        return torch.tanh(out), None
    if head == "residual":
        edited = (images + out).clamp(-1, 1)
        return edited, (edited - images).abs().mean(-3, keepdim=True) / 2
    channels = images.shape[-3]
    colour, share = out.split([channels, 1, out.shape[-3] - channels - 1], -3)[:2]
    if head == "masked":
        replaced = torch.sigmoid(share)
        return images + replaced * (torch.tanh(colour) - images), replaced
    replaced, colour = torch.sigmoid(smooth(share, COARSE)), torch.tanh(smooth(colour, FINE))
    moves = displacements(out)
    moved = warp(images, moves)
    length = (moves / REACH).square().sum(-3, keepdim=True).add(1e-6).sqrt().clamp(max=1)
    return moved + replaced * (colour - moved), 1 - (1 - replaced) * (1 - length)


def displacements(out: Tensor) -> Tensor:
    """Where the warped head takes the image from before it paints, from the last convolution's output as in `compose`.

    Returns:
        (..., 2, H, W) to the right and down, as shares of width and height, see `warp`.
    """
    return REACH * torch.tanh(smooth(out[..., -2:, :, :], COARSE))


def smooth(values: Tensor, cells: int) -> Tensor:
    """(..., C, H, W) averaged over equal squares, and linear between their centres.

    There are about `cells` squares along the height: their side is a whole number of pixels. Where that is one pixel
    (crops of parts of a small face), nothing is averaged.
    """
    flat = values.flatten(0, -4)
    height, width = flat.shape[-2:]
    if height <= cells:
        return values
    coarse = F.avg_pool2d(flat, height // cells)
    fine: Tensor = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return fine.view(values.shape)


def warp(images: Tensor, moves: Tensor) -> Tensor:
    """Images whose every pixel shows what lies at a displacement from it, bilinearly; borders are continued.

    Args:
        images: (..., C, H, W).
        moves: (..., 2, H, W), to the right and down, as shares of width and height.
    """
    flat, field = images.flatten(0, -4), moves.flatten(0, -4)
    height, width = images.shape[-2:]
    grid = _centres(height, width, field.device) + 2 * field.permute(0, 2, 3, 1)
    return F.grid_sample(flat.to(field), grid, padding_mode="border", align_corners=False).view(images.shape)


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """(1, H, W, 2): x and y of the pixels' centres in [-1, 1]."""
    y = (2 * torch.arange(height, device=device) + 1) / height - 1
    x = (2 * torch.arange(width, device=device) + 1) / width - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
