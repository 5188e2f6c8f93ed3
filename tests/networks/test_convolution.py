from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mimik.networks import convolution
from mimik.networks.convolution import Conv2d, conv_transpose2d, convolve_joined, shared_casts


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers are products too, or the tests would compare torch with itself."""
    monkeypatch.setattr(convolution, "LEAST_WEIGHTS", 1)


LAYERS = [(6, 8, 4, 2, 1, 1), (6, 8, 4, 2, 1, 2), (4, 12, 3, 1, 1, 4), (4, 4, 3, 2, 0, 1)]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_values_and_gradients_are_those_of_torch(layer: tuple[int, ...], channels_last: bool) -> None:
    torch.manual_seed(0)
    inputs, outputs, kernel, stride, padding, groups = layer
    arguments: dict[str, Any] = {"stride": stride, "padding": padding, "groups": groups}
    plain = nn.Conv2d(inputs, outputs, kernel, **arguments).double()
    ours = Conv2d(inputs, outputs, kernel, **arguments).double()
    ours.load_state_dict(plain.state_dict())
    if channels_last:
        ours.to(memory_format=torch.channels_last)
    images = torch.randn(3, inputs, 9, 7, dtype=torch.float64)
    seen = []
    for network in (plain, ours):
        own = images.clone().requires_grad_()
        out = network(own)
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        seen.append([out, own.grad, network.weight.grad, network.bias.grad])
    for expected, found in zip(*seen, strict=True):
        torch.testing.assert_close(found, expected)
    if channels_last:
        # Adam walks weights and gradients together; unlike layouts would cost it a scattered pass.
        assert ours.weight.grad.stride() == ours.weight.stride()


@pytest.mark.parametrize("layer", LAYERS)
def test_the_transposed_one_is_that_of_torch(layer: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    inputs, outputs, kernel, stride, padding, groups = layer
    images = torch.randn(2, outputs, 3, 4, dtype=torch.float64)
    seen = []
    for function in (F.conv_transpose2d, conv_transpose2d):
        weight = torch.ones(outputs, inputs // groups, kernel, kernel, dtype=torch.float64)
        weight = (weight * torch.arange(weight.numel()).view_as(weight)).requires_grad_()
        out = function(images, weight, stride=stride, padding=padding, groups=groups)  # type: ignore[operator]
        out.pow(2).sum().backward()
        seen.append([out, weight.grad])
    for expected, found in zip(*seen, strict=True):
        torch.testing.assert_close(found, expected)


def test_autocast_computes_in_its_own_type() -> None:
    network, images = Conv2d(4, 8, 3), torch.randn(2, 4, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(images)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), network(images), atol=0.05, rtol=0.05)


def test_shared_casts_keep_every_gradient() -> None:
    network, images = Conv2d(4, 8, 3), torch.randn(2, 4, 6, 6)

    def gradient() -> torch.Tensor:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                network(images)
            out = network(images)
            back = conv_transpose2d(out, network.weight, 1, 0, 1)
        (out.float().sum() + back.float().pow(2).sum()).backward()
        assert network.weight.grad is not None
        return network.weight.grad.clone()

    alone = gradient()
    with shared_casts():
        together = gradient()
    torch.testing.assert_close(together, alone, rtol=0.02, atol=0.02 * float(alone.abs().max()))


@pytest.mark.parametrize("groups", [1, 4])
def test_what_is_convolved_joined_is_what_one_would_join(groups: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(7 * groups, 6 * groups, 3, 1, 1, groups=groups)
    features, images = (torch.randn(2, c * groups, 8, 10, requires_grad=True) for c in (4, 3))
    own = convolve_joined(convolution, features, images)
    shares = [x.unflatten(1, (groups, -1)) for x in (features, images)]
    expected = convolution(torch.cat(shares, 2).flatten(1, 2))
    torch.testing.assert_close(own, expected)
    upstream, inputs = torch.randn_like(own), [features, images, convolution.weight, convolution.bias]
    for ours, torchs in zip(*(torch.autograd.grad(x, inputs, upstream) for x in (own, expected)), strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-5)
