from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mimik.errors import UserError
from mimik.networks import inception
from mimik.networks.inception import Inception, resize
from mimik.storage.files import file_sha256


@pytest.fixture(scope="module")
def network() -> Inception:
    torch.manual_seed(0)
    made = Inception().eval()
    for module in made.modules():
        if isinstance(module, torch.nn.Conv2d):  # torch's own initialisation fades to nothing in 94 layers
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return made


def save(network: Inception, folder: Path, extra: dict[str, torch.Tensor] | None = None) -> Path:
    """A weight file like pytorch-fid's: no counters, with the classification layer, named by its digest."""
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008), **(extra or {})}
    path = folder / "weights.pth"
    torch.save(state, path)
    return path.rename(folder / f"inception-{file_sha256(path)[:8]}.pth")


def test_size_is_that_of_inception_v3_with_its_last_layer(network: Inception) -> None:
    # torchvision: 27,161,264 parameters, 3,326,696 of them in the auxiliary classifier, 2,049,000 in the last layer.
    trunk = 27_161_264 - 3_326_696 - 2_049_000
    assert sum(parameter.numel() for parameter in network.parameters()) == trunk + 2048 * 1008


def test_names_are_those_of_the_weight_file(network: Inception) -> None:
    state = network.state_dict()
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_5c.branch_pool.conv.weight": (64, 256, 1, 1),
        "Mixed_6a.branch3x3dbl_3.bn.weight": (96,),
        "Mixed_6b.branch7x7dbl_4.conv.weight": (128, 128, 7, 1),
        "Mixed_6e.branch7x7_3.conv.weight": (192, 192, 7, 1),
        "Mixed_7a.branch7x7x3_2.conv.weight": (192, 192, 1, 7),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
    }
    for name, shape in shapes.items():
        assert tuple(state[name].shape) == shape


def test_features_do_not_depend_on_the_batch(network: Inception) -> None:
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        together = network(images)
        assert together.shape == (3, 2048)
        assert torch.allclose(network(images[1:2]), together[1:2], rtol=1e-3, atol=1e-3)
        assert not torch.allclose(together[0], together[1], rtol=1e-2, atol=1e-2)


def test_average_pools_leave_out_their_padding_and_the_last_block_pools_by_maximum() -> None:
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(inception._average(ones), ones)
    assert Inception().Mixed_7c.pool_by_maximum
    assert not Inception().Mixed_7b.pool_by_maximum


def test_resize_by_hand() -> None:
    # Pixel i samples position i * 2 / 4 = 0, 0.5, 1, 1.5; the last neighbour is repeated.
    image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    expected = torch.tensor([[0.0, 0.5, 1.0, 1.0], [1.0, 1.5, 2.0, 2.0], [2.0, 2.5, 3.0, 3.0], [2.0, 2.5, 3.0, 3.0]])
    assert torch.allclose(resize(image, 4)[0, 0], expected)


def test_resize_to_the_same_size_changes_nothing_and_differs_from_torchs_rule() -> None:
    image = torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(resize(image, 9), image)
    assert not torch.allclose(resize(image, 18), F.interpolate(image, 18, mode="bilinear"), atol=1e-3)


def test_weight_file_is_loaded_by_name(network: Inception, tmp_path: Path) -> None:
    loaded = inception.load(save(network, tmp_path))
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(loaded(images), network(images))
        assert loaded(images).max() > 1e-3
    assert not loaded.training


def test_the_last_layer_is_the_files_without_its_bias(network: Inception, tmp_path: Path) -> None:
    weight = torch.rand(1008, 2048)
    loaded = inception.load(save(network, tmp_path, {"fc.weight": weight, "fc.bias": torch.ones(1008)}))
    features = torch.rand(2, 2048)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.classify(features), features @ weight.T)


def test_another_digest_than_the_name_says_is_refused(network: Inception, tmp_path: Path) -> None:
    path = save(network, tmp_path).rename(tmp_path / inception.WEIGHTS[0])
    with pytest.raises(UserError, match="6726825d"):
        inception.load(path)


def test_weights_of_another_network_are_refused(network: Inception, tmp_path: Path) -> None:
    path = save(network, tmp_path, {"AuxLogits.fc.bias": torch.zeros(1000)})
    with pytest.raises(UserError, match="AuxLogits"):
        inception.load(path)


def test_a_file_that_is_no_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"no weights")
    path = path.rename(tmp_path / f"x-{file_sha256(path)[:8]}.pth")
    with pytest.raises(UserError, match="cannot be read"):
        inception.load(path)
