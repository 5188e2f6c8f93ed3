import pytest
import torch
import torch.nn.functional as F

from mimik.networks.fusion import Fusion
from mimik.networks.stargan import Discriminator, Generator, Stem


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("classes", "parameters"), [(5, 8_430_528), (8, 8_439_936), (13, 8_455_616)])
def test_generator_has_the_published_parameters(classes: int, parameters: int) -> None:
    assert count(Generator(classes)) == parameters


@pytest.mark.parametrize(("units", "parameters"), [(13, 8_458_752), (17, 8_471_296)])
def test_a_masked_head_makes_it_the_generator_of_ganimation(units: int, parameters: int) -> None:
    assert count(Generator(units, head="masked")) == parameters


def test_discriminator_of_17_action_units_is_the_one_of_ganimation() -> None:
    assert count(Discriminator(128, 17)) == 44_860_352


def test_normal_initialisation_is_n_0_002_without_biases() -> None:
    generator = Generator(8, conv_dim=16, residual_blocks=1, initialisation="normal", stem="unshuffle")
    discriminator = Discriminator(32, 8, conv_dim=16, layers=3, initialisation="normal")
    for network in (generator, discriminator):
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
        weights = torch.cat([m.weight.detach().flatten() for m in layers])
        assert abs(float(weights.std()) - 0.02) < 5e-4 and abs(float(weights.mean())) < 5e-4
        assert not any(m.bias.any() for m in layers if m.bias is not None)


@pytest.mark.parametrize(
    ("size", "layers", "parameters"),
    [(256, 6, 44_983_232), (128, 6, 44_786_624), (64, 6, 44_737_472), (64, 5, 11_188_160), (64, 4, 2_826_688)],
)
def test_discriminator_has_the_published_parameters(size: int, layers: int, parameters: int) -> None:
    assert count(Discriminator(size, 8, layers=layers)) == parameters


def test_fusion_has_the_specified_parameters() -> None:
    assert count(Fusion()) == 361_280


def test_shapes() -> None:
    images, condition = torch.rand(2, 3, 32, 32) * 2 - 1, torch.eye(8)[:2]
    assert Generator(8, conv_dim=4, residual_blocks=1)(images, condition).shape == images.shape
    realness, logits, matching = Discriminator(32, 8, conv_dim=4, layers=4, matching=9)(images)
    assert realness.shape == (2, 1, 2, 2)
    assert logits.shape == (2, 1, 8)
    assert matching is not None and matching.shape == (2, 1, 9)
    assert Discriminator(32, 8, conv_dim=4, layers=4)(images)[2] is None


def test_discriminator_refuses_a_size_that_its_layers_do_not_divide() -> None:
    with pytest.raises(ValueError, match="48"):
        Discriminator(48, 8, layers=5)


@pytest.mark.parametrize(
    ("settings", "parameters"), [({"channels": 12}, 8_512_064), ({"seen_channels": 12}, 8_493_248)]
)
def test_generators_of_secgan_have_the_published_parameters(settings: dict[str, int], parameters: int) -> None:
    """The one of masks, and "Baseline + Concat", for 13 attributes."""
    with torch.device("meta"):
        assert count(Generator(13, **settings)) == parameters  # type: ignore[arg-type]
        assert count(Discriminator(128, 13, channels=12)) == 44_836_800


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
def test_seen_planes_change_the_edit_and_are_not_painted(stem: str) -> None:
    torch.manual_seed(0)
    generator = Generator(4, channels=5, seen_channels=2, conv_dim=4, residual_blocks=1, stem=stem, head="masked")  # type: ignore[arg-type]
    images, condition = torch.rand(2, 5, 16, 16), torch.eye(4)[:2]
    first, second = (generator.raw(images, condition, torch.full((2, 2, 16, 16), level)) for level in (0.0, 1.0))
    edited, change = generator.edit(images, condition, torch.zeros(2, 2, 16, 16))
    assert first.shape == (2, 1, 6, 16, 16) and edited.shape == images.shape
    assert change is not None and change.shape == (2, 1, 16, 16)
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
@pytest.mark.parametrize("head", ["direct", "masked", "residual", "warped"])
def test_grouped_generator_equals_separate_ones(stem: str, head: str) -> None:
    """Part p of a grouped network computes what a network of its own with the same weights computes."""
    torch.manual_seed(0)
    arguments = {"conv_dim": 4, "residual_blocks": 1, "stem": stem, "head": head}
    grouped = Generator(8, parts=3, **arguments)  # type: ignore[arg-type]
    images, condition = torch.rand(2, 9, 16, 16) * 2 - 1, torch.eye(8)[:2]
    together = grouped(images, condition)
    for part in range(3):
        single = Generator(8, **arguments)  # type: ignore[arg-type]
        state = {}
        for (name, own), value in zip(single.state_dict().items(), grouped.state_dict().values(), strict=True):
            # A transposed convolution has its inputs first; either way the first axis is split by part.
            width = value.shape[0] // 3
            state[name] = value[part * width : (part + 1) * width]
            assert state[name].shape == own.shape
        single.load_state_dict(state)
        alone = single(images[:, 3 * part : 3 * part + 3], condition)
        torch.testing.assert_close(together[:, 3 * part : 3 * part + 3], alone, atol=1e-5, rtol=1e-4)


