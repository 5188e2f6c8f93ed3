import json

import numpy as np
import pandas as pd
import pytest
import torch

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.networks.face_classifier import build
from mimik.pretraining.classifier import (
    ClassifierConfig,
    ClassifierTask,
    classification_confusion,
    load,
    pretrain_classifier,
)
from mimik.statistics.confusion import accuracy

TRAIN = {"steps": 25, "batch_size": 12, "learning_rate": 3e-3, "log_every": 5}


def test_training_learns_and_writes_its_folder(squares, settings, tmp_path):
    given = {**settings, "config": {"network": "small", "width": 4}, "training": TRAIN}
    pretrain_classifier(given, squares, tmp_path / "out", tmp_path / "state")
    history = pd.read_csv(tmp_path / "out/history.csv")
    assert history["classifier/cross_entropy"].iloc[-1] < 0.7 * history["classifier/cross_entropy"].iloc[0]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["accuracy"] > 0.9 and metrics["macro_f1"] > 0.9
    assert np.sum(metrics["confusion"], axis=1).tolist() == [10, 10, 10]
    assert list(metrics["accuracy_per_class"]) == ["red", "green", "blue"]
    loaded = load(tmp_path / "out")
    assert loaded.classes == ["red", "green", "blue"] and loaded.name == "mine"
    store = FaceStore(squares, 32)
    measured = classification_confusion(loaded, store, store.rows("test"))
    assert accuracy(measured) == pytest.approx(metrics["accuracy"], abs=1e-9)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["config"]["initial_weights"] == "random"
    assert config["training"]["balanced"] and config["training"]["flip"]


def test_faces_without_expression_are_left_out(squares, settings, tmp_path):
    import shutil

    directory = tmp_path / "store"
    shutil.copytree(squares, directory)
    table = pd.read_csv(directory / "index.csv")
    table.loc[[0, len(table) - 1], "expression"] = ""
    table.to_csv(directory / "index.csv", index=False)
    given = {**settings, "config": {"network": "small", "width": 4}, "training": {**TRAIN, "steps": 1}}
    pretrain_classifier(given, directory, tmp_path / "out", tmp_path / "state")
    assert json.loads((tmp_path / "out/metrics.json").read_text())["images"] == 29
    assert json.loads((tmp_path / "out/config.json").read_text())["training_images"] == 59
    table.loc[(table["split"] == "train") & (table["expression"] == "red"), "expression"] = "blue"
    table.to_csv(directory / "index.csv", index=False)
    with pytest.raises(UserError, match=r"no face of the class 'red' is in the split 'train' \(red 0, green"):
        pretrain_classifier(given, directory, tmp_path / "out", tmp_path / "state")
    table["expression"] = ""
    table.to_csv(directory / "index.csv", index=False)
    with pytest.raises(UserError, match="no face of the split 'train' has an expression label"):
        pretrain_classifier(given, directory, tmp_path / "out", tmp_path / "state")


def test_loss_sees_augmented_images_of_the_same_faces():
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    batch = {"image": images, "label": torch.zeros(4, dtype=torch.long)}
    classifier = build({"network": "small", "width": 4}, ["a", "b"]).eval()
    seen = []
    classifier.network.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ClassifierTask(classifier, ClassifierConfig(network="small")).classifier_loss(batch, 0)
    plain = dict.fromkeys(("shift", "jitter", "soften", "noise"), 0.0)
    ClassifierTask(classifier, ClassifierConfig(network="small", **plain)).classifier_loss(batch, 0)
    assert torch.equal(seen[1], images)
    assert not torch.allclose(seen[0], images) and seen[0].abs().max() <= 1


@pytest.mark.parametrize(
    "config, message",
    [
        ({"network": "vgg16", "width": 8}, "width is for the small network"),
        ({"network": "small", "initial_weights": "a.pth"}, "initial_weights is only for vgg16"),
        ({"network": "vgg16", "initial_weights": "nowhere.pth"}, r"nowhere\.pth does not exist"),
        ({"network": "small", "noise": -1.0}, "noise"),
    ],
)
def test_impossible_settings_are_refused(squares, settings, tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        pretrain_classifier(
            {**settings, "config": config, "training": TRAIN}, squares, tmp_path / "out", tmp_path / "state"
        )


def test_unreadable_initial_weights_are_named(squares, settings, tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"not a state dict")
    config = {"network": "vgg16", "initial_weights": str(tmp_path / "vgg.pth")}
    with pytest.raises(UserError, match=r"vgg\.pth: expected a PyTorch state dict"):
        pretrain_classifier(
            {**settings, "config": config, "training": TRAIN}, squares, tmp_path / "out", tmp_path / "state"
        )
