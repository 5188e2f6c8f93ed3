"""Weights of the released names and shapes, drawn by chance, and what networks of them compute, layer by layer.

Written from the layer tables, with torch's functions only: nothing of mimik's networks is used here.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def drawn(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
            state[name] = 0.5 + torch.rand(shape, generator=random)
        else:
            fan_in = max(1, torch.Size(shape[1:]).numel())
            state[name] = torch.randn(shape, generator=random) * (2 / fan_in) ** 0.5
    return state


def norm_shapes(name: str, channels: int) -> Shapes:
    four = {f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return {**four, f"{name}.num_batches_tracked": ()}


def batch_norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    of = [state[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *of, training=False, eps=1e-5)


# ------------------------------------------------------------------------------------------------------------ StarGAN


def stargan_shapes(labels: int, width: int = 64, blocks: int = 6) -> Shapes:
    shapes: Shapes = {"main.0.weight": (width, 3 + labels, 7, 7), **norm_shapes("main.1", width)}
    shapes |= {"main.3.weight": (2 * width, width, 4, 4), **norm_shapes("main.4", 2 * width)}
    shapes |= {"main.6.weight": (4 * width, 2 * width, 4, 4), **norm_shapes("main.7", 4 * width)}
    for block in range(9, 9 + blocks):
        for layer in (0, 3):
            shapes[f"main.{block}.main.{layer}.weight"] = (4 * width, 4 * width, 3, 3)
            shapes |= norm_shapes(f"main.{block}.main.{layer + 1}", 4 * width)
    up = 9 + blocks
    shapes |= {f"main.{up}.weight": (4 * width, 2 * width, 4, 4), **norm_shapes(f"main.{up + 1}", 2 * width)}
    shapes |= {f"main.{up + 3}.weight": (2 * width, width, 4, 4), **norm_shapes(f"main.{up + 4}", width)}
    return shapes | {f"main.{up + 6}.weight": (3, width, 7, 7)}


def stargan_forward(state: dict[str, Tensor], images: Tensor, labels: Tensor, blocks: int = 6) -> Tensor:
    """As the released code tests: in training mode, so with the statistics of each image."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        scale, bias = (state[f"{name}.{kind}"][None, :, None, None] for kind in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + bias

    planes = labels[:, :, None, None].expand(-1, -1, *images.shape[2:])
    x = torch.cat([images, planes], 1)
    for layer, (stride, padding) in ((0, (1, 3)), (3, (2, 1)), (6, (2, 1))):
        x = norm(F.conv2d(x, state[f"main.{layer}.weight"], None, stride, padding), f"main.{layer + 1}").relu()
    for block in range(9, 9 + blocks):
        y = norm(F.conv2d(x, state[f"main.{block}.main.0.weight"], padding=1), f"main.{block}.main.1").relu()
        x = x + norm(F.conv2d(y, state[f"main.{block}.main.3.weight"], padding=1), f"main.{block}.main.4")
    for layer in (9 + blocks, 12 + blocks):
        x = norm(F.conv_transpose2d(x, state[f"main.{layer}.weight"], None, 2, 1), f"main.{layer + 1}").relu()
    return F.conv2d(x, state[f"main.{15 + blocks}.weight"], padding=3).tanh()


# ------------------------------------------------------------------------------------------------------------- AttGAN


