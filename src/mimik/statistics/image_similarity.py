"""How alike two pictures are, per image: L1, PSNR, SSIM. Pure tensor functions on images in [0, 1]."""

from functools import lru_cache

import torch
from torch import Tensor

PSNR_LIMIT = 100.0
"""PSNR in dB given to identical images (the formula has no finite value there; JSON has no infinity)."""

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def l1(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference per image: (B, 3, H, W) in [0, 1] twice -> (B,)."""
    _check(first, second)
    return (first - second).abs().mean((1, 2, 3))


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """10 log10(1 / MSE) in dB per image, `PSNR_LIMIT` at most: (B, 3, H, W) in [0, 1] twice -> (B,)."""
    _check(first, second)
    return decibels((first - second).square().mean((1, 2, 3)))


def psnr_where(first: Tensor, second: Tensor, where: Tensor) -> Tensor:
    """PSNR over some of the pixels: images as in `psnr`, `where` bool (B, H, W) -> (B,); NaN where no pixel is left."""
    _check(first, second)
    error = (first - second).square().mean(1) * where
    return decibels(error.sum((1, 2)) / where.sum((1, 2)))


def decibels(mean_squared_error: Tensor) -> Tensor:
    """PSNR of a mean squared error on [0, 1]; NaN stays NaN."""
    return (-10 * torch.log10(mean_squared_error)).clamp(max=PSNR_LIMIT)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity (Wang et al., IEEE TIP 2004, eq. 13): (B, 3, H, W) in [0, 1] twice -> (B,).

    Gaussian window of 11x11 pixels, sigma 1.5, K1 0.01, K2 0.03, moments by the window's weights without the n - 1
    correction, per channel, mean over the positions where the whole window lies inside the image.

    Raises:
        ValueError: the shapes differ or a side is shorter than the window.
    """
    _check(first, second)
    height, width = first.shape[-2:]
    if min(height, width) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} pixels a side, got {tuple(first.shape)}")
    # The window is separable, so filtering is a product with one banded matrix from each side: at face sizes that is
    # several times as fast as a convolution with one channel.
    rows = _band(height).to(first)
    columns = _band(width).to(first).T.contiguous()
    stacked = torch.stack([first, second, first * first + second * second, first * second])
    mean_1, mean_2, squares, product = (rows @ stacked @ columns).unbind(0)
    c1, c2 = K1**2, K2**2
    mean_product = mean_1 * mean_2
    mean_squares = mean_1.square() + mean_2.square()
    luminance = (2 * mean_product + c1) / (mean_squares + c1)
    structure = (2 * (product - mean_product) + c2) / (squares - mean_squares + c2)
    return (luminance * structure).mean((1, 2, 3))


@lru_cache(maxsize=8)
def _band(size: int) -> Tensor:
    """(size - 10, size): row i holds the window's weights at columns i to i + 10."""
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-0.5 * (offset / SIGMA) ** 2)
    weights /= weights.sum()
    band = torch.zeros(size - WINDOW + 1, size, dtype=torch.float64)
    for row in range(len(band)):
        band[row, row : row + WINDOW] = weights
    return band


def _check(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(
            f"expected two batches (B, 3, H, W) of one shape, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
