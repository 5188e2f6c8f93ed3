"""Measures of a mesh, the map from them to action units, and what the mesh says about rendered faces."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mimik.datasets import synthetic
from mimik.errors import UserError
from mimik.faces import alignment
from mimik.faces.action_units import geometric
from mimik.faces.action_units.geometric import NAMES, PAIRS, estimator, in_head, measures
from mimik.faces.reconstruction import calibration
from mimik.faces.reconstruction.reconstruct import Face
from mimik.labels import ACTION_UNITS, SEGMENTATION_CLASSES
from mimik.storage.files import read_json, write_json


@pytest.fixture
def mesh() -> np.ndarray:
    """A mesh without any symmetry, its eyes and temples where they are in a face."""
    points = np.random.default_rng(0).normal((128, 128, 0), 30, (478, 3))
    for vertex, place in {33: (80, 100, 0), 263: (176, 100, 0), 10: (128, 40, 0), 2: (128, 140, 20)}.items():
        points[vertex] = place
    return points


def turned(points: np.ndarray, degrees: tuple[float, float, float]) -> np.ndarray:
    a, b, c = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return points @ (z @ y @ x).T


def test_measures_do_not_depend_on_pose_place_and_size(mesh: np.ndarray) -> None:
    moved = turned(mesh, (12, -30, 8)) * 0.37 + (40, -7, 300)
    assert np.allclose(measures(moved), measures(mesh), atol=1e-9)
    assert measures(mesh).shape == (len(NAMES),) and len(set(NAMES)) == len(NAMES)


def test_a_mirrored_face_has_the_same_measures(mesh: np.ndarray) -> None:
    mirrored = mesh * (-1, 1, 1)
    left, right = [*PAIRS, 57], [*PAIRS.values(), 287]
    mirrored[[*left, *right]] = mirrored[[*right, *left]]
    assert np.allclose(measures(mirrored), measures(mesh), atol=1e-9)


def test_frame_and_names_say_what_is_measured(mesh: np.ndarray) -> None:
    placed = in_head(mesh)
    assert np.linalg.norm(placed[263] - placed[33]) == pytest.approx(1)
    assert np.allclose(placed[[33, 133, 362, 263]].mean(axis=0), 0)
    assert placed[10, 1] > placed[2, 1]  # up is up
    nearer = mesh.copy()
    nearer[14] += (0, 9.6, 0)  # a tenth of the distance of the eyes
    change = dict(zip(NAMES, measures(nearer) - measures(mesh), strict=True))
    changed = {name for name, value in change.items() if abs(value) > 1e-9}
    assert changed == {"height 14", "front 14", "distance 13 14", "distance 14 17"}
    assert np.hypot(change["height 14"], change["front 14"]) == pytest.approx(0.1, rel=0.05)
    raised = dict(zip(NAMES, measures(mesh + 0.0), strict=True))
    assert raised["distance 61 291"] == pytest.approx(np.linalg.norm(placed[61] - placed[291]))


def test_a_mesh_without_eyes_is_refused(mesh: np.ndarray) -> None:
    mesh[263] = mesh[33]
    with pytest.raises(ValueError, match="distance between the eyes"):
        measures(mesh)


def test_fit_finds_a_linear_map_and_a_heavy_penalty_the_mean(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    measured = random.normal(3, 2, (600, len(NAMES)))
    weights = random.normal(0, 0.002, (len(NAMES), len(ACTION_UNITS)))
    units = (measured - 3) @ weights + 0.5
    assert units.min() > 0 and units.max() < 1
    fitted = calibration.fit(measured, units, 1e-9)
    assert np.allclose(fitted(measured), units, atol=1e-4)
    assert np.allclose(calibration.fit(measured, units, 1e6)(measured), units.mean(axis=0), atol=1e-3)

    path = tmp_path / "map.json"
    write_json(path, calibration.stored(fitted, {"seed": 1}))
    loaded = estimator(path)
    assert np.allclose(loaded(measured), fitted(measured), atol=1e-4)
    assert loaded(measured * 1e6).min() == 0 and loaded(measured * 1e6).max() == 1
    changed = read_json(path) | {"offset": [0.1] * len(ACTION_UNITS)}
    write_json(tmp_path / "other.json", changed)
    assert estimator(tmp_path / "other.json").version != loaded.version
    write_json(tmp_path / "old.json", changed | {"measures": ["height 1"]})
    with pytest.raises(UserError, match="--calibrate"):
        estimator(tmp_path / "old.json")


def test_the_stored_map_says_where_it_comes_from() -> None:
    stored = read_json(geometric.COEFFICIENTS)
    assert "face_mesh.py --calibrate" in stored["provenance"]["command"]
    assert stored["provenance"]["faces"] > 1000
    assert geometric.version("mediapipe 0.10.21") == f"{estimator().version}, mediapipe 0.10.21"


def test_correlation_of_columns() -> None:
    values = np.array([[0.0, 1, 5], [1, 0, 5], [2, -1, 5]])
    assert np.allclose(calibration.correlation(values, values[:, [0, 0, 0]]), [1, -1, np.nan], equal_nan=True)


def test_people_of_the_fit_are_not_measured_and_units_are_independent() -> None:
    train, test = (calibration.independent(split, 40, 0) for split in ("train", "test"))
    assert len(train) == len(test) == 80 and train["identity_seed"].nunique() == 40
    assert set(train["identity_seed"]).isdisjoint(test["identity_seed"])
    units = train[list(ACTION_UNITS)].to_numpy()
    assert units.min() >= 0 and units.max() <= 1
    assert 0.25 < (units > 0.15).mean() < 0.40
    assert np.abs(np.corrcoef(units.T) - np.eye(17)).max() < 0.45
    assert len(calibration.expressions("test", 3, 0)) == 24


@pytest.mark.slow
def test_the_mesh_shows_raised_brows_closed_eyes_and_an_open_mouth() -> None:
    pytest.importorskip("mediapipe")
    people = calibration.expressions("val", 6, 5)
    people = people[people["expression"] == "neutral"].reset_index(drop=True)
    rest = calibration.observe(synthetic.with_action_units(people, np.zeros(17)))
    assert rest[1].all()
    for name in ("AU02", "AU12", "AU26", "AU45"):
        index = ACTION_UNITS.index(name)
        shown = calibration.observe(synthetic.with_action_units(people, np.eye(17)[index]))
        rise = estimator()(shown[0]) - estimator()(rest[0])
        assert rise[:, index].mean() > 0.3, name
        assert rise.mean(axis=0).argmax() == index, name


def relief(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, normals and mask of a slanted bowl, encoded like the store."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    depth = (128 + 60 * x + 20 * y - 60 * (x**2 + 2 * y**2)).round().astype(np.uint8)
    normals = np.stack([-0.3 + x, 0.2 + y, np.ones_like(x)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    mask = np.full((size, size), SEGMENTATION_CLASSES.index("skin"), np.uint8)
    return depth, ((normals + 1) * 127.5).round().astype(np.uint8), mask


def found(depth: np.ndarray, normals: np.ndarray, transform: np.ndarray) -> Face:
    size = len(depth)
    points = np.zeros((68, 2), np.float32)
    return Face({}, {size: depth}, {size: normals}, {}, points, transform.astype(np.float32), None, 50.0, 1.0)


def test_relief_of_the_truth_itself_has_no_error_also_when_the_crop_is_turned() -> None:
    depth, normals, mask = relief(64)
    straight = np.array([[1 / 64, 0, 0], [0, 1 / 64, 0]])
    correlation, untilted, degrees, covered = calibration.relief_error(
        found(depth, normals, straight), depth, normals, mask
    )
    assert correlation == pytest.approx(1) and untilted == pytest.approx(1)
    assert degrees < 0.5 and covered == 1
    # A quarter turn clockwise on the screen: x becomes y. What points right then points down.
    quarter = np.array([[0, -1 / 64, 1], [1 / 64, 0, 0]])
    assert np.allclose(alignment.apply(quarter, np.array([64.0, 0])), [1, 1])
    vectors = np.rot90(normals, -1) / 127.5 - 1
    vectors = np.stack([vectors[..., 1], -vectors[..., 0], vectors[..., 2]], axis=-1)
    crop = found(np.rot90(depth, -1), ((vectors + 1) * 127.5).round().astype(np.uint8), quarter)
    correlation, _, degrees, covered = calibration.relief_error(crop, depth, normals, mask)
    assert correlation == pytest.approx(1) and degrees < 0.8 and covered == 1


def test_relief_errors_are_seen_where_the_face_is_and_nowhere_else() -> None:
    depth, normals, mask = relief(64)
    straight = np.array([[1 / 64, 0, 0], [0, 1 / 64, 0]])
    y = np.mgrid[:64, :64][0]
    tilted = (depth * 0.5 + y).round().astype(np.uint8)
    correlation, untilted, _, _ = calibration.relief_error(found(tilted, normals, straight), depth, normals, mask)
    assert correlation < 0.95 and untilted > 0.999
    flat = np.broadcast_to(np.array([128, 128, 255], np.uint8), normals.shape)
    face = found(depth, flat, straight)
    true = normals / 127.5 - 1
    expected = np.degrees(np.arccos(true[..., 2] / np.linalg.norm(true, axis=-1))).mean()
    assert calibration.relief_error(face, depth, normals, mask)[2] == pytest.approx(expected, abs=0.5)
    half = mask.copy()
    half[:, 32:] = SEGMENTATION_CLASSES.index("hair")
    broken = depth.copy()
    broken[:, 32:] = 255 - broken[:, 32:]
    broken[:, :8] = 0  # the mesh does not reach there
    face = dataclasses.replace(face, depth={64: broken})
    correlation, _, _, covered = calibration.relief_error(face, depth, normals, half)
    assert correlation == pytest.approx(1) and covered == pytest.approx(0.75)


def test_a_few_rendered_faces_are_found_and_compared() -> None:
    pytest.importorskip("mediapipe")
    rows = calibration.expressions("test", 1, 3)
    result = calibration.compare(rows)
    assert result.rendered == 8 and len(result.units) == 8
    assert np.allclose(result.true_units, rows[list(ACTION_UNITS)].to_numpy())
    assert result.depth_correlation.mean() > 0.85 and (result.depth_untilted > result.depth_correlation - 0.005).all()
    assert result.depth_untilted.mean() > result.depth_correlation.mean()
    assert result.normal_error.mean() < 22 and result.covered.mean() > 0.8
    assert np.abs(result.pitch - result.true_pitch).mean() < 12
    assert np.abs(result.units - result.true_units).mean() < 0.25