def attgan_shapes(labels: int, width: int = 64, inject: int = 1) -> Shapes:
    """Five layers, one shortcut."""
    wide = [min(width * 2**layer, 1024) for layer in range(5)]
    shapes: Shapes = {}
    for layer, (before, after) in enumerate(zip([3, *wide], wide, strict=False)):
        shapes[f"enc_layers.{layer}.layers.0.weight"] = (after, before, 4, 4)
        shapes |= norm_shapes(f"enc_layers.{layer}.layers.1", after)
    before = wide[-1] + labels
    for layer, after in enumerate(reversed(wide)):
        if layer < 4:
            shapes[f"dec_layers.{layer}.layers.0.weight"] = (before, after, 4, 4)
            shapes |= norm_shapes(f"dec_layers.{layer}.layers.1", after)
            before = after + (after // 2 if layer < 1 else 0) + (labels if layer < inject else 0)
    return shapes | {"dec_layers.4.layers.0.weight": (before, 3, 4, 4), "dec_layers.4.layers.0.bias": (3,)}


def attgan_forward(state: dict[str, Tensor], images: Tensor, told: Tensor, inject: int = 1) -> Tensor:
    def joined(x: Tensor) -> Tensor:
        return torch.cat([x, told[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

    features, x = [], images
    for layer in range(5):
        x = F.conv2d(x, state[f"enc_layers.{layer}.layers.0.weight"], None, 2, 1)
        x = F.leaky_relu(batch_norm(state, f"enc_layers.{layer}.layers.1", x), 0.01)
        features.append(x)
    x = joined(x)
    for layer in range(4):
        x = F.conv_transpose2d(x, state[f"dec_layers.{layer}.layers.0.weight"], None, 2, 1)
        x = batch_norm(state, f"dec_layers.{layer}.layers.1", x).relu()
        if layer < 1:
            x = torch.cat([x, features[3 - layer]], 1)
        if layer < inject:
            x = joined(x)
    last = "dec_layers.4.layers.0"
    return F.conv_transpose2d(x, state[f"{last}.weight"], state[f"{last}.bias"], 2, 1).tanh()


# ------------------------------------------------------------------------------------------------------------ BiSeNet


def _conv_bn(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    return {f"{name}.conv.weight": (outputs, inputs, kernel, kernel), **norm_shapes(f"{name}.bn", outputs)}


def bisenet_shapes(classes: int = 19) -> Shapes:
    shapes: Shapes = {"cp.resnet.conv1.weight": (64, 3, 7, 7), **norm_shapes("cp.resnet.bn1", 64)}
    for stage, (before, after) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), 1):
        for block, inputs in ((0, before), (1, after)):
            name = f"cp.resnet.layer{stage}.{block}"
            shapes |= {f"{name}.conv1.weight": (after, inputs, 3, 3), **norm_shapes(f"{name}.bn1", after)}
            shapes |= {f"{name}.conv2.weight": (after, after, 3, 3), **norm_shapes(f"{name}.bn2", after)}
            if inputs != after:
                shapes[f"{name}.downsample.0.weight"] = (after, inputs, 1, 1)
                shapes |= norm_shapes(f"{name}.downsample.1", after)
    for arm, inputs in (("arm16", 256), ("arm32", 512)):
        shapes |= _conv_bn(f"cp.{arm}.conv", inputs, 128, 3)
        shapes |= {f"cp.{arm}.conv_atten.weight": (128, 128, 1, 1), **norm_shapes(f"cp.{arm}.bn_atten", 128)}
    shapes |= _conv_bn("cp.conv_head32", 128, 128, 3) | _conv_bn("cp.conv_head16", 128, 128, 3)
    shapes |= _conv_bn("cp.conv_avg", 512, 128, 1) | _conv_bn("ffm.convblk", 256, 256, 1)
    shapes |= {"ffm.conv1.weight": (64, 256, 1, 1), "ffm.conv2.weight": (256, 64, 1, 1)}
    for head, inputs, middle in (("conv_out", 256, 256), ("conv_out16", 128, 64), ("conv_out32", 128, 64)):
        shapes |= _conv_bn(f"{head}.conv", inputs, middle, 3)
        shapes[f"{head}.conv_out.weight"] = (classes, middle, 1, 1)
    return shapes


def bisenet_forward(state: dict[str, Tensor], normalised: Tensor) -> list[Tensor]:
    """Logits of the three heads at the size of the input."""

    def block(x: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        return batch_norm(state, f"{name}.bn", F.conv2d(x, state[f"{name}.conv.weight"], None, stride, padding)).relu()

    def attended(x: Tensor, name: str) -> Tensor:
        x = block(x, f"{name}.conv")
        mean = F.conv2d(x.mean((2, 3), keepdim=True), state[f"{name}.conv_atten.weight"])
        return x * batch_norm(state, f"{name}.bn_atten", mean).sigmoid()

    x = F.conv2d(normalised, state["cp.resnet.conv1.weight"], None, 2, 3)
    x = F.max_pool2d(batch_norm(state, "cp.resnet.bn1", x).relu(), 3, 2, 1)
    stages = []
    for stage in range(1, 5):
        for number in range(2):
            name = f"cp.resnet.layer{stage}.{number}"
            stride = 2 if stage > 1 and number == 0 else 1
            y = batch_norm(state, f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"], None, stride, 1)).relu()
            y = batch_norm(state, f"{name}.bn2", F.conv2d(y, state[f"{name}.conv2.weight"], None, 1, 1))
            if f"{name}.downsample.0.weight" in state:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], None, stride)
                x = batch_norm(state, f"{name}.downsample.1", x)
            x = (x + y).relu()
        stages.append(x)
    _, eighth, sixteenth, last = stages
    mean = block(last.mean((2, 3), keepdim=True), "cp.conv_avg", padding=0)
    deep = F.interpolate(attended(last, "cp.arm32") + mean, sixteenth.shape[2:])
    deep = block(deep, "cp.conv_head32")
    middle = F.interpolate(attended(sixteenth, "cp.arm16") + deep, eighth.shape[2:])
    middle = block(middle, "cp.conv_head16")
    fused = block(torch.cat([eighth, middle], 1), "ffm.convblk", padding=0)
    weight = F.conv2d(fused.mean((2, 3), keepdim=True), state["ffm.conv1.weight"]).relu()
    fused = fused + fused * F.conv2d(weight, state["ffm.conv2.weight"]).sigmoid()
    heads = []
    for name, features in (("conv_out", fused), ("conv_out16", middle), ("conv_out32", deep)):
        logits = F.conv2d(block(features, f"{name}.conv"), state[f"{name}.conv_out.weight"])
        heads.append(F.interpolate(logits, normalised.shape[2:], mode="bilinear", align_corners=True))
    return heads


# -------------------------------------------------------------------------------------------------------------- U-Net


def _double(name: str, inputs: int, outputs: int) -> Shapes:
    shapes: Shapes = {}
    for part, before in (("conv1", inputs), ("conv2", outputs)):
        shapes |= {f"{name}.{part}.0.weight": (outputs, before, 3, 3), f"{name}.{part}.0.bias": (outputs,)}
        shapes |= norm_shapes(f"{name}.{part}.1", outputs)
    return shapes


def unet_shapes(classes: int = 19, width: int = 16) -> Shapes:
    wide = [width * 2**level for level in range(5)]
    shapes: Shapes = {}
    for level, (before, after) in enumerate(zip([3, *wide], wide, strict=False), 1):
        shapes |= _double("center" if level == 5 else f"conv{level}", before, after)
    for level in range(4, 0, -1):
        name, inputs, outputs = f"up_concat{level}", wide[level], wide[level - 1]
        shapes |= _double(f"{name}.conv", inputs, outputs)
        shapes |= {f"{name}.up.weight": (inputs, outputs, 2, 2), f"{name}.up.bias": (outputs,)}
    return shapes | {"final.weight": (classes, width, 1, 1), "final.bias": (classes,)}


def unet_forward(state: dict[str, Tensor], normalised: Tensor) -> Tensor:
    def double(x: Tensor, name: str) -> Tensor:
        for part in ("conv1", "conv2"):
            x = F.conv2d(x, state[f"{name}.{part}.0.weight"], state[f"{name}.{part}.0.bias"], padding=1)
            x = batch_norm(state, f"{name}.{part}.1", x).relu()
        return x

    skipped, x = [], normalised
    for level in range(1, 5):
        skipped.append(double(x, f"conv{level}"))
        x = F.max_pool2d(skipped[-1], 2)
    x = double(x, "center")
    for level in range(4, 0, -1):
        name = f"up_concat{level}"
        raised = F.conv_transpose2d(x, state[f"{name}.up.weight"], state[f"{name}.up.bias"], 2)
        x = double(torch.cat([skipped[level - 1], raised], 1), f"{name}.conv")
    return F.conv2d(x, state["final.weight"], state["final.bias"])


def count(shapes: Shapes, besides: Sequence[str] = ("running_mean", "running_var", "num_batches_tracked")) -> int:
    """Number of trained weights."""
    return sum(torch.Size(shape).numel() for name, shape in shapes.items() if name.rpartition(".")[2] not in besides)
