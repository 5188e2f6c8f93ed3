import pytest
import torch

from mimik.networks.msf_unet import ExchangeFusion, Generator, TextFusion


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("units", "parameters"), [(17, 57_632_768), (13, 57_524_736)])
def test_generator_has_the_published_parameters(units: int, parameters: int) -> None:
    assert count(Generator(units)) == parameters


def test_modules_have_the_specified_parameters() -> None:
    """skip3, skip2, skip1 of the layer table: 26.4, 9.6 and 2.4 million."""
    assert [count(module) for module in Generator(17).fusions] == [26_437_120, 9_647_360, 2_439_808]


@pytest.mark.parametrize(("k_msf", "parameters"), [(0, 19_108_480), (1, 45_545_600), (2, 55_192_960)])
def test_fewer_modules_leave_out_the_shallow_ones(k_msf: int, parameters: int) -> None:
    network = Generator(17, k_msf=k_msf)
    assert count(network) == parameters
    assert len(network.fusions) == k_msf


def test_width_doubles_up_to_the_greatest() -> None:
    network = Generator(5, conv_dim=4, max_conv_dim=16)
    assert [network.down2[0].out_channels, network.down3[0].out_channels, network.down4[0].out_channels] == [16, 16, 16]


@pytest.mark.parametrize("fusing", ["exchange", "text"])
@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
@pytest.mark.parametrize("head", ["direct", "masked", "residual", "warped"])
def test_output_is_an_image_and_every_parameter_matters(fusing: str, stem: str, head: str) -> None:
    torch.manual_seed(0)
    network = Generator(5, conv_dim=4, max_conv_dim=16, fusing=fusing, stem=stem, head=head)  # type: ignore[arg-type]
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    if head == "residual":
        assert torch.equal(network(images, torch.rand(2, 5)), images), "the residual head starts as identity"
        torch.nn.init.normal_(network.last.weight, std=0.05)
    edited, change = network.edit(images, torch.rand(2, 5))
    assert edited.shape == images.shape and edited.min() >= -1 and edited.max() <= 1
    assert (change is None) is (head == "direct")
    edited.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("k_msf", [0, 1, 2, 3])
def test_the_condition_enters_at_the_bottleneck_and_in_every_module(k_msf: int) -> None:
    network = Generator(5, conv_dim=4, max_conv_dim=16, k_msf=k_msf)
    # Every convolution with five inputs more than its width is told the condition: 16 + 5 or 8 + 5 channels.
    told = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.in_channels in (21, 13)]
    assert len(told) == 1 + k_msf
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network(images, torch.zeros(1, 5)), network(images, torch.ones(1, 5)))


def test_a_plain_skip_carries_the_encoders_features() -> None:
    """Without modules the decoder's inputs at each scale end with what the encoder made there."""
    torch.manual_seed(0)
    network = Generator(5, conv_dim=4, max_conv_dim=16, k_msf=0).eval()
    seen = {}
    for name in ("first", "down2", "down3"):
        network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    for name in ("up1", "up2", "up3"):
        network.get_submodule(name).register_forward_pre_hook(lambda _m, x, name=name: seen.update({name: x[0]}))
    network(torch.rand(1, 3, 32, 32), torch.rand(1, 5))
    for up, encoded in (("up3", "down3"), ("up2", "down2"), ("up1", "first")):
        channels = seen[encoded].shape[1]
        assert torch.equal(seen[up][:, -channels:], seen[encoded])


def test_modules_fuse_from_the_bottom_up() -> None:
    """Each module gets what the one below made (the deepest one: the bottleneck), and the decoder gets what it made."""
    network = Generator(5, conv_dim=4, max_conv_dim=16)
    inputs, outputs = [], []
    for module in network.fusions:
        module.register_forward_pre_hook(lambda _m, x: inputs.append(x))
        module.register_forward_hook(lambda _m, _x, out: outputs.append(out))
    bottom = []
    network.bottleneck.register_forward_hook(lambda _m, _x, out: bottom.append(out))
    network(torch.rand(1, 3, 32, 32), torch.rand(1, 5))
    assert torch.equal(inputs[0][1], bottom[0])
    assert torch.equal(inputs[1][1], outputs[0]) and torch.equal(inputs[2][1], outputs[1])
    assert [out.shape[2] for out in outputs] == [4, 8, 16]


@pytest.mark.parametrize("module", [ExchangeFusion, TextFusion])
def test_a_module_sees_both_scales_and_the_condition(module: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    fusion = module(6, 10, 3)
    inputs = [torch.randn(2, 6, 8, 8), torch.randn(2, 10, 4, 4), torch.rand(2, 3)]
    for tensor in inputs:
        tensor.requires_grad_()
    out = fusion(*inputs)
    assert out.shape == (2, 6, 8, 8)
    (out * torch.randn_like(out)).sum().backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 1e-6 for tensor in inputs)


def test_convolutions_start_as_in_the_authors_code() -> None:
    network = Generator(17, k_msf=1)
    weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, torch.nn.Conv2d)])
    assert abs(float(weights.detach().std()) - 0.02) < 1e-4


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="k_msf"):
        Generator(17, conv_dim=4, k_msf=4)
    with pytest.raises(ValueError, match="multiples of 16"):
        Generator(3, conv_dim=4, max_conv_dim=8)(torch.rand(1, 3, 40, 40), torch.rand(1, 3))
