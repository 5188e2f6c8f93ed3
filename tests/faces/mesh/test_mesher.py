"""The face mesh of a real photograph."""

import sys

import numpy as np
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.faces.mesh.mesher import MOST_TILES, PITCH_ZERO, TILES, FaceMesher, _tiles, pose, smallest_face
from mimik.faces.mesh.topology import IBUG_68

pytestmark = pytest.mark.slow


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


def placed(photograph: np.ndarray, shape: tuple[int, int], width: float, places: list[tuple[int, int]]) -> np.ndarray:
    """A grey wall (H, W) with the same head several times, its face about so many pixels wide around these places."""
    wall = np.full((*shape, 3), 128, np.uint8)
    factor = width / 95
    sides = (round(320 * factor), round(330 * factor))
    head = np.asarray(Image.fromarray(photograph[:330, 65:385]).resize(sides, Image.Resampling.LANCZOS))
    for x, y in places:
        left, top = round(x - 160 * factor), round(y - 120 * factor)
        cut = head[max(0, -top) : shape[0] - top, max(0, -left) : shape[1] - left]
        wall[max(0, top) : max(0, top) + cut.shape[0], max(0, left) : max(0, left) + cut.shape[1]] = cut
    return wall


def missed(meshes: list[np.ndarray], places: list[tuple[int, int]], width: float) -> list[tuple[int, int]]:
    middles = [mesh[:, :2].mean(axis=0) for mesh in meshes]
    return [place for place in places if not any(np.linalg.norm(middle - place) < 0.5 * width for middle in middles)]


@pytest.mark.parametrize(
    ("shape", "width", "places"),
    [
        ((512, 2048), 100, [(200, 260), (700, 240), (1250, 300), (1850, 250)]),
        ((2048, 512), 60, [(150, 200), (300, 900), (350, 1800)]),
        ((150, 2400), 60, [(150, 80), (1300, 80), (2250, 80)]),
        ((4000, 6000), 190, [(4300, 2900)]),
        ((1280, 1920), 45, [(500, 300), (1700, 1100)]),
    ],
)
def test_small_faces_in_wide_and_large_pictures_are_found(
    photograph: np.ndarray, shape: tuple[int, int], width: int, places: list[tuple[int, int]]
) -> None:
    pytest.importorskip("mediapipe")
    wall = placed(photograph, shape, width, places)
    with FaceMesher() as mesher:
        found, main = mesher.every(wall), mesher(wall)
    assert missed(found, places, width) == []
    assert len(found) == len(places)  # each once
    assert main is not None and len(missed([main], places, width)) == len(places) - 1


def test_a_face_of_the_width_that_is_said_to_be_found_is_found(photograph: np.ndarray) -> None:
    pytest.importorskip("mediapipe")
    with FaceMesher() as mesher:
        for shape in ((500, 700), (300, 3000), (1100, 900)):
            width = smallest_face(*shape)
            places = [(shape[1] // 3, shape[0] // 2), (shape[1] - 2 * width, shape[0] - 2 * width)]
            for place in places:
                wall = placed(photograph, shape, width, [place])
                assert missed(mesher.every(wall), [place], width) == [], (shape, width, place)


def test_an_ordinary_photograph_is_searched_once(photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mediapipe")
    searched: list[tuple[int, ...]] = []
    original = FaceMesher._search

    def counted(self: FaceMesher, image: np.ndarray, *window: int) -> list[np.ndarray]:
        searched.append(window)
        return original(self, image, *window)

    monkeypatch.setattr(FaceMesher, "_search", counted)
    with FaceMesher() as mesher:
        assert mesher(photograph) is not None
        assert searched == [(0, 0, 512, 512)] and mesher._distant is None


@pytest.mark.parametrize("shape", [(1, 1), (4, 20_000), (20_000, 4), (40, 40_000), (2, 2), (700, 900)])
def test_pictures_of_any_proportions_are_searched(shape: tuple[int, int]) -> None:
    pytest.importorskip("mediapipe")
    with FaceMesher() as mesher:
        assert mesher(np.full((*shape, 3), 90, np.uint8)) is None
        assert mesher.every(np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize(("height", "width"), [(4000, 6000), (512, 2048), (2048, 512), (1000, 9000), (9990, 9990)])
@pytest.mark.parametrize("share", TILES)
def test_tiles_cover_the_picture_and_overlap_where_they_can(height: int, width: int, share: float) -> None:
    side = round(share * min(height, width))
    tiles = list(_tiles(height, width, side))
    assert len(tiles) <= MOST_TILES
    for axis, whole in ((0, width), (1, height)):
        starts = sorted({tile[axis] for tile in tiles})
        assert starts[0] == 0 and starts[-1] == whole - side
        if len(tiles) < MOST_TILES - 30:
            assert max(np.diff(starts), default=0) <= side / 2 + 1
