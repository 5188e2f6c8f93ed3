import numpy as np
import pytest
import torch

from mimik.evaluation.metrics import acd
from mimik.evaluation.places import Extractor
from mimik.networks.dlib_face import LANDMARKS, SIDE, TEMPLATE

seen: list[torch.Tensor] = []


def red(crops: torch.Tensor) -> dict[str, torch.Tensor]:
    """The grey level of the red channel in the middle, over 100, and a number that never changes."""
    seen.append(crops)
    level = (crops[:, 0, SIDE // 2, SIDE // 2] + 1) * 127.5 / 100
    return {"features": torch.stack([level, torch.full_like(level, 3.0)], 1)}


DLIB = Extractor("dlib_face_recognition_v1", "56", red)


@pytest.fixture
def landmarks() -> dict[str, np.ndarray]:
    """On the template: the crop is the whole image."""
    points = np.zeros((4, 68, 2), dtype=np.float32)
    points[:, LANDMARKS] = np.array(TEMPLATE) / SIDE
    return {"landmarks": points}


@pytest.fixture
def entries(measure, landmarks):
    """Four grey inputs of classes 0, 1, 2, 0; edits are lighter by 10 times (1 + face) + 40 times the target."""
    images = np.full((4, 16, 16, 3), 20, np.uint8)
    translations = np.repeat(images[:, None], 3, 1)
    for face in range(4):
        for target in range(3):
            translations[face, target] += np.uint8(10 * (1 + face) + 40 * target)
    return acd.compute(measure(images=images, translations=translations, dlib=DLIB, arrays=landmarks))


def test_distances_by_hand(entries) -> None:
    # Target = source is left out: (0, 0), (1, 1), (2, 2), (3, 0).
    distances = {(0, 1): 0.5, (0, 2): 0.9, (1, 0): 0.2, (1, 2): 1.0, (2, 0): 0.3, (2, 1): 0.7, (3, 1): 0.8, (3, 2): 1.2}
    entry = entries["acd"]
    assert entry["value"] == pytest.approx(np.mean(list(distances.values())), abs=1e-5)
    assert entry["n"] == 8 and entry["extractor"] == "dlib_face_recognition_v1" and entry["extractor_sha256"] == "56"
    assert entry["per_class"] == {
        "anger": pytest.approx(0.25, abs=1e-5),
        "fear": pytest.approx(2 / 3, abs=1e-5),
        "happiness": pytest.approx(3.1 / 3, abs=1e-5),
    }
    low, high = entry["ci"]
    assert low < entry["value"] < high
    assert entry["ci_per_class"].keys() == entry["per_class"].keys()


def test_share_of_the_same_person(entries) -> None:
    entry = entries["same_person"]
    assert entry["value"] == pytest.approx(3 / 8)
    assert entry["per_class"] == {"anger": 1.0, "fear": pytest.approx(1 / 3), "happiness": 0.0}
    assert acd.HIGHER_IS_BETTER == {"acd": False, "same_person": True}


def test_sums_per_face_are_kept_for_paired_comparisons(entries) -> None:
    faces = entries["acd"]["per_face"]
    assert faces.sums.sum() / faces.counts.sum() == pytest.approx(entries["acd"]["value"])
    assert faces.counts[:, 0].tolist() == [2, 2, 2, 2]


def test_both_are_cut_by_the_landmarks_of_the_input(measure, landmarks) -> None:
    landmarks["landmarks"] = landmarks["landmarks"] / 2  # the face fills the upper left quarter
    images = np.zeros((4, 16, 16, 3), np.uint8)
    images[:, :8, :8] = 200
    seen.clear()
    entries = acd.compute(
        measure(images=images, translations=np.repeat(images[:, None], 3, 1), dlib=DLIB, arrays=landmarks)
    )
    assert seen[0].shape[1:] == (3, SIDE, SIDE)
    assert seen[0][:, :, : SIDE - 12, : SIDE - 12].min() > 0.5  # the quarter alone
    assert entries["acd"]["value"] == 0 and entries["same_person"]["value"] == 1


def test_what_is_missing_is_said(measure, landmarks) -> None:
    skipped = {name: {"skipped": "put the file there."} for name in acd.NAMES}
    assert acd.compute(measure()) == skipped
    lacking = acd.compute(measure(dlib=DLIB, folder="second"))
    assert all("landmarks" in lacking[name]["skipped"] for name in acd.NAMES)


def test_rendered_faces_are_left_to_the_reader(measure) -> None:
    entries = acd.compute(measure(truth=True, dlib=DLIB))
    assert entries["acd"]["applies"] is False and "knows photographs" in entries["same_person"]["skipped"]
