from itertools import pairwise

import pytest
import torch

from mimik.networks.icgan import Discriminator, Encoder, Generator


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_at_64_pixels() -> None:
    """Counted by hand from the layers of the authors' code, for their 18 attributes."""
    widths = [512, 256, 128, 64]
    generator = 118 * 512 * 16 + 3 * 512
    generator += sum(a * b * 16 + 3 * b for a, b in pairwise(widths))
    assert count(Generator(18)) == generator + 64 * 3 * 16 + 3
    critic = 3 * 64 * 16 + 64 + (64 + 18) * 128 * 16 + 3 * 128
    critic += 128 * 256 * 16 + 3 * 256 + 256 * 512 * 16 + 3 * 512 + 512 * 16 + 1
    assert count(Discriminator(18)) == critic
    convolutions = sum(a * b * 25 + 3 * b for a, b in ((3, 32), (32, 64), (64, 128), (128, 256)))
    assert count(Encoder(100)) == convolutions + 4096 * 4096 + 3 * 4096 + 4096 * 100 + 100
    assert count(Encoder(18, hidden=512)) == convolutions + 4096 * 512 + 3 * 512 + 512 * 18 + 18


@pytest.mark.parametrize("size", [16, 32, 64])
def test_shapes(size: int) -> None:
    image = Generator(5, size=size, noise_dim=7, conv_dim=4)(torch.randn(2, 7), torch.rand(2, 5))
    assert image.shape == (2, 3, size, size) and image.abs().max() <= 1
    assert Discriminator(5, size=size, conv_dim=4)(image, torch.rand(2, 5)).shape == (2,)
    assert Encoder(9, size=size, conv_dim=4)(image).shape == (2, 9)


@pytest.mark.parametrize("size", [8, 48, 0])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Generator(5, size=size)


def test_the_condition_matters_to_both() -> None:
    torch.manual_seed(0)
    noise, one, other = torch.randn(4, 7), torch.ones(4, 5), -torch.ones(4, 5)
    generator, critic = Generator(5, size=16, noise_dim=7, conv_dim=4), Discriminator(5, size=16, conv_dim=4)
    assert not torch.allclose(generator(noise, one), generator(noise, other))
    image = generator(noise, one)
    assert not torch.allclose(critic(image, one), critic(image, other))
