"""Validation while training: what it measures, what it keeps, and that it changes nothing."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mimik.errors import UserError
from mimik.evaluation.metrics.kid import squared_mmd
from mimik.evaluation.validation import ValidationJudge
from mimik.faces.prepared.store import FaceStore
from mimik.labels import EXPRESSIONS
from mimik.methods import stargan
from mimik.networks import face_classifier
from mimik.networks.stored import save_network
from mimik.settings.configuration import build
from mimik.storage.files import read_json
from mimik.storage.weights import read_safetensors
from mimik.training.batches import to_tensor
from mimik.training.loop import TrainingConfig
from mimik.training.runs import load_method, train_method
from mimik.training.validation import best
from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS

FIRST = ("score", "worst")


@pytest.fixture
def store(tmp_path: Path) -> FaceStore:
    return make_store(tmp_path / "store", size=16, count=64)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    folder = tmp_path / "classifier"
    architecture = {"network": "small", "width": 4}
    network = face_classifier.build(architecture, list(EXPRESSIONS[:4]))
    classes = {"predicts": "expression", "classes": list(EXPRESSIONS[:4])}
    save_network(folder, network, {"kind": "classifier", "name": "tiny", "architecture": architecture, **classes})
    return folder


def trained(store: FaceStore, folder: Path, judge: Any = None, logger: Any = None, **training: Any) -> Path:
    own = {"steps": 6, "batch_size": 4, "log_every": 1, "ema": 0.9, "checkpoint_seconds": 0.0, **training}
    settings = {**SETTINGS, "training": own, "image_size": 16}
    train_method(settings, store.directory, {}, folder / "result", folder / "checkpoints", logger, judge=judge)
    return folder / "result"


def weights(result: Path, name: str = "generator.safetensors") -> dict[str, torch.Tensor]:
    return read_safetensors(result / name, "")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_validation_changes_no_weight(store: FaceStore, classifier: Path, tmp_path: Path) -> None:
    plain = trained(store, tmp_path / "plain")
    judge = partial(ValidationJudge, classifier)
    watched = trained(store, tmp_path / "watched", judge, validate_every=2, validation_faces=6)
    assert same(weights(plain), weights(watched))
    assert same(weights(plain, "critic.safetensors"), weights(watched, "critic.safetensors"))
    assert (plain / "history.csv").read_text() == (watched / "history.csv").read_text()
    assert read_json(plain / "validation" / "validation.json") == {"entries": []}
    record = read_json(watched / "validation" / "validation.json")
    assert [entry["step"] for entry in record["entries"]] == [2, 4, 6]
    assert len(record["ids"]) == 6 and set(record["ids"]) <= set(store.table["id"].iloc[store.rows("val")])
    assert sorted(file.name for file in (watched / "validation").iterdir()) == [
        "generator_best.safetensors", *(f"grid_{step:07d}.png" for step in (2, 4, 6)), "validation.json"
    ]  # fmt: skip
    assert record["kept"] == 6 and record["best"] == best(record["entries"])["step"]
    assert not (tmp_path / "watched" / "checkpoints" / "validation").exists()


class PowerCut(stargan.Method):
    """Dies in the middle of the run."""

    def generator_loss(self, batch: dict[str, torch.Tensor], step: int) -> Any:
        if step == 4:
            raise RuntimeError("power cut")
        return super().generator_loss(batch, step)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_an_interrupted_run_has_the_same_measures_and_the_same_best(
    store: FaceStore, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """With a checkpoint after every step, and with none: the validations are then made again."""
    judge, settings = partial(ValidationJudge, classifier), {"validate_every": 1, "keep": "best"}
    whole = trained(store, tmp_path / "whole", judge, **settings)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(stargan, "Method", PowerCut)
        trained(store, tmp_path / "parts", judge, **settings, checkpoint_seconds=seconds)
    assert (tmp_path / "parts" / "checkpoints" / "last.pt").exists() == (seconds == 0)
    parts = trained(store, tmp_path / "parts", judge, **settings)
    for name in ("validation.json", *(f"grid_{step:07d}.png" for step in range(1, 7))):
        assert (whole / "validation" / name).read_bytes() == (parts / "validation" / name).read_bytes(), name
    for name in ("generator.safetensors", "validation/generator_best.safetensors", "critic.safetensors"):
        assert same(weights(whole, name), weights(parts, name)), name


class Scripted:
    """A judge that likes the steps it is told to like."""

    name, sha256 = "scripted", "0" * 64

    def __init__(self, scores: list[tuple[float, float]]) -> None:
        self.scores = iter(scores)

    def __call__(self, edits: Any) -> dict[str, Any]:
        assert edits.dtype == np.uint8 and edits.shape[1:] == (4, 16, 16, 3)
        return dict(zip(FIRST, next(self.scores), strict=True))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_best_generator_is_kept_beside_the_last(store: FaceStore, tmp_path: Path, keep: str) -> None:
    scores = [(0.9, 1.0), (0.5, 0.9), (0.5, 0.8), (0.5, 0.8), (0.7, 0.7), (0.6, 0.7)]
    result = trained(
        store, tmp_path / "a", lambda *_: Scripted(scores), validate_every=1, schedule="constant", keep=keep
    )
    short = trained(store, tmp_path / "b", lambda *_: Scripted(scores), validate_every=1, schedule="constant", steps=3)
    chosen = weights(result, "validation/generator_best.safetensors")
    assert read_json(result / "validation" / "validation.json")["best"] == 3  # not 2, which has a worse worst class
    assert same(chosen, weights(short))
    kept = weights(result)
    assert same(kept, chosen) == (keep == "best")
    assert load_method(result)[1]["kept_step"] == (3 if keep == "best" else 6)
    header = json.loads((result / "config.json").read_text())
    assert header["training"]["keep"] == keep


def test_measures_by_their_formulas(store: FaceStore, classifier: Path) -> None:
    rows = store.rows("val")
    judge = ValidationJudge(classifier, store, rows)
    network, labels = face_classifier.load(classifier), store.labels()[rows]
    with torch.inference_mode():
        features = network.features(to_tensor(store.images[rows])).numpy()
    # Every face becomes the first face of the class, those of class 2 stay as they are.
    first = {index: store.images[rows[labels == index][0]] for index in range(4)}
    edits = np.stack([[first[t] if t != 2 else store.images[row] for t in range(4)] for row in rows])
    found = judge(edits)
    for index, name in enumerate(store.classes):
        unedited = squared_mmd(features[labels == index], features[labels != index])
        assert judge.unedited.get(name, 0.0) == pytest.approx(max(unedited, 0.0), rel=1e-4, abs=1e-9)
    assert found["relative_distance"].keys() == judge.unedited.keys()
    if store.classes[2] in judge.unedited:
        assert found["relative_distance"][store.classes[2]] == pytest.approx(1.0, rel=1e-4)
    assert found["score"] == pytest.approx((np.mean(list(found["relative_distance"].values())) + 1 - found["eea"]) / 2)
    assert found["worst"] == max(found["relative_distance"].values())
    with torch.inference_mode():
        predicted = network(to_tensor(np.stack(list(first.values())))).argmax(1).numpy()
    for index in (0, 1, 3):
        assert found["eea_per_class"][store.classes[index]] == float(predicted[index] == index)
    assert found["outside_change"] > 0
    copies = np.repeat(store.images[rows][:, None], 4, 1)
    unedited = judge(copies)
    assert unedited["outside_change"] == 0
    assert list(unedited["relative_distance"].values()) == pytest.approx([1.0] * len(unedited["relative_distance"]))


def test_what_cannot_be_validated_is_told(store: FaceStore, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no classifier to judge"):
        trained(store, tmp_path / "a", validate_every=2)
    with pytest.raises(UserError, match="needs validate_every"):
        build(TrainingConfig, {"keep": "best"}, "training")
    with pytest.raises(UserError, match="validation_faces at least 2"):
        build(TrainingConfig, {"validate_every": 5, "validation_faces": 1}, "training")
    grey = store.images.copy()
    grey[:] = 128
    np.save(store.directory / "images_16.npy", grey)
    with pytest.raises(UserError, match="differ in no class"):
        ValidationJudge(classifier, FaceStore(store.directory, 16), store.rows("val"))


def test_a_method_that_edits_attributes_is_not_validated_and_says_so(
    store: FaceStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = store.directory / "index.csv"
    table = pd.read_csv(index)
    index.write_text(table.assign(attribute_Young=np.arange(len(table)) % 2).to_csv(index=False))
    settings = {**SETTINGS, "image_size": 16, "condition": {"space": "attributes", "names": ["Young"]}}
    settings["training"] = {"steps": 2, "batch_size": 4, "validate_every": 1, "keep": "best"}
    train_method(settings, store.directory, {}, tmp_path / "result", tmp_path / "checkpoints")
    assert "not validated" in capsys.readouterr().out
    assert read_json(tmp_path / "result" / "validation" / "validation.json") == {"entries": []}
    assert read_json(tmp_path / "result" / "config.json")["training"]["validate_every"] == 0
