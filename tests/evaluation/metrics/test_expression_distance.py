import numpy as np
import pandas as pd
import pytest
import torch

from mimik.evaluation.measurements import Extractor, Measurements, Missing
from mimik.evaluation.metrics import expression_distance
from mimik.labels import ACTION_UNITS

NAMES = expression_distance.NAMES


def read(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """All action units are class / 2, told from the brightest channel, as the fixture's truth has them."""
    units = images.mean((2, 3)).argmax(1).float()[:, None].expand(-1, len(ACTION_UNITS)) / 2
    return {"action_units": units, "identity": units}


READER = Extractor("reader", "12", read)


def with_training_faces(measurements: Measurements, units: dict[str, list[float]]) -> Measurements:
    """The same with training faces: every class with faces whose action units all have the values given."""
    rows = [
        {"id": f"{name}{value}", "split": "train", "expression": name, **dict.fromkeys(ACTION_UNITS, value)}
        for name, values in units.items()
        for value in values
    ]
    store = measurements.store
    store.table = pd.concat([store.table, pd.DataFrame(rows)], ignore_index=True)
    return measurements


MEANS = {"anger": [0.0, 0.2], "fear": [0.6], "happiness": [1.0, 1.0]}


def test_the_target_is_the_mean_of_the_training_faces(measure) -> None:
    """Perfect edits are as far from the means as their classes' values: 0.1, 0.1 and 0 in each of 17 units."""
    entries = expression_distance.compute(with_training_faces(measure(truth=True, reader=READER), MEANS))
    # Pairs (source, target): 01 02 10 12 20 21 01 02.
    away = np.array([0.1, 0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.0]) * np.sqrt(17)
    assert entries["expression_distance"]["value"] == pytest.approx(away.mean())
    assert entries["expression_distance_truth"]["value"] == pytest.approx(away.mean())
    copied = np.abs(np.array([0 - 0.6, 0 - 1, 0.5 - 0.1, 0.5 - 1, 1 - 0.1, 1 - 0.6, 0 - 0.6, 0 - 1])) * np.sqrt(17)
    assert entries["expression_distance_copy"]["value"] == pytest.approx(copied.mean())
    assert entries["expression_distance"]["n"] == 8 and entries["expression_distance"]["extractor"] == "reader"
    assert expression_distance.HIGHER_IS_BETTER["expression_distance"] is False


def test_unedited_translations_get_the_copy_baseline(measure, faces) -> None:
    copies = np.repeat(faces([0, 1, 2, 0], range(4))[:, None], 3, 1)
    entries = expression_distance.compute(with_training_faces(measure(reader=READER, translations=copies), MEANS))
    assert entries["expression_distance"]["value"] == pytest.approx(entries["expression_distance_copy"]["value"])
    assert "ground truth" in entries["expression_distance_truth"]["skipped"]


def test_distance_is_the_norm_over_the_units() -> None:
    seen = np.array([[[0.3, 0.0], [0.0, 0.4]]])
    assert expression_distance.distance(seen, np.array([[[0.0, 0.4], [0.0, 0.0]]])).tolist() == [[0.5, 0.4]]


def test_what_is_missing_is_said(measure) -> None:
    assert expression_distance.compute(measure(reader=Missing("train it."))) == {
        name: {"skipped": "train it."} for name in NAMES
    }
    without_units = expression_distance.compute(measure(reader=READER, folder="second"))
    assert all("no action units" in entry["skipped"] for entry in without_units.values())
    lacking = with_training_faces(measure(reader=READER, folder="third"), {"anger": [0.0], "fear": [0.5]})
    entries = expression_distance.compute(lacking)
    assert all("happiness" in entries[name]["skipped"] for name in NAMES)


def test_action_units_of_two_extractors_are_not_compared(measure) -> None:
    measurements = with_training_faces(measure(reader=Extractor("reader", "12", read, "openface 2")), MEANS)
    measurements.store.action_unit_extractor = "rendered"
    assert all("'openface 2'" in entry["skipped"] for entry in expression_distance.compute(measurements).values())
