import pytest
import torch

from mimik.errors import UserError
from mimik.networks.depth_network import KIND, DepthNetwork, build, load
from mimik.networks.stargan import Discriminator
from mimik.networks.stored import save_network
from mimik.storage.files import write_json

SMALL = {"conv_dim": 8, "residual_blocks": 1}


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_published_parameter_counts() -> None:
    assert count(DepthNetwork()) == 8_421_120
    # One way has no code: two planes of 7x7 kernels of 64 channels less.
    assert count(DepthNetwork(domains="one_way")) == 8_421_120 - 2 * 64 * 49
    assert count(Discriminator(256, 8)) == 44_983_232


def test_both_ways_are_one_network_that_the_code_tells_apart() -> None:
    torch.manual_seed(0)
    network = DepthNetwork(**SMALL)
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        there, back = network.to_maps(pictures), network.to_images(pictures)
        to_rgb, to_map = (network.generator(pictures, torch.eye(2)[[i, i]]) for i in (0, 1))
    assert there.shape == pictures.shape and there.abs().max() <= 1
    grey = to_map.mean(1, keepdim=True).expand_as(there)
    assert torch.equal(there, grey) and torch.equal(back, to_rgb) and not torch.equal(there, back)


def test_a_map_of_depth_is_grey_and_one_of_normals_is_not() -> None:
    """The true ones are so as well: colour must not give a made map away, nor carry the picture to the way back."""
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    depth, normals = (DepthNetwork(geometry, **SMALL) for geometry in ("depth", "normals"))
    with torch.no_grad():
        made, free, turned = depth.to_maps(pictures), depth.to_images(pictures), normals.to_maps(pictures)
        raw = normals.generator(pictures, torch.eye(2)[[1, 1]])
    assert torch.equal(made[:, 0], made[:, 1]) and torch.equal(made[:, 0], made[:, 2])
    assert not torch.equal(free[:, 0], free[:, 1])
    assert torch.equal(turned, raw) and not torch.equal(turned[:, 0], turned[:, 1])


def test_one_way_does_not_go_back() -> None:
    network = DepthNetwork(domains="one_way", **SMALL)
    assert network.to_maps(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="one way"):
        network.to_images(torch.zeros(1, 3, 16, 16))


def test_true_maps_have_three_channels() -> None:
    batch = {"depth": torch.rand(2, 1, 8, 8), "normals": torch.rand(2, 3, 8, 8)}
    depth = DepthNetwork(**SMALL).true_maps(batch)
    assert depth.shape == (2, 3, 8, 8) and all(torch.equal(depth[:, i : i + 1], batch["depth"]) for i in range(3))
    assert torch.equal(DepthNetwork("normals", **SMALL).true_maps(batch), batch["normals"])


def test_stored_networks_come_back_with_their_critic(tmp_path) -> None:
    torch.manual_seed(0)
    network = build({"geometry": "normals", "network": "depth_network", "image_size": 16, **SMALL})
    shape = {"image_size": 16, "classes": 4, "conv_dim": 8, "layers": 2, "matching": 4}
    network.critic = Discriminator(**shape)
    config = {"kind": KIND, "name": "mine", "architecture": network.settings, "critic": shape}
    sha256 = save_network(tmp_path, network, config)
    loaded = load(tmp_path)
    assert (loaded.geometry, loaded.name, loaded.sha256, loaded.training) == ("normals", "mine", sha256, False)
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded.to_maps(pictures), network.eval().to_maps(pictures))
        assert torch.equal(loaded.critic(pictures)[1], network.critic(pictures)[1])
    # What a trained method is built from needs no critic.
    assert build(loaded.settings).critic is None and build(loaded.settings).geometry == "normals"


def test_another_kind_is_refused(tmp_path) -> None:
    write_json(tmp_path / "config.json", {"kind": "segmenter"})
    with pytest.raises(UserError, match="expected the config of a depth_network"):
        load(tmp_path)
