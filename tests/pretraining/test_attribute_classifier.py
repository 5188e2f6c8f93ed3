import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.networks.face_classifier import build
from mimik.pretraining.classifier import (
    AttributeTask,
    ClassifierConfig,
    attribute_confusions,
    load,
    pretrain_classifier,
)

TRAIN = {"steps": 25, "batch_size": 12, "learning_rate": 3e-3, "log_every": 5}
PLAIN = dict.fromkeys(("shift", "jitter", "soften", "noise"), 0.0)


@pytest.fixture
def attributed(squares, tmp_path):
    """The squares, some without an expression; Red and Green say the colour, Rare is nobody's in the test split."""
    directory = tmp_path / "store"
    shutil.copytree(squares, directory)
    table = pd.read_csv(directory / "index.csv")
    for name, has in (("Red", table["expression"] == "red"), ("Green", table["expression"] == "green")):
        table[f"attribute_{name}"] = has.astype(int)
    table["attribute_Rare"] = ((table["split"] == "train") & (table.index % 7 == 0)).astype(int)
    table.loc[[0, len(table) - 1], "expression"] = ""
    table.to_csv(directory / "index.csv", index=False)
    return directory


def given(settings, training=None, **config):
    config = {"network": "small", "width": 4, "predicts": "attributes", **config}
    return {**settings, "config": config, "training": {**TRAIN, **(training or {})}}


def test_training_learns_and_measures_every_attribute(attributed, settings, tmp_path):
    pretrain_classifier(given(settings), attributed, tmp_path / "out", tmp_path / "state")
    history = pd.read_csv(tmp_path / "out/history.csv")
    assert history["classifier/cross_entropy"].iloc[-1] < 0.7 * history["classifier/cross_entropy"].iloc[0]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    names = ["Red", "Green", "Rare"]
    assert metrics["images"] == 30
    assert metrics["share_per_attribute"] == {"Red": pytest.approx(1 / 3), "Green": pytest.approx(1 / 3), "Rare": 0.0}
    assert metrics["accuracy_per_attribute"]["Red"] > 0.9 and metrics["balanced_accuracy_per_attribute"]["Red"] > 0.9
    assert metrics["balanced_accuracy_per_attribute"]["Rare"] is None  # no test face has it
    assert metrics["accuracy"] == pytest.approx(np.mean([metrics["accuracy_per_attribute"][name] for name in names]))
    balanced = metrics["balanced_accuracy_per_attribute"]
    assert metrics["balanced_accuracy"] == pytest.approx((balanced["Red"] + balanced["Green"]) / 2)
    loaded = load(tmp_path / "out")
    assert (loaded.classes, loaded.predicts) == (names, "attributes")
    store = FaceStore(attributed, 32)
    counts = attribute_confusions(loaded, store, store.rows("test"))
    assert counts.sum((1, 2)).tolist() == [30] * 3
    assert counts[0].trace() / 30 == pytest.approx(metrics["accuracy_per_attribute"]["Red"])
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["training_images"] == 60  # faces without an expression too
    assert not config["training"]["balanced"] and config["training"]["flip"]


def test_attributes_by_name_in_the_order_given(attributed, settings, tmp_path):
    wanted = given(settings, {"steps": 1}, names=["Rare", "Red"])
    pretrain_classifier(wanted, attributed, tmp_path / "out", tmp_path / "state")
    assert load(tmp_path / "out").classes == ["Rare", "Red"]


def test_the_loss_is_the_mean_binary_cross_entropy_of_its_columns():
    classifier = build({"network": "small", "width": 4, "predicts": "attributes"}, ["c", "a"])
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    classifier.network.last.weight.data.zero_()
    classifier.forward = lambda images: logits + 0 * classifier.network.last.bias.sum()
    batch = {"image": torch.zeros(2, 3, 32, 32), "attributes": torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])}
    wanted = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # columns c and a of a, b, c
    for smoothing in (0.0, 0.1):
        config = ClassifierConfig(network="small", predicts="attributes", label_smoothing=smoothing, **PLAIN)
        total, terms = AttributeTask(classifier, config, ["a", "b", "c"]).classifier_loss(batch, 0)
        chance = 1 / (1 + torch.exp(-logits))
        soft = wanted * (1 - smoothing) + smoothing / 2
        by_hand = -(soft * chance.log() + (1 - soft) * (1 - chance).log()).mean()
        assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)
        assert terms["accuracy"].item() == 0.25  # right: the second face's c alone


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    classifier = build({"network": "stgan_classifier", "predicts": "attributes"}, ["a", "b"])
    config = ClassifierConfig(network="stgan_classifier", predicts="attributes")
    task = AttributeTask(classifier, config, ["a", "b"])
    batch = {"image": torch.rand(4, 3, 32, 32) * 2 - 1, "attributes": torch.tensor([[0.0, 1.0], [1.0, 1.0]] * 2)}
    task.classifier_loss(batch, 0)[0].backward()
    (group,) = task.classifier_parameters()
    assert len(group["params"]) == len(list(classifier.parameters()))
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in group["params"])


@pytest.mark.parametrize(
    "training, config, message",
    [
        ({}, {"names": ["Red", "Bald"]}, "has no Bald, which this classifier is to learn. It has Red, Green, Rare"),
        ({}, {"names": ["Red", "Red"]}, "names must be distinct"),
        ({}, {"predicts": "expression", "names": ["Red"]}, "names selects attributes"),
        ({"balanced": True}, {}, "balanced batches are for expressions only"),
    ],
)
def test_impossible_settings_are_refused(attributed, settings, tmp_path, training, config, message):
    with pytest.raises(UserError, match=message):
        pretrain_classifier(given(settings, training, **config), attributed, tmp_path / "out", tmp_path / "state")


def test_a_dataset_without_attributes_is_named(squares, settings, tmp_path):
    with pytest.raises(UserError, match=r"index\.csv: has no attributes \(columns attribute_<name>\)"):
        pretrain_classifier(given(settings), squares, tmp_path / "out", tmp_path / "state")
