"""A whole reconstruction of a real photograph."""

import numpy as np
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.faces import alignment
from mimik.faces.reconstruction.reconstruct import DEPTH_FAR, DEPTH_NEAR, Face, Reconstructor, Rejected
from mimik.labels import IGNORED, MIRRORED_CLASSES, SEGMENTATION_CLASSES

INDEX = {name: position for position, name in enumerate(SEGMENTATION_CLASSES)}


def centre(mask: np.ndarray, name: str) -> np.ndarray:
    rows, columns = np.nonzero(mask == INDEX[name])
    assert len(rows), f"{name} is missing"
    return np.array([columns.mean(), rows.mean()]) / len(mask)


def test_arrays_have_their_shapes(face: Face) -> None:
    for size in (128, 64):
        assert face.images[size].shape == (size, size, 3)
        assert face.masks[size].shape == face.depth[size].shape == (size, size)
        assert face.normals[size].shape == (size, size, 3)
    assert face.landmarks.shape == (68, 2) and face.landmarks.dtype == np.float32
    assert face.transform.shape == (2, 3) and face.transform.dtype == np.float32


def test_crop_shows_what_the_transform_says(photograph: np.ndarray, face: Face) -> None:
    """Cutting the crop out again, pixel by pixel through the kept inverse, gives the same picture."""
    size = 128
    grid = np.stack(np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size), axis=-1)
    source = alignment.apply(alignment.inverse(face.transform), grid)
    column, row = (source[..., axis].astype(int).clip(0, 511) for axis in range(2))
    inside = alignment.outside_source(face.transform, photograph.shape, size) == 0
    difference = np.abs(face.images[size].astype(int) - photograph[row, column])[inside]
    assert difference.mean() < 6
    round_trip = alignment.apply(face.transform, source) - grid
    assert np.abs(round_trip).max() * size < 0.01


def test_face_sits_on_the_template(face: Face) -> None:
    found = alignment.five_points(face.landmarks)
    assert np.abs(found - np.array(alignment.TEMPLATE)).max() < 0.045


def test_alignment_is_the_same_for_a_turned_and_shrunk_photograph(
    photograph: np.ndarray, face: Face, reconstructor: Reconstructor
) -> None:
    turned = np.asarray(Image.fromarray(photograph).rotate(14, Image.Resampling.BICUBIC).resize((400, 400)))
    again = reconstructor(turned)
    assert isinstance(again, Face)
    difference = np.abs(again.images[128].astype(int) - face.images[128].astype(int))[20:110, 30:100]
    assert difference.mean() < 8
    assert again.pose is not None and face.pose is not None
    assert again.pose[2] - face.pose[2] == pytest.approx(-14, abs=2.5)
    assert again.eye_distance / face.eye_distance == pytest.approx(400 / 512, rel=0.04)


def test_parts_are_where_a_face_has_them(face: Face) -> None:
    for mask in face.masks.values():
        places = {name: centre(mask, name) for name in ("l_eye", "r_eye", "l_brow", "r_brow", "nose", "mouth")}
        assert np.linalg.norm(places["l_eye"] - alignment.TEMPLATE[0]) < 0.03
        assert np.linalg.norm(places["r_eye"] - alignment.TEMPLATE[1]) < 0.03
        for side in "lr":
            assert places[f"{side}_brow"][1] < places[f"{side}_eye"][1] - 0.04
        assert np.linalg.norm(places["nose"] - (0.5, 0.5)) < 0.05
        assert centre(mask, "u_lip")[1] < places["mouth"][1] < centre(mask, "l_lip")[1]
        assert mask[0, 0] == INDEX["background"]
        shares = np.bincount(mask.ravel(), minlength=256) / mask.size
        assert 0.25 < shares[INDEX["skin"]] < 0.6
        assert 0.03 < shares[IGNORED] < 0.2
        assert set(np.unique(mask)) == {INDEX[name] for name in ("background", "skin", *places, "u_lip", "l_lip")} | {
            IGNORED
        }


def test_mirrored_photograph_gives_mirrored_maps(
    photograph: np.ndarray, face: Face, reconstructor: Reconstructor
) -> None:
    again = reconstructor(np.ascontiguousarray(photograph[:, ::-1]))
    assert isinstance(again, Face)
    swap = np.arange(256)
    swap[: len(MIRRORED_CLASSES)] = MIRRORED_CLASSES
    mirrored = swap[again.masks[128][:, ::-1]]
    assert (mirrored == face.masks[128]).mean() > 0.93
    for name in ("l_eye", "r_eye", "l_brow", "r_brow", "nose", "u_lip", "l_lip", "mouth"):
        assert np.linalg.norm(centre(mirrored, name) - centre(face.masks[128], name)) < 0.03
    assert again.pose is not None and face.pose is not None
    assert again.pose[0] == pytest.approx(-face.pose[0], abs=4)


