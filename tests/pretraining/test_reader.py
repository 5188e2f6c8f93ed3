import json

import numpy as np
import pandas as pd
import pytest

from mimik.datasets import synthetic
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS
from mimik.pretraining.reader import correlation, determination, load, pretrain_reader
from tests.pretraining.conftest import write_store

COLUMNS = list(ACTION_UNITS[:2])


def test_correlation_by_hand():
    first = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [2.0, -1.0, 2.0]])
    second = np.array([[1.0, 1.0, 0.0], [3.0, 2.0, 1.0], [5.0, 3.0, 2.0]])
    result = correlation(first, second)
    assert result[:2] == pytest.approx([1.0, -1.0])
    assert np.isnan(result[2])


def test_determination_by_hand():
    truth = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert determination(truth, truth)[0] == 1
    assert determination(np.ones((3, 2)), truth)[0] == 0
    assert determination(np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]), truth)[0] == pytest.approx(1 - 1 / 2)
    assert np.isnan(determination(truth, truth)[1])


def test_training_learns_and_writes_its_folder(squares, settings, tmp_path, monkeypatch):
    def descriptor(table):
        label = table["expression"].map({"red": 5.0, "green": 7.0, "blue": 9.0}).to_numpy()
        return np.stack([label, np.full(len(table), 3.0)], 1).astype(np.float32)

    monkeypatch.setattr(synthetic, "identity_descriptor", descriptor, raising=False)
    training = {"steps": 120, "batch_size": 20, "learning_rate": 1e-2, "log_every": 20}
    config = {"width": 8, "identity_weight": 0.2, "shift": 0.0, "soften": 0.0, "noise": 0.0}
    given = {**settings, "config": config, "training": training}
    pretrain_reader(given, squares, tmp_path / "out", tmp_path / "state")
    history = pd.read_csv(tmp_path / "out/history.csv")
    assert history["reader/action_units"].iloc[-1] < 0.5 * history["reader/action_units"].iloc[0]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    correlations = metrics["au_correlation_per_unit"]
    assert min(correlations[name] for name in COLUMNS) > 0.7  # where the square is
    assert correlations[ACTION_UNITS[5]] is None  # never varies
    assert metrics["identity_r2_per_entry"][0] > 0.8 and metrics["identity_r2_per_entry"][1] is None
    reader = load(tmp_path / "out")
    assert reader.identity_mean.tolist() == pytest.approx([7.0, 3.0])
    assert reader.identity_scale.tolist() == pytest.approx([np.sqrt(8 / 3), 1.0])


def test_only_rendered_faces_have_the_truth(settings, tmp_path):
    photographs = write_store(tmp_path / "store", {"train": 3, "val": 3, "test": 3})
    manifest = json.loads((photographs / "manifest.json").read_text())
    (photographs / "manifest.json").write_text(json.dumps({**manifest, "source": "photographs"}))
    with pytest.raises(UserError, match="learns from the renderer's truth"):
        pretrain_reader(
            {**settings, "dataset": "affectnet", "config": {}, "training": {}},
            photographs,
            tmp_path / "out",
            tmp_path / "state",
        )
