"""Random changes of training images, as functions of tensors.

All randomness comes from torch's global generator, which the training loop seeds from (seed, position of the batch)
before every loss: a resumed run draws what an undisturbed one draws.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.labels import IGNORED
from mimik.networks.constants import constant


def colour_jitter(images: Tensor, strength: float) -> Tensor:
    """Brightness, contrast and saturation of every image, each times a factor in [1 - strength, 1 + strength].

    In this order: towards black, towards the mean grey, towards the grey of every pixel.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        strength: 0 to 1; BiSeNet's face parser has 0.5.

    Returns:
        the same shape and range.
    """
    if not strength:
        return images
    factors = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, device=images.device) - 1)
    weights = constant((0.299, 0.587, 0.114), torch.float32, images.device).view(1, 3, 1, 1)
    pixels = ((images + 1) / 2 * factors[0]).clamp(0, 1)
    mean = (pixels * weights).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    pixels = (mean + factors[1] * (pixels - mean)).clamp(0, 1)
    grey = (pixels * weights).sum(1, keepdim=True)
    pixels = (grey + factors[2] * (pixels - grey)).clamp(0, 1)
    return pixels * 2 - 1


def scale_and_crop(images: Tensor, masks: Tensor, scales: Sequence[float], crop: float) -> tuple[Tensor, Tensor]:
    """Enlarge every image by a factor drawn from `scales` and cut a random square out of it.

    One resampling does both: images bilinearly, masks by nearest neighbour. A factor that would leave less than the
    square is raised until it fits, as in the published augmentation.

    Args:
        images: (B, 3, S, S) in [-1, 1].
        masks: int64 (B, S, S).
        scales: factors to draw from with equal probability.
        crop: side of the square as a fraction of S, in (0, 1].

    Returns:
        images (B, 3, T, T) and masks (B, T, T) with T = round(crop * S).
    """
    size = images.shape[2]
    side = round(crop * size)
    if side == size and tuple(scales) == (1.0,):
        return images, masks
    count, device = len(images), images.device
    drawn = constant(scales, torch.float32, device)[torch.randint(len(scales), (count,), device=device)]
    # Fraction of the source's side that the square covers, and where it may begin.
    cover = (side / size / drawn).clamp(max=1.0)
    start = torch.rand(count, 2, device=device) * (1 - cover)[:, None]
    ticks = (torch.arange(side, device=device) + 0.5) / side
    x = (start[:, 0, None] + cover[:, None] * ticks) * 2 - 1
    y = (start[:, 1, None] + cover[:, None] * ticks) * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], 3)
    cut = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = F.grid_sample(
        masks[:, None].to(grid.dtype), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return cut, labels[:, 0].round().long().clamp(0, IGNORED)


def shift(images: Tensor, most: float) -> Tensor:
    """Move every image by up to `most` of its side along both axes; the border is repeated.

    Shifts are not whole pixels, so that the bilinear resampling blurs by varying amounts besides.
    """
    if not most:
        return images
    height, width = images.shape[2:]
    offset = most * 2 * (2 * torch.rand(len(images), 2, device=images.device) - 1)
    x = (torch.arange(width, device=images.device) + 0.5) / width * 2 - 1
    y = (torch.arange(height, device=images.device) + 0.5) / height * 2 - 1
    grid = torch.stack(
        [
            (x[None] + offset[:, :1])[:, None, :].expand(-1, height, -1),
            (y[None] + offset[:, 1:])[:, :, None].expand(-1, -1, width),
        ],
        3,
    )
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def soften(images: Tensor, probability: float) -> Tensor:
    """Blur a random part of the images with the kernel (1, 2, 1) / 4 along both axes."""
    if not probability:
        return images
    taps = constant((0.25, 0.5, 0.25), images.dtype, images.device)
    kernel = (taps[:, None] * taps[None]).expand(images.shape[1], 1, 3, 3)
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    blurred = F.conv2d(padded, kernel, groups=images.shape[1]).to(images.dtype)
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < probability
    return torch.where(chosen, blurred, images)


def add_noise(images: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise with a deviation drawn for every image from [0, `deviation`] (in units of [-1, 1])."""
    if not deviation:
        return images
    level = deviation * torch.rand(len(images), 1, 1, 1, device=images.device)
    return (images + level * torch.randn_like(images)).clamp(-1, 1)
