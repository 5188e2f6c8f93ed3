import pytest
import torch

from mimik.networks.vgg16 import VGG16


@pytest.fixture(scope="module")
def network():
    return VGG16(8).eval()


def test_parameters_of_configuration_d(network):
    assert sum(p.numel() for p in network.features.parameters()) == 14_714_688
    assert sum(p.numel() for p in network.parameters()) == 134_293_320
    assert [m.out_channels for m in network.features if isinstance(m, torch.nn.Conv2d)] == [
        64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512,
    ]  # fmt: skip


def test_embedding_and_logits(network):
    with torch.no_grad():
        features = network.embed(torch.randn(2, 3, 224, 224))
        assert features.shape == (2, 4096)
        assert (features >= 0).all() and features.std() > 0.1
        assert network.classify(features).shape == (2, 8)


def test_imagenet_weights_fill_everything_but_the_last_layer(network):
    state = {name: torch.full_like(value, 0.5) for name, value in network.state_dict().items()}
    state["classifier.6.weight"], state["classifier.6.bias"] = torch.zeros(1000, 4096), torch.zeros(1000)
    fresh = VGG16(8)
    last = fresh.classifier[6].weight.clone()
    fresh.load_imagenet(state)
    assert (fresh.features[0].weight == 0.5).all() and (fresh.classifier[3].bias == 0.5).all()
    assert torch.equal(fresh.classifier[6].weight, last)


def test_weights_of_another_network_are_refused(network):
    state = dict(network.state_dict())
    state.pop("features.0.weight")
    with pytest.raises(ValueError, match="VGG-16"):
        network.load_imagenet(state)
