import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.transform import estimate_transform

from mimik.evaluation.crops import crop_matrices
from mimik.evaluation.extractors import open_arcface
from mimik.evaluation.metrics import identity_loss
from mimik.evaluation.metrics.identity_loss import cosine_distance, five_points
from mimik.evaluation.places import Extractor
from mimik.networks.arcface import SIDE, TEMPLATE


def test_cosine_distance_by_hand() -> None:
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    second = np.array([[0.0, 3.0], [2.0, 2.0], [-1.0, 0.0]])
    assert cosine_distance(first, second).tolist() == pytest.approx([1.0, 0.0, 2.0])


def test_agrees_with_torch() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 10, 6))
    reference = 1 - F.cosine_similarity(torch.from_numpy(first), torch.from_numpy(second))
    assert cosine_distance(first, second) == pytest.approx(reference.numpy())


def corner(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Reads the identity that the fixture draws into the lower half: a direction that turns with it."""
    level = (images[:, 0, -1, -1] + 1) * 127.5 / 10
    return {"identity": torch.stack([torch.cos(level), torch.sin(level)], 1)}


READER = Extractor("reader", "12", corner)


def test_rendered_faces_are_read_by_the_reader(measure) -> None:
    entries = identity_loss.compute(measure(truth=True, reader=READER))
    assert entries["identity_loss"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert entries["identity_loss_truth"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert entries["identity_loss"]["extractor"] == "reader"
    assert entries["identity_loss"]["n"] == 8


def test_another_person_is_worse(measure) -> None:
    measurements = measure(truth=True, reader=READER)
    measurements.translations[0, :, -1, -1] = 20  # identity 2 instead of 0, for two targets of eight pairs
    entry = identity_loss.compute(measurements)["identity_loss"]
    assert entry["value"] == pytest.approx(2 * (1 - np.cos(2)) / 8, abs=1e-5)
    assert identity_loss.HIGHER_IS_BETTER["identity_loss"] is False


def test_crops_agree_with_scikit_image_and_put_the_points_on_the_template() -> None:
    generator = np.random.default_rng(0)
    size = 80
    turn = np.array([[0.55, -0.15], [0.15, 0.55]])
    points = np.array(TEMPLATE) @ turn.T + [10.0, 12.0] + generator.normal(scale=1.5, size=(2, 5, 2))
    matrices = crop_matrices(points, size, TEMPLATE, SIDE)
    for matrix, target in zip(matrices, points, strict=True):
        reference = estimate_transform("similarity", np.array(TEMPLATE), target)
        pixels = np.array([[0.0, 0.0], [SIDE, 0.0], [30.0, 100.0]])
        mapped = (pixels * 2 / SIDE - 1) @ matrix[:, :2].T + matrix[:, 2]
        assert (mapped + 1) * size / 2 == pytest.approx(reference(pixels), abs=1e-6)


def test_five_points_are_eye_centres_nose_and_mouth_corners() -> None:
    landmarks = np.zeros((1, 68, 2))
    landmarks[0, 36:42] = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    landmarks[0, 42:48] = 20
    landmarks[0, 30], landmarks[0, 48], landmarks[0, 54] = 30, 48, 54
    assert five_points(landmarks)[0].tolist() == [[5, 6], [20, 20], [30, 30], [48, 48], [54, 54]]


def test_photographs_are_cropped_by_the_landmarks_of_the_input(measure, faces) -> None:
    landmarks = np.zeros((4, 68, 2), dtype=np.float32)
    template = np.array(TEMPLATE) / SIDE
    for slots, point in zip((range(36, 42), range(42, 48), [30], [48], [54]), template, strict=True):
        landmarks[:, list(slots)] = point
    seen = []

    def outputs(crops: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(crops)
        return {"features": crops.mean((2, 3)) + 1}

    extractor = Extractor("arcface_ir_se50", "34", outputs)
    entries = identity_loss.compute(measure(arcface=extractor, arrays={"landmarks": landmarks}))
    colours = faces([0, 1, 2, 0], range(4)).astype(float)
    # These landmarks lie on the template, so that the crop is the whole image, enlarged.
    first = F.interpolate(torch.from_numpy(colours[:1]).permute(0, 3, 1, 2) / 127.5 - 1, SIDE, mode="bilinear")
    assert torch.allclose(seen[0][:1], first.float(), atol=1e-4)
    assert entries["identity_loss"]["extractor"] == "arcface_ir_se50"
    assert 0 < entries["identity_loss"]["value"] < 1
    assert "only datasets with ground truth" in entries["identity_loss_truth"]["skipped"]


def test_missing_weights_and_landmarks_are_said(measure) -> None:
    measurements = measure()
    assert identity_loss.compute(measurements)["identity_loss"] == {"skipped": "put the file there."}
    measurements.published[open_arcface] = READER
    assert "landmarks" in identity_loss.compute(measurements)["identity_loss"]["skipped"]
