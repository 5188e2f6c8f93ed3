import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrally

from mimik.networks.ef_gan import Interpolator, PatchCritic, Refiner, UnitsCritic, normalised_once, prepare_hidden
from mimik.networks.stargan import Generator


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_networks_have_the_specified_parameters() -> None:
    assert count(Generator(17, head="masked")) == 8_471_296
    assert count(Refiner()) == 8_424_256
    local = 3 * 64 * 16 + 64 + 64 * 128 * 16 + 128 + 128 * 256 * 16 + 256 + 256 * 512 * 16 + 512 + 512 * 9
    assert count(PatchCritic(layers=4)) == local == 2_761_152
    # GANimation's discriminator, 44,860,352 parameters for 128 px and 17 action units, without their head.
    assert count(PatchCritic(layers=6)) == 44_860_352 - 17 * 2048 * 2 * 2
    assert count(Interpolator(17)) == 34 * 64 + 64 + 64 * 64 + 64 + 64 * 17 + 17
    assert count(UnitsCritic(17)) == 17 * 64 + 64 + 64 * 64 + 64 + 64 + 1


def test_shapes_and_ranges() -> None:
    face, canvas = torch.rand(2, 2, 3, 16, 24) * 2 - 1
    for refiner in (Refiner(4, 1), Refiner(4, 1, "masked")):
        refined = refiner(face, canvas)
        assert refined.shape == face.shape and refined.abs().max() <= 1
    assert torch.equal(Refiner(4, 1, "residual")(face, canvas), canvas)
    assert PatchCritic(conv_dim=4, layers=3).realness(face).shape == (2, 1, 2, 3)
    units = Interpolator(5)(torch.rand(2, 5), torch.randn(2, 5))
    assert units.shape == (2, 5) and units.min() >= 0 and units.max() <= 1
    assert UnitsCritic(5)(units).shape == (2, 1)


def test_the_refiner_sees_both_of_its_images() -> None:
    torch.manual_seed(0)
    refiner = Refiner(4, 1)
    face, canvas = (torch.rand(2, 2, 3, 16, 16) * 2 - 1).requires_grad_()
    for image in (face, canvas):
        (gradient,) = torch.autograd.grad(refiner(face, canvas).square().sum(), image)
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_hidden_layers_are_orthogonal_and_normalised_and_output_layers_are_not(spectral_norm: bool) -> None:
    torch.manual_seed(0)
    critic = PatchCritic(conv_dim=8, layers=3)
    head = critic.realness_head.weight.clone()
    prepare_hidden(critic, ("realness_head",), "orthogonal", spectral_norm)
    assert torch.equal(critic.realness_head.weight, head) and not parametrize.is_parametrized(critic.realness_head)
    for layer in critic.trunk:
        if not isinstance(layer, nn.Conv2d):
            continue
        assert parametrize.is_parametrized(layer) is spectral_norm
        rows = layer.weight.flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-3, rtol=0)
        with torch.no_grad():
            next(p for p in layer.parameters() if p.ndim == 4).mul_(7)
        for _ in range(30):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        torch.testing.assert_close(largest, torch.tensor(1.0 if spectral_norm else 7.0), atol=1e-2, rtol=0)


def test_normal_initialisation_has_its_deviation() -> None:
    torch.manual_seed(0)
    generator = Generator(5, conv_dim=16)
    last = generator.last.weight.clone()
    prepare_hidden(generator, ("last",), "normal", False)
    for module in (generator.encoder, generator.decoder):
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert 0.018 < float(layer.weight.detach().std()) < 0.022
    assert torch.equal(generator.last.weight, last)


def test_normalisation_changes_nothing_in_front_of_an_instance_norm() -> None:
    torch.manual_seed(0)
    refiner = Refiner(8, 1)
    face, canvas = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    for layer in refiner.body.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight)
    before = refiner(face, canvas)
    for layer in refiner.body.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            normalise_spectrally(layer)
    torch.testing.assert_close(refiner.eval()(face, canvas), before, atol=2e-3, rtol=0)


def test_input_gradient_of_a_normalised_critic_is_what_autograd_finds() -> None:
    """Value, and the gradient of a penalty on it with respect to the weights before they are normalised."""
    torch.manual_seed(0)
    critic = PatchCritic(conv_dim=4, layers=3, negative_slope=0.1).double()
    prepare_hidden(critic, ("realness_head",), "orthogonal", True)
    critic.eval()
    images = torch.randn(3, 3, 16, 24, dtype=torch.float64, requires_grad=True)
    with normalised_once(critic):
        (expected,) = torch.autograd.grad(critic.realness_head(critic.trunk(images)).sum(), images, create_graph=True)
        found = critic.input_gradient(images)
    torch.testing.assert_close(found, expected)
    # A bias moves no gradient of the images.
    weights = [value for name, value in critic.named_parameters() if not name.endswith("bias")]
    ours, theirs = (
        torch.autograd.grad(((slope.flatten(1).norm(dim=1) - 1) ** 2).sum(), weights, retain_graph=True)
        for slope in (found, expected)
    )
    assert len(weights) == 4
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_are_normalised_once_for_all_uses_and_in_single_precision() -> None:
    torch.manual_seed(0)
    critic = PatchCritic(conv_dim=4, layers=2)
    prepare_hidden(critic, ("realness_head",), "orthogonal", True)
    layers = [layer for layer in critic.trunk if isinstance(layer, nn.Conv2d)]
    calls: list[torch.dtype] = []
    for layer in layers:
        layer.parametrizations.weight[0].register_forward_hook(lambda *_: calls.append(_[2].dtype))  # type: ignore
    images = torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16), normalised_once(critic):
        critic.realness(images)
        critic.realness(images).sum().backward()
        critic.input_gradient(images)
    assert calls == [torch.float32] * len(layers)
    assert all(layer.parametrizations.weight.original.grad is not None for layer in layers)  # type: ignore
    critic.realness(images)
    assert len(calls) > len(layers), "outside of the block the weights are to follow the parameters"
