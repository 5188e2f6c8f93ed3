import pytest
import torch

from mimik.networks.cyclegan import Discriminator, Generator, one_part


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters() -> None:
    """The authors' 11,378,179 and 2,764,737, with two numbers instead of one for every normalised channel."""
    assert count(Generator(1)) == 11_383_427 == 11_378_179 + 64 + 128 + 256 + 9 * 512 + 128 + 64
    assert count(Generator(1, residual_blocks=6)) == 11_383_427 - 3 * 1_180_672
    assert count(Discriminator(1)) == 2_765_633 == 2_764_737 + 128 + 256 + 512


def test_a_patch_is_70_pixels() -> None:
    torch.manual_seed(0)
    critic = Discriminator(1, conv_dim=2)
    assert critic(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    # Instance normalisation sees the whole image; without it a realness depends on its patch alone.
    layers = [m for m in critic.network if not isinstance(m, torch.nn.InstanceNorm2d)]
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    torch.nn.Sequential(*layers)(images)[0, 0, 7, 7].backward()
    assert images.grad is not None
    seen = images.grad[0].abs().sum(0).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [70, 70]


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
@pytest.mark.parametrize("head", ["direct", "masked", "residual", "warped"])
def test_a_part_is_a_network_of_its_own(head: str, stem: str) -> None:
    torch.manual_seed(0)
    shape = {"conv_dim": 4, "residual_blocks": 1, "head": head, "stem": stem}
    together, alone = Generator(3, **shape), Generator(1, **shape)  # type: ignore[arg-type]
    for parameter in together.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # a residual head starts at zero
    images = torch.rand(2, 9, 16, 16) * 2 - 1
    edited = together(images)
    assert edited.shape == images.shape and edited.abs().max() <= 1
    for part in range(3):
        alone.load_state_dict(one_part(together.state_dict(), part, 3))
        own = slice(3 * part, 3 * part + 3)
        torch.testing.assert_close(edited[:, own], alone(images[:, own]), atol=1e-5, rtol=1e-4)
    critics, critic = Discriminator(3, conv_dim=4, layers=2), Discriminator(1, conv_dim=4, layers=2)
    critic.load_state_dict(one_part(critics.state_dict(), 1, 3))
    torch.testing.assert_close(critics(images)[:, 1:2], critic(images[:, 3:6]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
def test_residual_head_starts_as_the_identity(stem: str) -> None:
    images = torch.rand(2, 6, 16, 16) * 2 - 1
    assert torch.equal(Generator(2, conv_dim=4, residual_blocks=1, head="residual", stem=stem)(images), images)  # type: ignore[arg-type]
