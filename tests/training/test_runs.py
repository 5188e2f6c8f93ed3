"""Conditions on a prepared dataset that hold before a method is trained on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mimik.errors import UserError
from mimik.faces.prepared.label_quality import RECORD, SCORES
from mimik.faces.prepared.store import FaceStore
from mimik.labels import SEGMENTATION_CLASSES
from mimik.networks import segmenter
from mimik.networks.stored import save_network
from mimik.statistics.confusion import confusion_matrix, intersection_over_union
from mimik.storage.files import file_sha256, write_json, write_text
from mimik.training.runs import train_method
from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS


def test_a_class_without_training_faces_stops_a_training_before_it_starts(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", size=16)
    table = store.table.copy()
    lost = (table["split"] == "train") & (table["expression"] == "sadness")
    table.loc[lost, "expression"] = "neutral"
    table.to_csv(store.directory / "index.csv", index=False)
    with pytest.raises(UserError, match=r"no face of the class 'sadness' is in the split 'train' .*sadness 0, surp"):
        train_method(SETTINGS, store.directory, {}, tmp_path / "result", tmp_path / "checkpoints")
    assert not (tmp_path / "result").exists()


def scored(store: FaceStore, folder: Path) -> Path:
    """Scores in which the first training face of `sadness` is doubted."""
    rows = store.rows("train")
    table = pd.DataFrame({"id": store.table["id"].iloc[rows], "expression": store.table["expression"].iloc[rows]})
    sad = int(np.flatnonzero(table["expression"] == "sadness")[0])
    table = table.assign(fold=1, confidence=0.9, weight=1.0, probable="")
    table.iloc[sad, 3:] = [0.1, 0.01, "neutral"]
    write_text(folder / SCORES, table.to_csv(index=False))
    numbers = {"doubted": 0, "threshold": 0.9, "told_right": 0.9}
    counts = table["expression"].value_counts()
    record = {
        "dataset_digest": store.digest,
        "folds": 4,
        "classes": {name: {"faces": int(counts[name]), **numbers} for name in store.classes},
        "scores_sha256": file_sha256(folder / SCORES),
    }
    write_json(folder / RECORD, record)
    return folder


def test_a_method_is_trained_by_the_scores_of_labels_if_it_reads_labels(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", size=16)
    labels = scored(store, tmp_path / "labels")
    made: dict[str, Any] = {}
    for action in (None, "keep", "weight", "leave_out"):
        used = {} if action is None else {"label_quality": {"action": action, "reliable": 0.7}}
        out, given = tmp_path / str(action), None if action is None else labels
        train_method({**SETTINGS, **used}, store.directory, {}, out, tmp_path / "state" / str(action), labels_dir=given)
        config = json.loads((out / "config.json").read_text())
        made[str(action)] = ((out / "history.csv").read_bytes(), config.get("label_quality"))
    assert made["None"][1] is None and made["keep"][0] == made["None"][0]
    assert len({history for history, _ in made.values()}) == 3
    assert made["leave_out"][1]["left_out"] == {**dict.fromkeys(store.classes, 0), "sadness": 1}
    # A method that reads no labels is not touched by them.
    units = {**SETTINGS, "condition": {"space": "action_units"}, "label_quality": {"action": "weight", "reliable": 0.7}}
    train_method(units, store.directory, {}, tmp_path / "units", tmp_path / "state/units", labels_dir=labels)
    assert "label_quality" not in json.loads((tmp_path / "units/config.json").read_text())


HIER_SEG = {
    **SETTINGS,
    "method": "hier_seg",
    "module": "hier_seg",
    "image_size": 32,
    "pretrained": {"segmenter": "masked/tiny"},
    "config": {
        **{"conv_dim": 4, "residual_blocks": 1, "local_conv_dim": 4, "local_residual_blocks": 1, "local_size": 16},
        **{"fusion_conv_dim": 4, "fusion_residual_blocks": 1, "critic_updates": 1},
        **{"adversary": {"conv_dim": 4, "layers": 2}, "local_adversary": {"conv_dim": 4, "layers": 2}},
    },
    "training": {"steps": 2, "batch_size": 4, "log_every": 1, "sample_every": 1},
}


class Kept:
    """A logger that keeps what training says of the segmenter."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def __getattr__(self, name: str) -> Any:
        def keep(*arguments: Any, **named: Any) -> None:
            for value in (*arguments, *named.values()):
                if isinstance(value, dict) and "probe/miou_val" in value:
                    self.found.append(value["probe/miou_val"])

        return keep


@pytest.mark.parametrize("elsewhere", [True, False])
def test_end_to_end_training_needs_no_masks_where_the_segmenter_comes_from_elsewhere(
    tmp_path: Path, elsewhere: bool
) -> None:
    torch.manual_seed(0)
    settings = {"network": "unet", "image_size": 16, "width": 4}
    network = segmenter.build(settings)
    classes = list(SEGMENTATION_CLASSES)
    record = {"kind": "segmenter", "name": "tiny", "architecture": settings, "classes": classes}
    save_network(tmp_path / "segmenter", network, record)
    store = make_store(tmp_path / "store", size=32)
    (store.directory / "masks_32.npy").unlink()
    other = make_store(tmp_path / "masked", size=16, seed=1)
    kept = Kept()
    train_method(
        HIER_SEG, store.directory, {"segmenter": tmp_path / "segmenter"}, tmp_path / "result", tmp_path / "checkpoints",
        kept, segmented_dir=other.directory if elsewhere else None,
    )  # fmt: skip
    if not elsewhere:
        assert kept.found == []  # nobody knows how good it is
        return
    # What is said at the end is the value of the segmenter that was kept, on its own dataset's validation faces.
    from mimik.training.runs import load_method

    method, config = load_method(tmp_path / "result")
    assert config["pretrained"] == {"segmenter": "masked/tiny"}
    rows = other.rows("val")
    images = torch.from_numpy(other.images[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        predicted = method.segmenter(images).argmax(1).numpy()
    assert len(kept.found) >= 1
    expected = intersection_over_union(confusion_matrix(predicted, np.asarray(other.masks)[rows], 19, 255))[0]
    assert kept.found[-1] == pytest.approx(expected, abs=0.02)
