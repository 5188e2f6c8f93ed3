import hashlib

import pytest
import torch

from mimik.errors import UserError
from mimik.networks import vgg19


def test_all_convolutions_have_the_published_parameters() -> None:
    network = vgg19.VGG19(["relu5_4"])
    assert sum(p.numel() for p in network.parameters()) == 20_024_384
    assert len([m for m in network.features if isinstance(m, torch.nn.Conv2d)]) == 16


def test_layers_lie_where_the_weights_file_has_them() -> None:
    network = vgg19.VGG19(["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"])
    assert network.wanted == [1, 6, 11, 20, 29]
    features = network(torch.zeros(2, 3, 32, 32))
    assert [tuple(f.shape) for f in features] == [
        (2, 64, 32, 32), (2, 128, 16, 16), (2, 256, 8, 8), (2, 512, 4, 4), (2, 512, 2, 2)
    ]  # fmt: skip
    assert len(network.features) == 30 and all(float(f.detach().min()) >= 0 for f in features)


@pytest.mark.parametrize("layers", [[], ["relu6_1"]])
def test_unknown_layers_are_refused(layers: list[str]) -> None:
    with pytest.raises(ValueError, match="one or more of relu1_1"):
        vgg19.VGG19(layers)


def test_weights_of_a_file_are_read_and_frozen(tmp_path, monkeypatch) -> None:
    torch.manual_seed(0)
    state = {**vgg19.VGG19(["relu2_1"]).state_dict(), "classifier.6.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "weights.pth")
    sha256 = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    with pytest.raises(UserError, match="SHA-256 does not start"):
        vgg19.load(tmp_path / "weights.pth", ["relu1_2"])
    monkeypatch.setattr(vgg19, "WEIGHTS", f"vgg19-{sha256[:8]}.pth")
    network = vgg19.load(tmp_path / "weights.pth", ["relu1_2"])
    assert torch.equal(network.features[2].weight, state["features.2.weight"])
    assert not any(p.requires_grad for p in network.parameters())
    with pytest.raises(UserError, match="cannot be read as the weights of VGG-19"):
        vgg19.load(tmp_path / "weights.pth", ["relu3_1"])
