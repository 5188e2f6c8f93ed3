import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from mimik.components.adversary import Adversary, AdversaryConfig
from mimik.components.conditions import Condition, ConditionConfig
from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.labels import EXPRESSIONS
from mimik.networks import vgg19
from mimik.networks.depth_network import DepthNetwork, load
from mimik.pretraining import depth_network
from mimik.pretraining.depth_network import (
    DepthNetworkConfig,
    DepthNetworkTask,
    map_errors,
    measured_faces,
    perceptual,
    pretrain_depth_network,
)
from tests.methods.world import CLASSES, SIZE, make_batch, reached
from tests.pretraining.conftest import SIZE as STORED
from tests.pretraining.conftest import write_store

NETS = {"conv_dim": 8, "residual_blocks": 1}
CRITIC = AdversaryConfig(conv_dim=8, layers=3)


def make_task(vgg=None, **changes):
    torch.manual_seed(0)
    config = DepthNetworkConfig(**{**NETS, "perceptual": "none", "adversary": CRITIC, **changes})
    condition = Condition(ConditionConfig(), EXPRESSIONS[:CLASSES])
    network = DepthNetwork(config.geometry, config.domains, **NETS)
    adversary = Adversary(CRITIC, SIZE, condition, confidence_penalty=config.confidence_penalty)
    return DepthNetworkTask(network, config, adversary, vgg)


def test_generator_total_is_eq_8_to_10():
    vgg = vgg19.VGG19(["relu1_1", "relu1_2"]).requires_grad_(False)
    task, batch = make_task(vgg, lambda_perceptual=2.0), make_batch()
    total, terms = task.generator_loss(batch, 0)
    with torch.no_grad():
        image, truth = batch["image"], batch["depth"].repeat(1, 3, 1, 1)
        maps = task.network.to_maps(image)
        realness, logits, _ = task.adversary.network(maps)
        expected = {
            "adv": -realness.mean(),
            "cls": F.cross_entropy(logits[:, 0], batch["label"]),  # the face is untouched: its own expression
            "rec": F.l1_loss(task.network.to_images(maps), image),
            "pix": F.l1_loss(maps, truth),
            "per": sum(F.l1_loss(a, b) for a, b in zip(vgg(maps), vgg(truth), strict=True)),
        }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].detach(), value)
    sums = expected["adv"] + expected["cls"] + 10 * expected["rec"] + 10 * expected["pix"] + 2 * expected["per"]
    torch.testing.assert_close(total.detach(), sums)


def test_perceptual_distance_is_zero_of_the_same_and_reaches_the_maps_only():
    vgg = vgg19.VGG19(["relu1_1"]).requires_grad_(False)
    truth, maps = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16, requires_grad=True)
    assert perceptual(vgg, truth, truth) == 0
    perceptual(vgg, truth, maps).backward()
    assert maps.grad is not None and maps.grad.any()


def test_vgg_goes_with_its_task_to_a_device_and_is_no_part_of_its_state():
    vgg = vgg19.VGG19(["relu1_1"]).requires_grad_(False)
    task = make_task(vgg)
    assert not any("features" in name for name in task.state_dict())
    task.to("meta")
    assert all(parameter.is_meta for parameter in vgg.parameters())


@pytest.mark.parametrize("changes", [{}, {"domains": "one_way"}, {"geometry": "normals", "reuse_fake": True}])
def test_updates_reach_their_own_networks(changes):
    task, batch = make_task(**changes), make_batch()
    assert [update.name for update in task.updates][changes.get("reuse_fake", False)] == "discriminator"
    task.discriminator_loss(batch, 0)[0].backward()
    assert reached(task.adversary) and not reached(task.network)
    task.zero_grad(set_to_none=True)
    task.adversary.requires_grad_(False)
    _, terms = task.generator_loss(batch, 0)
    task.generator_loss(batch, 0)[0].backward()
    assert reached(task.network) and not reached(task.adversary)
    assert ("rec" in terms) is task.network.two_way
    assert task.reads == {"label", changes.get("geometry", "depth")}


def test_the_critic_may_learn_labels_first():
    task, batch = make_task(critic_head_start=3), make_batch()
    assert [update.start for update in task.updates] == [0, 3]
    total, terms = task.discriminator_loss(batch, 2)
    truth = batch["depth"].repeat(1, 3, 1, 1)
    expected = F.cross_entropy(task.adversary.network(truth)[1][:, 0], batch["label"])
    torch.testing.assert_close(total, expected)
    assert "fake" not in batch and terms.keys() == {"cls"}
    assert "adv" in task.discriminator_loss(batch, 3)[1]


def test_errors_of_depth_by_hand():
    truth = np.array([[[0, 255], [51, 102]]], np.uint8)  # 0 is no surface
    predicted = np.array([[[0.5, 1.0], [0.4, 0.1]]])[..., None].repeat(3, -1)
    errors = map_errors("depth", predicted, truth)
    assert errors["mae"] == pytest.approx((0.5 + 0 + 0.2 + 0.3) / 4)
    assert errors["mae_surface"] == pytest.approx(0.5 / 3)
    assert errors["rmse_surface"] == pytest.approx(math.sqrt((0.04 + 0.09) / 3))


