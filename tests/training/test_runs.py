"""Conditions on a prepared dataset that hold before a method is trained on it."""

from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.training.runs import train_method
from tests.test_tracking import SETTINGS
from tests.tiny import make_store


def test_a_class_without_training_faces_stops_a_training_before_it_starts(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", size=16)
    table = store.table.copy()
    lost = (table["split"] == "train") & (table["expression"] == "sadness")
    table.loc[lost, "expression"] = "neutral"
    table.to_csv(store.directory / "index.csv", index=False)
    with pytest.raises(UserError, match=r"no face of the class 'sadness' is in the split 'train' .*sadness 0, surp"):
        train_method(SETTINGS, store.directory, {}, tmp_path / "result", tmp_path / "checkpoints")
    assert not (tmp_path / "result").exists()
