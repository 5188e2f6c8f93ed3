"""The face mesh of a real photograph."""

import sys

import numpy as np
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.faces.mesh import PITCH_ZERO, FaceMesher, pose
from mimik.faces.topology import IBUG_68


def test_without_mediapipe_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"pip install 'mimik\[mesh\]'"):
        FaceMesher()


def test_a_mesher_finds_a_face_without_a_word(photograph: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    with FaceMesher() as mesher:
        assert mesher(np.zeros((64, 64, 3), np.uint8)) is None
        assert mesher(photograph) is not None
        assert mesher(photograph) is not None
    assert capfd.readouterr() == ("", "")


def head(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """A rigid stand-in for a head, turned by known angles (degrees), in mesh coordinates (y down)."""
    points = np.zeros((478, 3))
    lean = np.tan(np.radians(PITCH_ZERO))  # forehead behind the base of the nose, as in a frontal head
    for side, (temple, cheek, eye) in ((-1, (127, 234, 33)), (1, (356, 454, 263))):
        points[temple], points[cheek], points[eye] = (side * 7, 0, -8), (side * 7, -3, -8), (side * 4.5, 0, 0)
    points[2] = (0, -5, 0)
    points[10] = (0, 7, -12 * lean)
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (points @ (tilt @ turn @ nod).T) * (1, -1, 1)


@pytest.mark.parametrize(("axis", "angle"), [(0, 30), (0, -55), (1, 20), (1, -25), (2, 15), (2, -40)])
def test_pose_of_a_head_turned_by_known_angles(axis: int, angle: float) -> None:
    angles = [0.0, 0.0, 0.0]
    angles[axis] = angle
    assert np.allclose(pose(head(*angles)), angles, atol=1e-6)


def test_finds_the_face_and_its_landmarks(photograph: np.ndarray) -> None:
    pytest.importorskip("mediapipe")
    with FaceMesher() as mesher:
        mesh = mesher(photograph)
        small = mesher(np.asarray(Image.fromarray(photograph[50:200, 150:300]).resize((60, 60))))
        nothing = mesher(np.full((200, 300, 3), 90, np.uint8))
        group = np.full((1300, 1700, 3), 150, np.uint8)  # a face that fills 6 % of the picture's width
        group[500:1012, 900:1412] = photograph
        far = mesher(group)
    assert nothing is None
    assert far is not None
    assert np.abs(far[list(IBUG_68), :2] - (900, 500) - mesh[list(IBUG_68), :2]).mean() < 3
    assert mesh is not None and small is not None
    points = mesh[list(IBUG_68), :2]
    # Read off an enlarged photograph by eye.
    expected = {(36, 42): (203, 101), (42, 48): (246, 103), (30, 31): (225, 126)}  # eyes, tip of the nose
    expected |= {(48, 49): (203, 140), (54, 55): (245, 140), (8, 9): (223, 178)}  # corners of the mouth, chin
    for (first, last), place in expected.items():
        assert np.linalg.norm(points[first:last].mean(axis=0) - place) < 4
    assert np.abs(small[list(IBUG_68), :2] * 2.5 + (150, 50) - points).mean() < 2.5


def test_landmarks_run_in_ibug_order(photograph: np.ndarray, face: object) -> None:
    points = face.landmarks  # type: ignore[attr-defined]
    jaw = points[:17]
    assert (np.diff(jaw[:, 0]) > 0).all()  # image-left to image-right
    assert jaw[8, 1] == points[:, 1].max()  # the chin is lowest
    gaps = np.linalg.norm(np.diff(jaw, axis=0), axis=1)
    assert gaps.max() < 3.5 * gaps.min()
    for group in (range(17, 22), range(22, 27), range(31, 36), range(48, 55), range(60, 65)):
        assert (np.diff(points[list(group), 0]) > 0).all()
    assert (np.diff(points[27:31, 1]) > 0).all()
    for upper, lower in (((37, 38), (41, 40)), ((43, 44), (47, 46)), ((50, 51, 52), (58, 57, 56))):
        assert (points[list(upper), 1] < points[list(lower), 1]).all()
