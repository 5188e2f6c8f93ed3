"""Convolutions of many channels over few pixels, such as the last layers of a critic, as matrix products.

A processor's convolution kernels are made for many pixels. Where 1024 x 2048 kernels meet 4 x 4 pixels, a matrix
product takes less than half of their time. Same parameters, same results up to rounding. GPUs need none of this.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_WEIGHTS, MOST_PIXELS = 2**20, 512
"""A matrix product is used from so many weights on and up to so many output pixels of the whole batch. At 512 pixels
both ways take about the same time on a processor with bfloat16 instructions."""


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` (zero padding, no dilation) that is a matrix product where that is faster."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        side = [(length + 2 * padding - kernel) // stride + 1 for length in images.shape[2:]]
        if not _pays_off(images, self.weight, len(images) * side[0] * side[1]):
            return super().forward(images)
        dtype = _computed_in(images)
        product: Tensor = _Product.apply(
            images.to(dtype), _cast(self.weight, dtype), kernel, stride, padding, self.groups
        )
        return product if self.bias is None else product + self.bias.to(dtype).view(1, -1, 1, 1)


class _Product(torch.autograd.Function):
    """The convolution with both gradients written as products whose results lie in memory as the weights do."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, kernel: int, stride: int, padding: int, groups: int
    ) -> Tensor:
        batch, channels, *size = images.shape
        padded = F.pad(images, (padding,) * 4)
        # (B, groups, C / groups, H', W', k, k) -> (groups, B H' W', k k C / groups): channels last, like the weights.
        patches = padded.unfold(2, kernel, stride).unfold(3, kernel, stride).unflatten(1, (groups, channels // groups))
        height, width = patches.shape[3:5]
        rows = patches.permute(1, 0, 3, 4, 5, 6, 2).reshape(groups, batch * height * width, -1)
        ctx.save_for_backward(rows, weight)
        ctx.layout = (kernel, stride, padding, groups, (batch, height, width), size)
        out = torch.bmm(rows, _matrices(weight, groups).mT).view(groups, batch, height, width, -1)
        return out.permute(1, 0, 4, 2, 3).flatten(1, 2).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        kernel, stride, padding, groups, (batch, height, width), size = ctx.layout
        upstream = _rows(gradient, groups)
        to_images = to_weight = None
        if ctx.needs_input_grad[0]:
            columns = torch.bmm(upstream, _matrices(weight, groups))
            to_images = _fold(columns, (batch, height, width), size, kernel, stride, padding)
        if ctx.needs_input_grad[1]:
            product = torch.bmm(upstream.mT, rows).view(len(weight), kernel, kernel, -1)
            to_weight = product.permute(0, 3, 1, 2)
        return to_images, to_weight, None, None, None, None


def convolve_joined(convolution: nn.Conv2d, features: Tensor, images: Tensor) -> Tensor:
    """A convolution of features and images one after the other on the channel axis, which are not joined in memory.

    At full size joining them takes a processor longer than the convolution.

    Args:
        convolution: of stride 1 and zero padding; every group of it sees its share of the features, then its share of
            the images.
        features: (B, C, H, W).
        images: (B, C', H, W).

    Returns:
        (B, C'', H', W').
    """
    groups, padding = convolution.groups, int(convolution.padding[0])
    of_features, of_images = convolution.weight.split([x.shape[1] // groups for x in (features, images)], 1)
    return F.conv2d(features, of_features, convolution.bias, padding=padding, groups=groups) + F.conv2d(
        images, of_images, padding=padding, groups=groups
    )


def conv_transpose2d(images: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """`torch.nn.functional.conv_transpose2d` of square kernels; a matrix product where that is faster.

    Args:
        images: (B, C', H', W').
        weight: (C', C / groups, k, k).
        stride, padding, groups: like torch's.

    Returns:
        (B, C, H, W).
    """
    batch, _, height, width = images.shape
    if not _pays_off(images, weight, batch * height * width):
        return F.conv_transpose2d(images, weight, stride=stride, padding=padding, groups=groups)
    kernel, dtype = weight.shape[2], _computed_in(images)
    columns = torch.bmm(_rows(images.to(dtype), groups), _matrices(_cast(weight, dtype), groups))
    size = [(length - 1) * stride - 2 * padding + kernel for length in (height, width)]
    return _fold(columns, (batch, height, width), size, kernel, stride, padding)


@contextmanager
def shared_casts() -> Iterator[None]:
    """Within the block, cast a weight to autocast's type once for all of its uses, as autocast does for torch's layers.

    For one evaluation of a loss: weights must not change inside.
    """
    token = _casts.set({})
    try:
        yield
    finally:
        _casts.reset(token)


_casts: ContextVar[dict[tuple[int, bool], Tensor] | None] = ContextVar("casts", default=None)


def _cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    casts = _casts.get()
    if casts is None or weight.dtype == dtype:
        return weight.to(dtype)
    # What was cast without a graph must not stand in for what needs one; the other way round is fine.
    with_graph = (id(weight), True) in casts or torch.is_grad_enabled()
    key = (id(weight), with_graph)
    if key not in casts:
        casts[key] = weight.to(dtype)
    return casts[key]


def _rows(images: Tensor, groups: int) -> Tensor:
    """(B, C, H, W) -> (groups, B H W, C / groups)."""
    rows: Tensor = images.unflatten(1, (groups, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)
    return rows


def _fold(
    columns: Tensor, grid: tuple[int, int, int], size: Sequence[int], kernel: int, stride: int, padding: int
) -> Tensor:
    """Sum patches (groups, B H' W', k k C / groups) on the grid (B, H', W') into images (B, C, *size)."""
    batch, height, width = grid
    patches = columns.view(len(columns), batch, height * width, kernel * kernel, -1).permute(1, 0, 4, 3, 2)
    folded: Tensor = F.fold(
        patches.reshape(batch, -1, height * width), tuple(size), kernel, padding=padding, stride=stride
    )
    return folded.contiguous(memory_format=torch.channels_last)


def _computed_in(images: Tensor) -> torch.dtype:
    """What autocast would compute in; the images' own type without it."""
    kind = images.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype


def _matrices(weight: Tensor, groups: int) -> Tensor:
    """(C', C / groups, k, k) -> (groups, C' / groups, k * k * C / groups), without a copy where channels are last."""
    return weight.permute(0, 2, 3, 1).reshape(groups, weight.shape[0] // groups, -1)


def _pays_off(images: Tensor, weight: Tensor, pixels: int) -> bool:
    return images.device.type == "cpu" and weight.numel() >= LEAST_WEIGHTS and pixels <= MOST_PIXELS