@pytest.mark.parametrize(("left", "top", "side"), [(0, 0, 512), (110, 0, 230), (90, 20, 200)])
def test_depth_and_normals_of_a_mirrored_photograph_are_the_mirrored_ones(
    photograph: np.ndarray, reconstructor: Reconstructor, left: int, top: int, side: int
) -> None:
    """Within 6 levels of 255 and 7 degrees: the network, not the maps, sees a mirrored face a little differently."""
    part = np.ascontiguousarray(photograph[top : top + side, left : left + side])
    face, again = reconstructor(part), reconstructor(np.ascontiguousarray(part[:, ::-1]))
    assert isinstance(face, Face) and isinstance(again, Face)
    for size in (128, 64):
        depth, mirrored = face.depth[size].astype(float), again.depth[size][:, ::-1].astype(float)
        both = (depth > 0) & (mirrored > 0)
        assert both.sum() / ((depth > 0) | (mirrored > 0)).sum() > 0.93
        assert np.abs(depth - mirrored)[both].mean() < 6
        normals = (array[both] / 127.5 - 1 for array in (face.normals[size], again.normals[size][:, ::-1]))
        one, other = (array / np.linalg.norm(array, axis=1, keepdims=True) for array in normals)
        angles = [np.degrees(np.arccos((one * other * (x, 1, 1)).sum(axis=1).clip(-1, 1))).mean() for x in (-1, 1)]
        assert angles[0] < 7 and angles[1] > 20  # x changes its sign


def test_nose_is_nearest_and_depth_has_the_documented_unit(face: Face) -> None:
    depth = face.depth[128]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    assert np.linalg.norm(np.array([column, row]) / 128 - face.landmarks[30]) < 0.05
    decoded = DEPTH_FAR + (depth.astype(float) - 1) / 254 * (DEPTH_NEAR - DEPTH_FAR)
    assert 0.12 < decoded.max() < 0.3  # the nose stands out from the eyes by half the distance between them
    eyes = np.isin(face.masks[128], [INDEX["l_eye"], INDEX["r_eye"]])
    assert abs(decoded[eyes].mean()) < 0.03
    known = np.isin(face.masks[128], [0, IGNORED], invert=True)
    assert (depth[known] > 0).all()


def test_normals_are_unit_vectors_towards_the_viewer(face: Face) -> None:
    surface = face.depth[128] > 0
    normals = face.normals[128][surface] / 127.5 - 1
    assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 0.01
    assert normals[:, 2].min() > -0.005
    assert (face.normals[128][~surface] == 0).all()
    row, column = np.nonzero(surface)
    assert normals[column < 40, 0].mean() < -0.3 < 0.3 < normals[column > 88, 0].mean()  # cheeks look sideways
    assert normals[row > 112, 1].mean() < -0.3  # below the chin the surface looks down


def test_a_picture_without_a_face_is_rejected(reconstructor: Reconstructor) -> None:
    assert reconstructor(np.full((64, 64, 3), 128, np.uint8)) == Rejected("landmarks", "no face found")


def test_given_landmarks_replace_the_search(photograph: np.ndarray, face: Face) -> None:
    points = alignment.apply(alignment.inverse(face.transform), face.landmarks)
    reconstruct = Reconstructor([128], "precomputed", annotations=())
    found = reconstruct(photograph, points)
    assert isinstance(found, Face)
    assert np.abs(found.images[128].astype(int) - face.images[128]).max() <= 2
    assert found.pose is None and not found.masks and not found.depth and not found.normals
    assert reconstruct(photograph) == Rejected("landmarks", "the dataset has no landmarks for this image")
    assert isinstance(small := reconstruct(photograph, points / 20), Rejected) and "too small" in small.reason
    away = reconstruct(photograph, points + 1000)
    assert isinstance(away, Rejected) and "within the image" in away.reason
    same = reconstruct(photograph, np.ones((68, 2)))
    assert isinstance(same, Rejected) and same.stage == "alignment"


def test_mesh_is_found_where_given_landmarks_are(photograph: np.ndarray, face: Face) -> None:
    pytest.importorskip("mediapipe")
    points = alignment.apply(alignment.inverse(face.transform), face.landmarks)
    found = Reconstructor([128], "precomputed", annotations=("masks",))(photograph, points)
    assert isinstance(found, Face)
    assert (found.masks[128] == face.masks[128]).mean() > 0.95
    assert found.pose is not None and face.pose is not None
    assert found.pose == pytest.approx(face.pose, abs=3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(([64], "dlib"), "dlib"), (([64], "precomputed", ("hair",)), "hair"), (([], "precomputed", ()), "sizes")],
)
def test_unknown_settings_are_refused(arguments: tuple, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Reconstructor(*arguments)
