"""Methods that can say where their edits take their pixels from: `displacements` agrees with `translate`."""

from types import ModuleType
from typing import Any

import pytest
import torch

from mimik.methods import attgan, gannotation, relative_au, stargan
from mimik.networks.heads import warp
from mimik.settings.configuration import build
from tests.methods.world import make_batch, make_context, states

SMALL: dict[ModuleType, dict[str, Any]] = {
    stargan: {"conv_dim": 4, "residual_blocks": 1, "see_masks": True},
    attgan: {"conv_dim": 4, "layers": 3, "see_masks": True},
    relative_au: {"conv_dim": 4},
    gannotation: {"conv_dim": 4, "residual_blocks": 1},
}


def make(module: ModuleType, head: str) -> Any:
    torch.manual_seed(0)
    settings = {**SMALL[module], "head": head, "adversary": {"conv_dim": 4, "layers": 2}}
    method = module.Method(build(module.Config, settings, "test"), make_context(**module.CONDITION)).eval()
    if module is gannotation:
        method.class_landmarks.copy_(torch.rand_like(method.class_landmarks))
    return method


def last(method: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight of the generator's last convolution, its outputs first, and its bias."""
    layers = [m for m in method.generator.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    weight: torch.Tensor = layers[-1].weight.transpose(0, 1) if layers[-1].transposed else layers[-1].weight
    assert len(weight) == 6
    return weight, layers[-1].bias


@torch.no_grad()
@pytest.mark.parametrize("module", SMALL)
def test_the_edit_is_painted_over_what_was_moved(module: ModuleType) -> None:
    method, batch = make(module, "warped"), make_batch()
    images, (source, target) = batch["image"], states(method, batch)
    moves = method.displacements(images, source, target)
    assert moves.shape == (8, 2, 32, 32) and not moves.any()  # it starts without motion
    weight, bias = last(method)
    weight[:4], weight[4:] = 0, torch.randn_like(weight[4:])
    if bias is not None:
        bias.zero_()
    moves = method.displacements(images, source, target)
    assert moves.abs().max() > 0.01
    # Half of every pixel is replaced, by grey.
    torch.testing.assert_close(method.translate(images, source, target), warp(images, moves) / 2)


@torch.no_grad()
@pytest.mark.parametrize("module", SMALL)
def test_a_head_that_does_not_move_says_so_without_a_pass(module: ModuleType) -> None:
    method, batch = make(module, "masked"), make_batch()
    for layer in method.generator.modules():
        layer.register_forward_hook(lambda layer, *_: pytest.fail(f"{layer} was computed"))
    assert method.displacements(batch["image"], *states(method, batch)) is None
