import torch

from mimik.labels import ACTION_UNITS
from mimik.networks.face_reader import build, load
from mimik.networks.stored import save_network


def test_outputs_and_round_trip(tmp_path):
    reader = build({"width": 4}, 5).eval()
    reader.identity_mean.copy_(torch.arange(5.0))
    reader.identity_scale.fill_(2.0)
    images = torch.rand(3, 3, 64, 64) * 2 - 1
    units, identity = reader(images)
    assert units.shape == (3, len(ACTION_UNITS)) and ((units > 0) & (units < 1)).all()
    assert identity.shape == (3, 5)
    assert torch.equal(reader.action_units(images), units) and torch.equal(reader.identity(images), identity)
    record = {"kind": "reader", "name": "mine", "identity_dim": 5, "architecture": {"width": 4}}
    sha256 = save_network(tmp_path, reader, record)
    loaded = load(tmp_path)
    assert torch.equal(loaded.identity(images), identity)
    assert loaded.sha256 == sha256
    torch.testing.assert_close(loaded.standardise(torch.zeros(1, 5)), -torch.arange(5.0)[None] / 2)


def test_gradients_reach_everything():
    reader = build({"width": 4}, 5)
    images = torch.randn(4, 3, 64, 64, requires_grad=True)
    units, identity = reader(images)
    (units.square().sum() + identity.square().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in reader.parameters())
    assert images.grad.abs().sum() > 0
