from pathlib import Path

import pytest
import torch

from mimik.errors import UserError
from mimik.networks import arcface
from mimik.networks.arcface import ArcFace, Block, SqueezeExcitation


@pytest.fixture(scope="module")
def network() -> ArcFace:
    torch.manual_seed(0)
    return ArcFace().eval()


def test_shapes_and_names_are_those_of_the_weight_file(network: ArcFace) -> None:
    state = network.state_dict()
    shapes = {
        "input_layer.0.weight": (64, 3, 3, 3),
        "input_layer.2.weight": (64,),
        "body.0.res_layer.5.fc1.weight": (4, 64, 1, 1),
        "body.3.shortcut_layer.0.weight": (128, 64, 1, 1),
        "body.7.res_layer.3.weight": (256, 256, 3, 3),
        "body.23.res_layer.4.running_mean": (512,),
        "output_layer.3.weight": (512, 512 * 7 * 7),
        "output_layer.4.bias": (512,),
    }
    for name, shape in shapes.items():
        assert tuple(state[name].shape) == shape
    assert "body.24.res_layer.0.weight" not in state
    # Same width: the shortcut has no weights.
    assert "body.0.shortcut_layer.0.weight" not in state


def test_number_of_parameters_by_layers() -> None:
    # Block of 64 channels: norm 128, two 3x3 of 36,864, PReLU 64, norm 128, squeeze and excitation 2 * 256.
    assert sum(parameter.numel() for parameter in Block(64, 64, 2).parameters()) == 128 + 2 * 36_864 + 64 + 128 + 512


def test_vectors_have_length_one_and_tell_images_apart(network: ArcFace) -> None:
    faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        vectors = network(faces)
        assert torch.allclose(network(faces[:1]), vectors[:1], atol=1e-5)
    assert vectors.norm(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert (vectors[0] - vectors[1]).norm() > 1e-3


def test_excitation_by_hand() -> None:
    module = SqueezeExcitation(16)
    torch.nn.init.zeros_(module.fc2.weight)
    x = torch.rand(2, 16, 3, 3)
    assert torch.allclose(module(x), x / 2)  # sigmoid(0)


def test_weight_file_is_loaded(network: ArcFace, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / arcface.WEIGHTS)
    loaded = arcface.load(tmp_path / arcface.WEIGHTS)
    assert torch.equal(loaded.output_layer[3].weight, network.output_layer[3].weight)
    assert not loaded.training


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / arcface.WEIGHTS)
    with pytest.raises(UserError, match="IR-SE50"):
        arcface.load(tmp_path / arcface.WEIGHTS)