def test_errors_of_normals_by_hand():
    def stored(x, y, z):
        return (np.array([x, y, z]) + 1) / 2

    truth = np.round(np.array([[[stored(0, 0, 1), stored(1, 0, 0), [0, 0, 0]]]]) * 255).astype(np.uint8)
    # The first is exact, the second a right angle off; where there is no surface, no angle counts.
    predicted = np.array([[[stored(0, 0, 1), stored(0, 1, 0), stored(0, 1, 0)]]])
    errors = map_errors("normals", predicted, truth)
    assert errors["angle_surface"] == pytest.approx(45, abs=0.5)
    assert errors["mae_surface"] == pytest.approx((0 + 0.5 + 0.5) / 6, abs=0.01)


def test_errors_of_a_face_without_a_map_are_not_measured():
    truth = np.stack([np.zeros((2, 2)), np.full((2, 2), 51)]).astype(np.uint8)
    predicted = np.full((2, 2, 2, 3), 0.5)
    assert map_errors("depth", predicted[1:], truth[1:])["mae"] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="faces that have one"):
        map_errors("depth", predicted, truth)


def test_only_faces_with_a_map_are_measured(tmp_path):
    store = FaceStore(write_store(tmp_path / "faces", {"train": 6, "val": 3, "test": 4}), STORED)
    truth = np.zeros((13, STORED, STORED), np.uint8)
    with pytest.raises(UserError, match="no face of the splits 'test' and 'val' has a map"):
        measured_faces(store, truth)
    truth[[0, 7, 8], 5, 5] = 200
    assert measured_faces(store, truth)[0] == "val" and measured_faces(store, truth)[1].tolist() == [7, 8]
    truth[[10, 12], 5, 5] = 200
    assert measured_faces(store, truth)[0] == "test" and measured_faces(store, truth)[1].tolist() == [10, 12]


@pytest.fixture
def faces(tmp_path):
    """Faces whose depth is that of the square that they show."""
    folder = write_store(tmp_path / "faces", {"train": 48, "val": 3, "test": 12})
    images = np.load(folder / f"images_{STORED}.npy")
    square = images.max(-1) > 180
    np.save(folder / f"depth_{STORED}.npy", np.where(square, 200, 0).astype(np.uint8))
    np.save(folder / f"normals_{STORED}.npy", np.where(square[..., None], [128, 128, 255], 0).astype(np.uint8))
    return folder


def given(settings, **changes):
    config = {**NETS, "critic_updates": 1, "perceptual": "none", **changes}
    config["adversary"] = {"conv_dim": 8, "layers": 2, "objective": "hinge"}
    return {
        **settings,
        "config": config,
        "training": {"steps": 60, "batch_size": 8, "learning_rate": 3e-3, "log_every": 20, "flip": False},
    }


@pytest.mark.slow
@pytest.mark.parametrize("geometry", ["depth", "normals"])
def test_training_learns_and_writes_its_folder(faces, settings, tmp_path, geometry):
    maps = np.load(faces / f"{geometry}_{STORED}.npy")
    maps[-2:] = 0  # two of the twelve test faces have none
    np.save(faces / f"{geometry}_{STORED}.npy", maps)
    pretrain_depth_network(given(settings, geometry=geometry), faces, tmp_path / "out", tmp_path / "state")
    history = pd.read_csv(tmp_path / "out/history.csv")
    assert history["generator/pix"].iloc[-1] < 0.6 * history["generator/pix"].iloc[0]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["images"] == 10 and metrics["split"] == "test"
    assert metrics["mae"] < metrics["mean_map"]["mae"]
    own = {"depth": "rmse_surface", "normals": "angle_surface"}[geometry]
    assert own in metrics and own in metrics["mean_map"]
    network = load(tmp_path / "out")
    assert network.geometry == geometry and network.critic.classes == 3
    assert json.loads((tmp_path / "out/config.json").read_text())["config"]["perceptual_sha256"] is None


def test_missing_weights_are_named_with_what_to_do(faces, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(depth_network, "WEIGHTS", tmp_path / "weights")
    monkeypatch.delenv("MIMIK_MIRROR", raising=False)
    with pytest.raises(UserError, match=r"depth_networks\.mine.*vgg19-dcbb9e9d\.pth into .*perceptual: none"):
        pretrain_depth_network(given(settings, perceptual="vgg19"), faces, tmp_path / "out", tmp_path / "state")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / vgg19.WEIGHTS).write_bytes(b"another file")
    mirrored = {**given(settings, perceptual="vgg19"), "mirror": str(tmp_path / "mirror")}
    with pytest.raises(UserError, match="SHA-256"):
        pretrain_depth_network(mirrored, faces, tmp_path / "out", tmp_path / "state")


def test_a_store_without_the_maps_is_refused(squares, settings, tmp_path):
    with pytest.raises(UserError, match="has no depth"):
        pretrain_depth_network(given(settings), squares, tmp_path / "out", tmp_path / "state")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"lambda_pixel": -1.0}, "not be negative"), ({"critic_updates": 0}, "at least 1"),
     ({"perceptual": "vgg19", "perceptual_layers": ("relu9",)}, "perceptual_layers")],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DepthNetworkConfig(**changes)
