from pathlib import Path

import pytest
import torch

from mimik.errors import UserError
from mimik.networks import mobilenet
from mimik.networks.mobilenet import MobileNet, SeparableBlock


def stored(path: Path, network: MobileNet) -> Path:
    """A file laid out like those of 3DDFA_V2."""
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    last = network.fc_param.in_features
    state |= {"module.fc_lm.weight": torch.zeros(136, last), "module.fc_lm.bias": torch.zeros(136)}
    torch.save({"epoch": 50, "state_dict": state}, path)
    return path


def test_shapes_and_names_are_those_of_the_weight_file() -> None:
    state = MobileNet(0.5).state_dict()
    # Read off mb05_120x120.pth.
    shapes = {
        "conv1.weight": (16, 3, 3, 3),
        "bn1.running_var": (16,),
        "dw2_1.conv_dw.weight": (16, 1, 3, 3),
        "dw2_1.conv_sep.weight": (32, 16, 1, 1),
        "dw3_2.conv_sep.weight": (128, 64, 1, 1),
        "dw4_2.bn_sep.num_batches_tracked": (),
        "dw5_6.conv_sep.weight": (512, 256, 1, 1),
        "dw6.bn_dw.weight": (512,),
        "fc_param.weight": (62, 512),
        "fc_param.bias": (62,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert len(state) == 6 + 13 * 12 + 2
    assert tuple(MobileNet().fc_param.weight.shape) == (62, 1024)


def test_a_face_of_120_px_shrinks_by_32_and_every_width_answers() -> None:
    torch.manual_seed(0)
    seen: list[torch.Size] = []
    for width in (1.0, 0.5):
        network = MobileNet(width).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)  # else nothing of a picture reaches the end
        network.get_submodule("dw6").register_forward_hook(lambda module, given, out: seen.append(out.shape))
        with torch.inference_mode():
            faces = torch.rand(2, 3, 120, 120) * 2 - 1
            told = network(faces)
            assert told.shape == (2, 62) and (told[0] - told[1]).abs().max() > 0
            assert torch.allclose(network(faces[:1]), told[:1], atol=1e-5)
    assert [tuple(shape) for shape in seen] == [(2, 1024, 4, 4), (1, 1024, 4, 4), (2, 512, 4, 4), (1, 512, 4, 4)]


def test_block_by_hand() -> None:
    block = SeparableBlock(2, 1, 2).eval()
    with torch.no_grad():
        block.conv_dw.weight.zero_()
        block.conv_dw.weight[0, 0, 1, 1] = 2.0  # first channel: twice the pixel itself
        block.conv_dw.weight[1, 0, 1, 1] = -1.0  # second: negative, cut off by the ReLU between both convolutions
        block.conv_sep.weight.copy_(torch.tensor([[[[3.0]], [[5.0]]]]))
    x = torch.arange(32.0).reshape(1, 2, 4, 4) + 1
    expected = 6 * x[:, :1, ::2, ::2] / (1 + 1e-5)  # two batch norms of variance 1
    assert torch.allclose(block(x), expected)


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_weight_file_is_loaded(tmp_path: Path, width: float) -> None:
    network = MobileNet(width)
    torch.nn.init.normal_(network.fc_param.bias)
    loaded = mobilenet.load(stored(tmp_path / "mb.pth", network))
    assert not loaded.training
    ours, theirs = network.state_dict(), loaded.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours) and ours.keys() == theirs.keys()


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mb1_120x120.pth"
    lacking = MobileNet(0.5)
    del lacking.dw6
    state = {f"module.{name}": value for name, value in lacking.state_dict().items()}
    for made in ({"state_dict": state}, {"weight": torch.zeros(3)}, [1], Path):  # the last is code, not weights
        torch.save(made, path)
        with pytest.raises(UserError, match=r"mb1_120x120.pth: expected the weights of 3DDFA_V2's MobileNet"):
            mobilenet.load(path)
    path.write_bytes(b"version https://git-lfs")
    with pytest.raises(UserError, match="Get the file again"):
        mobilenet.load(path)
