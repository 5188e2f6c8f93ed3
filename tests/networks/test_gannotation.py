import pytest
import torch

from mimik.networks.gannotation import LandmarkGenerator, heatmaps


def test_parameters() -> None:
    """StarGAN's 8,430,528 with 5 classes, and 63 more planes for 64 kernels of 7 x 7."""
    counted = sum(parameter.numel() for parameter in LandmarkGenerator().parameters())
    assert counted == 8_628_096 == 8_430_528 + 63 * 64 * 49


def test_heatmaps_are_gaussians_round_their_landmarks() -> None:
    landmarks = torch.tensor([[[0.5 / 8, 3.5 / 8], [0.5, 0.5]]])
    maps = heatmaps(landmarks, 8, 1 / 8)
    assert maps.shape == (1, 2, 8, 8) and maps.min() >= -1
    assert maps[0, 0, 3, 0] == 1, "x is the column, y is the row"
    # One deviation to the right: exp(-1/2); two down and one to the right: exp(-5/2).
    torch.testing.assert_close(maps[0, 0, 3, 1], 2 * torch.tensor(-0.5).exp() - 1)
    torch.testing.assert_close(maps[0, 0, 5, 1], 2 * torch.tensor(-2.5).exp() - 1)
    torch.testing.assert_close(maps[0, 1], maps[0, 1].flip(0).flip(1))


@pytest.mark.parametrize("stem", ["conv", "unshuffle"])
def test_landmarks_change_the_picture_where_they_lie(stem: str) -> None:
    torch.manual_seed(0)
    network = LandmarkGenerator(conv_dim=4, residual_blocks=1, stem=stem, deviation=0.05)  # type: ignore[arg-type]
    images, landmarks = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 68, 2)
    edited = network(images, landmarks)
    assert edited.shape == images.shape and edited.abs().max() <= 1
    moved = landmarks.clone()
    moved[:, 30] += 0.1
    assert (network(images, moved) - edited).abs().max() > 1e-4
