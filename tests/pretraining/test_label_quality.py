"""Labels of the squares are scored: mistakes that are planted in them are found, and trainings act on it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from mimik.errors import UserError
from mimik.faces.prepared.label_quality import RECORD, SCORES, SHEET, LabelQualityConfig, drawn, read_scores
from mimik.faces.prepared.store import FaceStore
from mimik.inspection.contact_sheets import draw_doubted
from mimik.inspection.description import doubted
from mimik.pretraining.classifier import pretrain_classifier
from mimik.pretraining.label_quality import folds_of, score_labels
from tests.pretraining.conftest import SIZE, write_store

NETWORK = {"network": "small", "width": 8}
TRAIN = {"steps": 60, "batch_size": 24, "learning_rate": 3e-3, "log_every": 20}
WRONG = [0, 7, 20, 33, 41, 58]
"""Rows of training faces with the label of the next class."""


def asked(**changes):
    classifier = {"dataset": "mislabelled", "name": "small", "scale": "demo", "seed": 3, "image_size": SIZE}
    classifier |= {"config": NETWORK, "training": TRAIN}
    return {"dataset": "mislabelled", "seed": 3, "image_size": SIZE, "folds": 3, "classifier": classifier, **changes}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store with planted mistakes, and the folder of its scores."""
    root = tmp_path_factory.mktemp("labels")
    directory = write_store(root / "mislabelled", {"train": 60, "val": 3, "test": 30})
    table = pd.read_csv(directory / "index.csv", dtype={"identity": str}, keep_default_na=False)
    names = ["red", "green", "blue"]
    for row in WRONG:
        table.loc[row, "expression"] = names[(row + 1) % 3]
    table["identity"] = [str(row // 2) for row in range(len(table))]
    table.loc[5, "expression"] = ""  # a face without a label
    table.to_csv(directory / "index.csv", index=False)
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "dataset": "mislabelled"}))
    score_labels(asked(), directory, root / "scores", root / "state")
    return directory, root / "scores"


def test_planted_mistakes_are_doubted_and_the_sheet_shows_them(world):
    directory, folder = world
    store = FaceStore(directory, SIZE)
    scores = read_scores(folder, store)
    assert len(scores.rows) == 59 and 5 not in scores.rows
    assert set(WRONG) <= set(scores.rows[scores.doubted]) and scores.doubted.sum() <= len(WRONG) + 3
    probable = scores.table["probable"].to_numpy()[np.isin(scores.rows, WRONG)]
    assert probable.tolist() == [["red", "green", "blue"][row % 3] for row in WRONG]
    record = json.loads((folder / RECORD).read_text())
    assert sum(numbers["faces"] for numbers in record["classes"].values()) == 59
    assert sum(numbers["doubted"] for numbers in record["classes"].values()) == scores.doubted.sum()
    chances = scores.table[[f"probability_{name}" for name in store.classes]]
    assert chances.sum(axis=1).to_numpy() == pytest.approx(1)
    lines = draw_doubted(directory, folder)
    assert (folder / SHEET).is_file() and f"{int(scores.doubted.sum())} of 59 training labels" in lines[0]
    assert lines[:-1] == list(doubted(scores)) and SHEET in lines[-1]


def test_scores_are_the_same_again(world, tmp_path):
    directory, folder = world
    score_labels(asked(), directory, tmp_path / "scores", tmp_path / "state")
    assert (tmp_path / "scores" / SCORES).read_bytes() == (folder / SCORES).read_bytes()
    assert not list((tmp_path / "state").rglob("last.pt"))


def test_no_person_is_in_two_folds_and_classes_are_spread(world):
    store = FaceStore(world[0], SIZE)
    rows = store.rows("train")[store.labels()[store.rows("train")] >= 0]
    folds = folds_of(store, rows, 3, 0)
    people = store.table["identity"].iloc[rows]
    assert (pd.Series(folds).groupby(people.to_numpy()).nunique() == 1).all()
    assert set(folds) == {1, 2, 3} and np.bincount(folds)[1:].min() >= 16
    store.table["identity"] = ""  # then every face stands for itself
    assert np.bincount(folds_of(store, rows, 4, 0))[1:].min() >= 13
    store.table.loc[store.table["expression"] == "red", "identity"] = "one person"
    with pytest.raises(UserError, match="class 'red' are of one person"):
        folds_of(store, rows, 3, 0)


