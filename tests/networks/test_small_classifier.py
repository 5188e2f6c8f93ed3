import pytest
import torch

from mimik.networks.small_classifier import SmallClassifier, strided_trunk


def test_trunk_halves_four_times():
    assert strided_trunk(4)(torch.zeros(1, 3, 64, 64)).shape == (1, 16, 4, 4)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_any_face_size(side):
    network = SmallClassifier(8, width=4).eval()
    features = network.embed(torch.randn(3, 3, side, side))
    assert features.shape == (3, SmallClassifier.feature_dim)
    assert (features >= 0).all()
    assert network.classify(features).shape == (3, 8)


def test_gradients_reach_everything():
    network = SmallClassifier(8, width=4)
    images = torch.randn(4, 3, 64, 64, requires_grad=True)
    network.classify(network.embed(images)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert images.grad.abs().sum() > 0
