"""Normalisation: of inputs to the statistics that a network was designed for, and of instances inside a network."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.networks.constants import constant

Normalisation = Literal["imagenet", "half"]

STATISTICS: Mapping[Normalisation, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation (RGB, of values in [0, 1])."""


def normalise(images: Tensor, normalisation: Normalisation) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> ((x + 1) / 2 - mean) / deviation."""
    mean, deviation = (
        constant(values, images.dtype, images.device).view(1, 3, 1, 1) for values in STATISTICS[normalisation]
    )
    return ((images + 1) / 2 - mean) / deviation


class InstanceNorm(nn.InstanceNorm2d):
    """Affine instance normalisation without running statistics that keeps `channels_last` on a CPU.

    Torch's own goes through the plain memory format there, which costs the convolutions around it all that
    `channels_last` saves them: at 256 px it takes four times as long and undoes a fifth of every convolution.
    On a GPU it does so too (a third of a step's time went into copies), and hands the plain format on even where it is
    compiled: there it is written out, and the compiler joins it with what stands around it.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and format; mean 0, deviation 1 per image and channel, then affine."""
        if features.device.type == "cpu" and _is_channels_last(features) and not torch.compiler.is_compiling():
            out: Tensor = _ChannelsLastInstanceNorm.apply(features, self.weight, self.bias, self.eps)
            return out
        if features.device.type == "cuda" and torch.compiler.is_compiling():
            return _written_out(features, self.weight, self.bias, self.eps)
        return F.instance_norm(features, None, None, self.weight, self.bias, eps=self.eps)


def instance_norm(channels: int) -> InstanceNorm:
    """The instance normalisation of the generators: affine, without running statistics."""
    return InstanceNorm(channels, affine=True, track_running_stats=False)


def _written_out(features: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    variance, mean = torch.var_mean(features.float(), (2, 3), correction=0, keepdim=True)
    scale = weight.view(1, -1, 1, 1) * torch.rsqrt(variance + eps)
    return ((features - mean) * scale + bias.view(1, -1, 1, 1)).to(features.dtype)


def _is_channels_last(features: Tensor) -> bool:
    return features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous()


class _ChannelsLastInstanceNorm(torch.autograd.Function):
    """Instance normalisation as batch normalisation of one image after the other: those kernels know channels_last."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        out = torch.empty_like(features)
        means = features.new_empty((len(features), features.shape[1]), dtype=weight.dtype)
        inverse_deviations = torch.empty_like(means)
        for index in range(len(features)):
            one = slice(index, index + 1)
            torch.ops.aten.native_batch_norm.out(
                features[one], weight, bias, None, None, True, 0.0, eps,
                out=out[one], save_mean=means[index], save_invstd=inverse_deviations[index],
            )  # fmt: skip
        ctx.save_for_backward(features, weight, means, inverse_deviations)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, weight, means, inverse_deviations = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_features = torch.empty_like(features)
        to_weights, to_biases = torch.empty_like(means), torch.empty_like(means)
        for index in range(len(features)):
            one = slice(index, index + 1)
            torch.ops.aten.native_batch_norm_backward.out(
                gradient[one], features[one], weight, None, None,
                means[index], inverse_deviations[index], True, ctx.eps, [True, True, True],
                out0=to_features[one], out1=to_weights[index], out2=to_biases[index],
            )  # fmt: skip
        return to_features, to_weights.sum(0), to_biases.sum(0), None