def test_what_training_draws(world):
    directory, folder = world
    store = FaceStore(directory, SIZE)
    scores, train = read_scores(folder, store), store.rows("train")
    kept = drawn(folder, store, "keep", 0.5)
    assert kept.rows.tolist() == train.tolist() and kept.weights is None
    left = drawn(folder, store, "leave_out", 0.5)
    gone = set(train) - set(left.rows)
    assert gone == set(scores.rows[scores.doubted]) and left.weights is None
    assert sum(left.facts["left_out"].values()) == len(gone)
    # Labels of classes that the classifiers do not know well enough stay as they are.
    shares = {name: numbers["told_right"] for name, numbers in scores.record["classes"].items()}
    lowest, highest = min(shares, key=shares.get), max(shares.values())
    some = drawn(folder, store, "leave_out", highest)
    assert some.facts["left_out"][lowest] == 0 < left.facts["left_out"][lowest] and shares[lowest] < highest
    assert set(train) - set(some.rows) < gone
    assert (drawn(folder, store, "weight", 1.0).weights == 1).all()
    weighted = drawn(folder, store, "weight", 0.5)
    assert weighted.rows.tolist() == train.tolist()
    assert weighted.weights[WRONG].max() < 0.5 and weighted.weights[5] == 1
    # Validation and test faces are never touched.
    assert (weighted.weights[store.table["split"].to_numpy() != "train"] == 1).all()
    assert set(scores.table["id"]) <= set(store.table["id"].iloc[train])


def test_a_classifier_learns_from_what_is_left_and_is_measured_on_all(world, tmp_path):
    directory, folder = world
    given = {**asked()["classifier"], "training": {**TRAIN, "steps": 2}}
    states = {}
    for action in ("keep", "weight", "leave_out"):
        used = {**given, "label_quality": {"action": action, "reliable": 0.5}}
        pretrain_classifier(used, directory, tmp_path / action, tmp_path / "state" / action, labels_dir=folder)
        config = json.loads((tmp_path / action / "config.json").read_text())
        told = config["config"]["label_quality"]
        assert told["action"] == action and sum(told["faces"].values()) == 59
        assert config["training_images"] == 59 - sum(told["left_out"].values())
        assert json.loads((tmp_path / action / "metrics.json").read_text())["images"] == 30
        states[action] = (tmp_path / action / "model.safetensors").read_bytes()
    pretrain_classifier(given, directory, tmp_path / "off", tmp_path / "state/off")
    assert (tmp_path / "off/model.safetensors").read_bytes() == states["keep"]
    assert len(set(states.values())) == 3
    assert "label_quality" not in json.loads((tmp_path / "off/config.json").read_text())["config"]


def test_scores_of_something_else_are_refused(world, tmp_path):
    directory, folder = world
    store = FaceStore(directory, SIZE)
    with pytest.raises(UserError, match=r"no such file|does not exist"):
        read_scores(tmp_path, store)
    shutil.copytree(folder, tmp_path / "scores")
    record = json.loads((folder / RECORD).read_text())
    path = tmp_path / "scores" / RECORD
    path.write_text(json.dumps({**record, "dataset_digest": "other"}))
    with pytest.raises(UserError, match=r"another preparation of mislabelled.*mimik data score scores"):
        read_scores(tmp_path / "scores", store)
    path.write_text(json.dumps({**record, "folds": 1}))
    with pytest.raises(UserError, match="folds: expected a number of folds"):
        read_scores(tmp_path / "scores", store)
    path.write_text(json.dumps(record))
    scores = tmp_path / "scores" / SCORES
    scores.write_text(scores.read_text().replace("0.", "0.0", 1))
    with pytest.raises(UserError, match="is not the file"):
        read_scores(tmp_path / "scores", store)


def test_a_scorer_of_attributes_is_refused(world, tmp_path):
    given = asked()
    given["classifier"]["config"] = {**NETWORK, "predicts": "attributes"}
    given["classifier"]["training"] = {**TRAIN, "balanced": False}
    with pytest.raises(UserError, match=r"label_quality\.classifier: expected a classifier of expressions"):
        score_labels(given, world[0], tmp_path / "scores", tmp_path / "state")


@pytest.mark.parametrize("values", [{"folds": 1}, {"reliable": 1.1}, {"reliable": -0.1}])
def test_settings_that_cannot_work_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        LabelQualityConfig(**values)
