import pytest
import torch

from mimik.networks.bisenet import AttentionRefinement, BiSeNet


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_of_the_published_network():
    network = BiSeNet(19)
    assert count(network) == 13_300_416
    assert count(network.context) == 12_456_256
    assert count(network.context.resnet) == 11_176_512
    assert count(network.fusion) == 98_816
    assert count(network.main) == 595_200
    assert count(network.aux16) == count(network.aux32) == 75_072


@pytest.mark.parametrize("side", [64, 72])
def test_shapes_of_features_and_logits(side):
    network = BiSeNet(5, width=8).eval()
    images = torch.randn(2, 3, side, side)
    eighth, sixteenth, last = network.context.resnet(images)
    assert eighth.shape == (2, 16, side // 8, side // 8)
    assert sixteenth.shape[1:] == (32, -(-side // 16), -(-side // 16))
    assert last.shape[1:] == (64, -(-side // 32), -(-side // 32))
    assert [tuple(part.shape) for part in network.all_logits(images, (side, side))] == [(2, 5, side, side)] * 3


def test_main_logits_alone_are_those_of_all_heads():
    network = BiSeNet(5, width=8).eval()
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network(images, (64, 64)), network.all_logits(images, (64, 64))[0])


def test_auxiliary_heads_are_not_computed_when_unused():
    network = BiSeNet(5, width=8).eval()
    for head in (network.aux16, network.aux32):
        head.register_forward_hook(lambda *_: pytest.fail("an auxiliary head ran"))
    network(torch.randn(1, 3, 64, 64), (64, 64))


def test_gradients_reach_every_parameter_and_the_image():
    network = BiSeNet(5, width=8)
    images = torch.randn(2, 3, 64, 64, requires_grad=True)
    sum(part.square().sum() for part in network.all_logits(images, (64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert images.grad.abs().sum() > 0


def test_upsampling_aligns_corners():
    network = BiSeNet(2, width=8).eval()
    images = torch.randn(1, 3, 64, 64)
    eighth, context8, _ = network.context(images)
    small = network.main(network.fusion(eighth, context8))
    large = network(images, (64, 64))
    torch.testing.assert_close(large[..., 0, 0], small[..., 0, 0])
    torch.testing.assert_close(large[..., -1, -1], small[..., -1, -1])


def test_attention_scales_channels_by_a_factor_below_one():
    module = AttentionRefinement(4, 6).eval()
    features = torch.randn(2, 4, 5, 5)
    plain, refined = module.conv(features), module(features)
    factor = refined.sum((2, 3)) / plain.sum((2, 3))
    torch.testing.assert_close(refined, plain * factor[..., None, None])
    assert ((factor > 0) & (factor < 1)).all()
