import numpy as np
import pandas as pd
import pytest
import torch

from mimik.datasets import synthetic
from mimik.evaluation.extractors import open_geometric
from mimik.evaluation.measurements import Measurements
from mimik.evaluation.metrics import expression_distance
from mimik.evaluation.places import Extractor, Missing
from mimik.faces.action_units import geometric
from mimik.faces.mesh.mesher import FaceMesher
from mimik.faces.reconstruction import calibration
from mimik.labels import ACTION_UNITS
from mimik.training.batches import to_tensor

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


def shy(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """As `read`, but finds no face where the second channel is the brightest."""
    units = read(images)["action_units"].clone()
    units[images.mean((2, 3)).argmax(1) == 1] = torch.nan
    return {"action_units": units}


def test_photographs_are_read_by_the_estimate_that_made_their_action_units(measure) -> None:
    """A reader of other units, or none, does not matter then; pairs without a face are counted and left out."""
    measurements = measure(reader=Missing("train it."), geometric=Extractor("geometric", "77", shy, "geometric 1"))
    measurements.store.action_unit_extractor = "geometric 1"
    entries = expression_distance.compute(with_training_faces(measurements, MEANS))
    entry = entries["expression_distance"]
    # Pairs (source, target): 02 10 12 20 02; those to target 1 are not read.
    away = np.array([0.0, 0.1, 0.0, 0.1, 0.0]) * np.sqrt(17)
    assert entry["value"] == pytest.approx(away.mean())
    assert entry["n"] == 5 and entry["unread"] == 3 and entry["extractor"] == "geometric"
    assert "the geometric estimate from the face mesh reads from the translations" in entry["protocol"]
    assert "Left out: 3 of 8 pairs, in which no face is found." in entry["protocol"]
    assert entries["expression_distance_copy"]["unread"] == 2  # the face that shows class 1 itself
    assert "ground truth" in entries["expression_distance_truth"]["skipped"]


def test_with_a_reader_the_protocol_names_it_and_counts_nothing(measure) -> None:
    entry = expression_distance.compute(with_training_faces(measure(truth=True, reader=READER), MEANS))[NAMES[0]]
    assert "that the reader network reads from the translations" in entry["protocol"]
    assert "unread" not in entry and "Left out" not in entry["protocol"]


def test_pictures_without_any_face_are_no_measurement(measure) -> None:
    def blind(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"action_units": torch.full((len(images), len(ACTION_UNITS)), torch.nan)}

    measurements = measure(geometric=Extractor("geometric", "77", blind, "geometric 1"))
    measurements.store.action_unit_extractor = "geometric 1"
    entry = expression_distance.compute(with_training_faces(measurements, MEANS))["expression_distance"]
    assert "no pair" in entry["skipped"]


@pytest.mark.slow
def test_the_estimate_reads_faces_and_only_of_its_own_version(measure) -> None:
    """On rendered faces, whose units are known: a smile has more of AU12 than a neutral face. A wall has no units."""
    pytest.importorskip("mediapipe")
    store = measure().store
    assert "not geometric" in open_geometric(store).reason  # type: ignore[union-attr]
    store.action_unit_extractor = "geometric 0000, mediapipe 0.1"
    other = open_geometric(store)
    assert isinstance(other, Missing) and "Prepare the dataset again" in other.reason
    with FaceMesher() as mesher:
        store.action_unit_extractor = f"geometric {geometric.version(mesher.version)}"
    opened = open_geometric(store)
    assert isinstance(opened, Extractor) and opened.action_units == store.action_unit_extractor
    smile = ACTION_UNITS.index("AU12")
    people = pd.concat([calibration.expressions("val", 6, 5).iloc[:1]] * 2, ignore_index=True)
    shown = synthetic.with_action_units(people, np.stack([np.zeros(17), np.eye(17)[smile]]))
    faces = synthetic.render(shown, 256, ("images",)).images
    assert faces is not None
    seen = opened.outputs(to_tensor(np.concatenate([faces, np.full_like(faces[:1], 90)])))["action_units"]
    assert seen.shape == (3, 17) and seen[:2].isfinite().all() and seen[2].isnan().all()
    assert seen[1, smile] > seen[0, smile] + 0.2
