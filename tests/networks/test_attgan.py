import pytest
import torch

from mimik.networks.attgan import Discriminator, Generator


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [({}, 43_459_203), ({"inject_layers": 0}, 43_352_707), ({"channels": 12}, 43_486_860)],
)
def test_generator_has_the_published_parameters(settings: dict[str, int], parameters: int) -> None:
    with torch.device("meta"):
        assert count(Generator(13, **settings)) == parameters  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "channels", "parameters"), [(128, 3, 44_718_990), (128, 12, 44_728_206), (256, 3, 145_382_286)]
)
def test_discriminator_has_the_published_parameters(size: int, channels: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(Discriminator(size, 13, channels=channels)) == parameters


def test_layers_are_those_of_table_3() -> None:
    """Widths in and out of every decoder layer, and of the last, for 13 attributes."""
    with torch.device("meta"):
        decoder = Generator(13).decoder
    shapes = [(layer[0].in_channels, layer[0].out_channels) for layer in list(decoder)[:-1]]  # type: ignore[index]
    assert shapes == [(1024 + 13, 1024), (1024 + 512 + 13, 512), (512, 256), (256, 128)]
    assert (decoder[-1].in_channels, decoder[-1].out_channels) == (128, 3)


@pytest.mark.parametrize("head", ["direct", "masked", "residual", "warped"])
def test_shapes_and_range(head: str) -> None:
    torch.manual_seed(0)
    generator = Generator(4, conv_dim=4, layers=3, shortcut_layers=2, inject_layers=2, seen_channels=2, head=head)  # type: ignore[arg-type]
    images, seen = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 2, 16, 16)
    edited, change = generator.edit(images, torch.eye(4)[:2], seen)
    assert edited.shape == images.shape and edited.abs().max() <= 1
    assert (change is None) == (head == "direct") and (change is None or change.shape == (2, 1, 16, 16))
    if head == "residual":
        assert torch.equal(edited, images)
    if head == "masked":
        assert change is not None and 0.1 < change.mean() < 0.9
    features = generator.encode(images, seen)
    assert [tuple(f.shape[1:]) for f in features] == [(4, 8, 8), (8, 4, 4), (16, 2, 2)]


def test_condition_reaches_the_output_from_the_code_and_from_the_injection() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    for injected in (0, 1):
        generator = Generator(4, conv_dim=4, layers=3, inject_layers=injected).eval()
        one, other = generator(images, torch.eye(4)[:2]), generator(images, torch.eye(4)[2:])
        assert (one - other).abs().max() > 1e-4


def test_as_many_shortcuts_as_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="3 layers"):
        Generator(4, layers=3, shortcut_layers=3)


def test_discriminator_outputs() -> None:
    critic = Discriminator(32, 4, conv_dim=4, layers=3, hidden=8, matching=5)
    realness, logits, matching = critic(torch.rand(2, 3, 32, 32))
    assert realness.shape == (2, 1, 1, 1) and logits.shape == (2, 1, 4)
    assert matching is not None and matching.shape == (2, 1, 5)
    assert critic.adversarial_outputs(32) == 6
    with pytest.raises(ValueError, match="48"):
        Discriminator(48, 8, layers=5)


@pytest.mark.parametrize("matching", [False, True])
def test_input_gradient_is_what_autograd_finds(matching: bool) -> None:
    """Value, and the gradient of a penalty on it, which autograd needs a second differentiation for."""
    torch.manual_seed(0)
    settings = {"conv_dim": 4, "layers": 3, "hidden": 8, "matching": 5, "norm": "none", "negative_slope": 0.1}
    critic = Discriminator(32, 5, **settings).double()  # type: ignore[arg-type]
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    features = critic.trunk(images).flatten(1)
    score = critic.realness_head(features).sum()
    if matching:
        score = score + critic.class_head(features)[:, 5:].sum()
    (expected,) = torch.autograd.grad(score, images, create_graph=True)
    found = critic.input_gradient(images, matching)
    torch.testing.assert_close(found, expected)
    weights = [m.weight for m in critic.modules() if isinstance(m, torch.nn.Conv2d)]
    weights += [critic.realness_head[0].weight, critic.realness_head[2].weight]
    ours, theirs = (
        torch.autograd.grad(((slope.flatten(1).norm(dim=1) - 1) ** 2).sum(), weights) for slope in (found, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