def test_masked_head_blends_image_and_colour() -> None:
    torch.manual_seed(0)
    generator = Generator(8, conv_dim=4, residual_blocks=1, head="masked")
    images, condition = torch.rand(2, 3, 16, 16) * 2 - 1, torch.eye(8)[:2]
    edited, replaced = generator.edit(images, condition)
    assert replaced is not None and replaced.shape == (2, 1, 16, 16) and replaced.min() >= 0 and replaced.max() <= 1
    colour = (edited - (1 - replaced) * images) / replaced
    assert colour.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
def test_residual_head_starts_as_the_identity(stem: Stem) -> None:
    generator = Generator(8, conv_dim=4, residual_blocks=1, head="residual", stem=stem)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    edited, replaced = generator.edit(images, torch.eye(8)[:2])
    assert torch.equal(edited, images) and replaced is not None and replaced.max() == 0


def test_condition_changes_the_output() -> None:
    torch.manual_seed(0)
    generator = Generator(8, conv_dim=4, residual_blocks=1)
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    assert (generator(images, torch.eye(8)[:1]) - generator(images, torch.eye(8)[1:2])).abs().max() > 1e-4


@pytest.mark.parametrize("matching", [False, True])
def test_input_gradient_is_what_autograd_finds(matching: bool) -> None:
    """Value, and the gradient of a penalty on it, which autograd needs a second differentiation for."""
    torch.manual_seed(0)
    critic = Discriminator(32, 5, conv_dim=4, layers=3, parts=2, matching=5, negative_slope=0.1).double()
    images = torch.randn(3, 6, 32, 32, dtype=torch.float64, requires_grad=True)
    features = critic.trunk(images)
    score = critic.realness_head(features).sum()
    if matching:
        score = score + critic.class_head(features).view(3, 2, -1)[:, :, 5:].sum()
    (expected,) = torch.autograd.grad(score, images, create_graph=True)
    found = critic.input_gradient(images, matching)
    torch.testing.assert_close(found, expected)
    weights = [layer.weight for layer in critic.trunk if isinstance(layer, torch.nn.Conv2d)]
    weights.append(critic.realness_head.weight)
    ours, theirs = (
        torch.autograd.grad(((slope.flatten(1).norm(dim=1) - 1) ** 2).sum(), weights) for slope in (found, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_input_gradient_under_bf16_is_close() -> None:
    torch.manual_seed(0)
    critic = Discriminator(64, 8, conv_dim=16, layers=4)
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    exact = critic.input_gradient(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = critic.input_gradient(images).float()
    torch.testing.assert_close(rough.flatten(1).norm(dim=1), exact.flatten(1).norm(dim=1), rtol=0.01, atol=0)
    assert F.cosine_similarity(rough.flatten(1), exact.flatten(1)).min() > 0.98
