"""Putting a face back: what a change may do to a photograph much larger than the model, and what it may not."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mimik.editing.composing import Change, Found, put_back
from mimik.faces import alignment

pytest.importorskip("cv2")

SIDE = 600
"""Side of the photographs, all of which the crop shows, pixels."""

MODEL = 32
"""Side of the model's faces, pixels."""


def circle(radius: float, y: float = 0.5) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    points: np.ndarray = np.stack([0.5 + radius * np.cos(angles), y + radius * np.sin(angles)], -1) * SIDE
    return points


FACE = Found(
    transform=np.array([[1 / SIDE, 0.0, 0.0], [0.0, 1 / SIDE, 0.0]]),
    outline=circle(0.3),
    features=circle(0.08),
    units=np.zeros(17, np.float32),
)


def noisy(level: float = 120, sigma: float = 4) -> np.ndarray:
    values = np.random.default_rng(0).normal(level, sigma, (SIDE, SIDE, 3))
    return values.round().astype(np.uint8)


def blob(height: float, channels: int = 3) -> np.ndarray:
    """Paint (MODEL, MODEL, channels) in the middle of the face."""
    y, x = (np.indices((MODEL, MODEL)) + 0.5) / MODEL - 0.5
    return (height * np.exp(-(x**2 + y**2) / (2 * 0.06**2)))[..., None].repeat(channels, -1).astype(np.float32)


def moves(x: float, y: float) -> np.ndarray:
    return np.broadcast_to(np.array([x, y], np.float32), (MODEL, MODEL, 2)).copy()


def applied(photograph: np.ndarray, change: Change, face: Found = FACE) -> np.ndarray:
    result = photograph.copy()
    put_back(result, alignment.crop(photograph, face.transform, MODEL), change, face)
    return result


def energy(picture: np.ndarray) -> float:
    """Of the finest detail in the middle of the face."""
    middle = picture[220:380, 220:380].astype(float)
    return float(np.std(middle - gaussian_filter(middle, (1, 1, 0))))


NOTHING = np.zeros((MODEL, MODEL, 3), np.float32)


@pytest.mark.parametrize("still", [None, moves(0, 0)])
def test_no_change_leaves_the_photograph_as_it_is(still: np.ndarray | None) -> None:
    photograph = noisy()
    np.testing.assert_array_equal(applied(photograph, Change(NOTHING, still)), photograph)


def test_paint_of_another_place_leaves_the_rest_as_it_is() -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    result = applied(photograph, Change(blob(10) * (blob(1) > 0.05)))
    assert (result != photograph)[280:320, 280:320].mean() > 0.9
    np.testing.assert_array_equal(result[:150], photograph[:150])


@pytest.mark.parametrize("change", [Change(blob(20)), Change(blob(-110)), Change(NOTHING, moves(0.013, 0.0071))])
def test_grain_is_kept_under_paint_and_where_the_face_moves(change: Change) -> None:
    photograph = noisy(130)
    result = applied(photograph, change)
    assert (result != photograph)[280:320, 280:320].any()
    assert energy(result) == pytest.approx(energy(photograph), rel=0.05)


def test_strong_paint_covers_the_detail_below_and_weak_paint_does_not() -> None:
    photograph = np.full((SIDE, SIDE, 3), 140, np.uint8)
    photograph[:, 298:302] = 60
    weak, strong = (applied(photograph, Change(blob(height)))[300, :, 0].astype(int) for height in (15, 100))
    assert weak[285] - weak[300] >= 70
    assert abs(strong[285] - strong[300]) < 20


def test_a_moved_line_stays_as_thin_as_it_was_and_leaves_no_trace() -> None:
    photograph = noisy(150, 2)
    photograph[:, 300:302] = 30
    result = applied(photograph, Change(NOTHING, moves(0.05, 0)))[300, 200:400].astype(int).mean(-1)
    # What is shown at a place was taken from 30 pixels to the right of it.
    assert np.flatnonzero(result < 90).tolist() == [70, 71]
    assert result[95:107].min() > 140
    assert result[70:72].max() < 45


def test_a_turned_face_moves_along_its_own_axes() -> None:
    photograph = np.full((SIDE, SIDE, 3), 150, np.uint8)
    photograph[300:302] = 30
    turned = np.array([[0.0, 1 / SIDE, 0.0], [-1 / SIDE, 0.0, 1.0]])  # the crop's x runs down the photograph
    face = Found(turned, FACE.outline, FACE.features, FACE.units)
    result = applied(photograph, Change(NOTHING, moves(0.05, 0)), face)[200:400, 300].astype(int).mean(-1)
    assert np.flatnonzero(result < 90).tolist() == [70, 71]


def test_changes_end_without_an_edge_and_within_the_face() -> None:
    photograph = np.full((SIDE, SIDE, 3), 100, np.uint8)
    everywhere = np.full((MODEL, MODEL, 3), 60, np.float32)
    # Too strong for faint: with paint all over the crop, only the mask can end it.
    result = applied(photograph, Change(everywhere)).astype(int)
    assert result[300, 300, 0] == 160
    assert np.abs(np.diff(result[..., 0], axis=0)).max() <= 5 and np.abs(np.diff(result[..., 0], axis=1)).max() <= 5
    y, x = (np.indices((SIDE, SIDE)) + 0.5) / SIDE - 0.5
    assert (result == 100)[np.hypot(x, y) > 0.35].all()


def test_changes_as_faint_as_those_beside_the_face_are_left_out() -> None:
    photograph = noisy()
    noise = np.random.default_rng(1).normal(0, 1, (MODEL, MODEL, 3)).astype(np.float32)
    strong = noise + blob(40)
    assert (applied(photograph, Change(noise)) != photograph).mean() < 0.01
    result = applied(photograph, Change(strong)).astype(int) - photograph
    assert result[290:310, 290:310].mean() > 30
    assert abs(result[300, 130:160]).max() <= 1


def test_what_lies_in_front_of_the_face_is_not_painted() -> None:
    photograph = noisy(170, 3)
    photograph[:190] = 40  # the brim of a hat, down over the outline
    everywhere = np.full((MODEL, MODEL, 3), 60, np.float32)
    change = np.abs(applied(photograph, Change(everywhere)).astype(int) - photograph)
    assert change[150:175, 280:320].max() <= 10
    assert change[300, 300].max() > 50


@pytest.mark.parametrize("shift", [-0.6, 0.6, 3.0])
def test_a_face_at_the_border_is_put_back_within_the_picture(shift: float) -> None:
    photograph = noisy()
    transform = FACE.transform + np.array([[0, 0, shift], [0, 0, shift]])
    outline, features = (points - shift * SIDE for points in (FACE.outline, FACE.features))
    face = Found(transform, outline, features, FACE.units)
    result = applied(photograph, Change(blob(60), moves(0.02, -0.03)), face)
    assert result.shape == photograph.shape
    # At 3.0 the whole face lies outside of the picture.
    assert (result != photograph).any() == (shift < 1)
