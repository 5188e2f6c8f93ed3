import pytest
import torch

from mimik.errors import UserError
from mimik.networks.stored import load_weights, read_network, save_network


def test_same_weights_make_the_same_file(tmp_path):
    network = torch.nn.Linear(3, 2)
    first = save_network(tmp_path / "a", network, {"kind": "line"})
    assert save_network(tmp_path / "b", network, {"kind": "line"}) == first
    config, state = read_network(tmp_path / "a", "line")
    assert config["model_sha256"] == first
    assert torch.equal(state["weight"], network.weight)
    fresh = torch.nn.Linear(3, 2)
    load_weights(fresh, state, tmp_path / "a")
    assert torch.equal(fresh.weight, network.weight)


def test_missing_weights_are_named(tmp_path):
    save_network(tmp_path, torch.nn.Linear(3, 2), {"kind": "line"})
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        read_network(tmp_path, "line")
