"""Expression distance by OpenFace's CSV files about the edits."""

from pathlib import Path

import numpy as np
import pytest

from mimik.evaluation.measurements import Measurements
from mimik.evaluation.metrics import expression_distance_openface
from mimik.evaluation.openface import EDITS, content_digest
from mimik.evaluation.places import Places
from mimik.faces.action_units.openface import INTENSITIES
from mimik.storage.files import write_json
from tests.evaluation.metrics.conftest import CLASSES
from tests.evaluation.metrics.test_expression_distance import MEANS, with_training_faces

NAME, COPY = expression_distance_openface.NAMES


def wrote(file: Path, intensity: float, confidence: float = 0.9) -> None:
    """What FaceLandmarkImg writes: every unit at an intensity of 0 to 5."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header = ", ".join(["face", "confidence", *INTENSITIES])
    file.write_text(f"{header}\n{', '.join(['0', str(confidence), *[str(intensity)] * 17])}\n")


@pytest.fixture
def read(measure, tmp_path: Path) -> Measurements:
    """Edits to the three classes, in which OpenFace sees 0.5, 1 and 1.5 of 5; in the first face it sees none."""
    measurements: Measurements = with_training_faces(measure(), MEANS)
    measurements.store.action_unit_extractor = "openface 2"
    folder = tmp_path / "openface"
    measurements.places = Places(openface=folder)
    write_json(folder / EDITS, {"images": content_digest(measurements.translations)})
    for row in measurements.rows:
        identifier = measurements.store.table["id"].iloc[row]
        for number, target in enumerate(CLASSES):
            wrote(folder / target / f"{identifier}.csv", (number + 1) / 2, 0.1 if row == 0 else 0.9)
    return measurements


def test_the_distance_is_to_the_means_of_the_target_class(read: Measurements) -> None:
    entry = expression_distance_openface.compute(read)[NAME]
    means = np.array([np.mean(MEANS[name]) for name in CLASSES])
    distances = np.sqrt(17) * np.abs(np.array([0.1, 0.2, 0.3]) - means)
    kept = read.other & (np.arange(len(read.rows)) > 0)[:, None]
    expected = np.broadcast_to(distances, kept.shape)[kept].mean()
    assert entry["value"] == pytest.approx(expected, abs=1e-6)
    lost = int(read.other[0].sum())
    assert (entry["unread"], entry["n"], entry["extractor"]) == (lost, int(kept.sum()), "openface 2")
    assert f"Left out: {lost} of {int(read.other.sum())} pairs" in entry["protocol"] and "OpenFace" in entry["protocol"]


def test_the_unedited_faces_are_read_where_openface_was_run_on_them(read: Measurements) -> None:
    assert "faces are missing" in expression_distance_openface.compute(read)[COPY]["skipped"]
    for identifier in read.store.table["id"].iloc[read.rows]:
        wrote(Path(read.places.openface) / "faces" / f"{identifier}.csv", 0.0)  # type: ignore[arg-type]
    entry = expression_distance_openface.compute(read)[COPY]
    assert entry["unread"] == 0 and entry["value"] > 0


def test_pictures_of_other_translations_are_not_measured(read: Measurements) -> None:
    read.translations = read.translations + np.uint8(1)
    for entry in expression_distance_openface.compute(read).values():
        assert "other translations" in entry["skipped"]


def test_a_target_that_openface_has_not_seen_is_named(read: Measurements) -> None:
    for file in (Path(read.places.openface) / "fear").iterdir():  # type: ignore[arg-type]
        file.unlink()
    skipped = expression_distance_openface.compute(read)[NAME]["skipped"]
    assert "CSV files of fear are missing" in skipped and "FaceLandmarkImg -fdir" in skipped


def test_without_the_folder_it_says_what_to_run(read: Measurements) -> None:
    read.places = Places(openface="data/openface/faces/stargan")
    skipped = expression_distance_openface.compute(read)[NAME]["skipped"]
    assert "--edits data/openface/faces/stargan" in skipped


def test_readers_are_never_mixed(read: Measurements, measure) -> None:
    read.store.action_unit_extractor = "geometric 1"
    for made in (read, measure(truth=True, folder="rendered")):
        for entry in expression_distance_openface.compute(made).values():
            assert entry["applies"] is False
