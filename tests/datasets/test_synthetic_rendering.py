"""Pictures and ground truth of the synthetic faces."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimik.datasets import synthetic
from mimik.datasets.synthetic.identity import draw_identity
from mimik.labels import ACTION_UNITS, EXPRESSIONS, SEGMENTATION_CLASSES

CODE = {name: code for code, name in enumerate(SEGMENTATION_CLASSES)}
LEFT_BROW, RIGHT_BROW = slice(17, 22), slice(22, 27)
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)


@cache
def index(train: int, seed: int = 3) -> pd.DataFrame:
    options = {"identities": {"train": train, "val": 1, "test": 1}}
    table = synthetic.index(Path("unused"), options, seed).table
    return table[table["split"] == "train"].reset_index(drop=True)


def neutral(people: int, **changes: float) -> pd.DataFrame:
    """Neutral faces of different people, with columns set to given values."""
    table = index(people)
    table = synthetic.with_expression(table[table["expression"] == "neutral"].reset_index(drop=True), "neutral")
    for column, value in changes.items():
        table[column] = value
    return table


def bare(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of people without glasses and without a fringe, which would hide brows and eyes."""
    people = [draw_identity(int(seed)) for seed in table["identity_seed"]]
    return table[[not person.glasses and person.style in ("short", "bald") for person in people]]


def at_landmarks(maps: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Values (n, 68) of maps (n, S, S) at landmarks given as fractions."""
    size = maps.shape[1]
    places = np.clip((landmarks * size).astype(int), 0, size - 1)
    return maps[np.arange(len(maps))[:, None], places[..., 1], places[..., 0]]


def test_shapes_types_and_only_what_is_asked_for() -> None:
    table = index(1)[:2]
    everything = synthetic.render(table, 48, synthetic.OUTPUTS)
    assert everything.images.shape == everything.normals.shape == (2, 48, 48, 3)
    assert everything.masks.shape == everything.depth.shape == (2, 48, 48)
    assert everything.landmarks.shape == (2, 68, 2)
    assert everything.landmarks.dtype == np.float32
    for name in ("images", "masks", "depth", "normals"):
        assert getattr(everything, name).dtype == np.uint8
    for name in synthetic.OUTPUTS:
        alone = synthetic.render(table, 48, (name,))
        np.testing.assert_array_equal(getattr(alone, name), getattr(everything, name))
        assert all(getattr(alone, other) is None for other in synthetic.OUTPUTS if other != name)
    assert synthetic.render(table[:0], 48).images.shape == (0, 48, 48, 3)


def test_unknown_output_and_tiny_size_are_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        synthetic.render(index(1)[:1], 64, ("colour",))
    with pytest.raises(ValueError, match="8 px"):
        synthetic.render(index(1)[:1], 8)


def test_a_row_gives_the_same_pixels_in_any_company() -> None:
    table = index(3)[:12]
    together = synthetic.render(table, 64, synthetic.OUTPUTS)
    backwards = synthetic.render(table[::-1], 64, synthetic.OUTPUTS)
    alone = [synthetic.render(table[row : row + 1], 64, synthetic.OUTPUTS) for row in range(len(table))]
    for name in synthetic.OUTPUTS:
        expected = getattr(together, name)
        np.testing.assert_array_equal(getattr(backwards, name)[::-1], expected)
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in alone]), expected)
    assert len(np.unique(together.images.reshape(12, -1), axis=0)) == 12


@pytest.mark.parametrize("size", [64, 128, 256])
def test_every_size_shows_the_same_face(size: int) -> None:
    table = index(1)[:3]
    picture = synthetic.render(table, size, ("images", "landmarks"))
    small = synthetic.render(table, 32, ("images", "landmarks"))
    shrunk = picture.images.reshape(3, 32, size // 32, 32, size // 32, 3).mean(axis=(2, 4))
    assert np.abs(shrunk - small.images).mean() < 4
    np.testing.assert_allclose(picture.landmarks, small.landmarks, atol=1e-5)


def test_masks_hold_the_expected_classes() -> None:
    table = neutral(12)
    people = [draw_identity(int(seed)) for seed in table["identity_seed"]]
    assert {person.glasses for person in people} == {True, False}
    masks = synthetic.render(table, 64, ("masks",)).masks
    for mask, person in zip(masks, people, strict=True):
        present = {SEGMENTATION_CLASSES[code] for code in np.unique(mask)}
        assert {"background", "skin", "nose", "l_eye", "r_eye", "u_lip", "l_lip", "neck"} <= present
        assert ("eye_g" in present) == person.glasses
        assert ("hair" in present) == (person.style != "bald")
        assert "mouth" not in present
        assert not {"hat", "ear_r", "neck_l"} & present
    opened = synthetic.render(synthetic.with_expression(table, "surprise"), 64, ("masks",)).masks
    assert ((opened == CODE["mouth"]).sum(axis=(1, 2)) >= 8).all()


def test_left_is_left_and_small_parts_are_whole() -> None:
    table = bare(neutral(30))
    assert len(table) >= 5
    masks = synthetic.render(table, 64, ("masks",)).masks
    columns = np.arange(64)[None, None]
    for part in ("eye", "brow"):
        left, right = masks == CODE[f"l_{part}"], masks == CODE[f"r_{part}"]
        assert (left.sum(axis=(1, 2)) >= 8).all()
        assert (right.sum(axis=(1, 2)) >= 8).all()
        middle_left = (left * columns).sum(axis=(1, 2)) / left.sum(axis=(1, 2))
        middle_right = (right * columns).sum(axis=(1, 2)) / right.sum(axis=(1, 2))
        assert (middle_left < middle_right - 10).all()


@pytest.mark.slow
@pytest.mark.parametrize("yaw", [-24.0, -12.0, 0.0, 12.0, 24.0])
@pytest.mark.parametrize("pitch", [-12.0, 0.0, 12.0])
def test_landmarks_lie_on_their_parts_in_every_pose(yaw: float, pitch: float) -> None:
    table = synthetic.with_expression(bare(neutral(16, yaw=yaw, pitch=pitch)), "fear")
    assert len(table) >= 3
    drawn = synthetic.render(table, 256, ("masks", "landmarks"))
    below = at_landmarks(drawn.masks, drawn.landmarks)
    lines = drawn.landmarks
    for name, part in (("l_brow", slice(18, 21)), ("r_brow", slice(23, 26))):
        assert (below[:, part] == CODE[name]).all()
    for name, part in (("l_eye", LEFT_EYE), ("r_eye", RIGHT_EYE)):
        middle = lines[:, part].mean(axis=1, keepdims=True)
        assert (at_landmarks(drawn.masks, middle) == CODE[name]).all()
        inward = middle + 0.8 * (lines[:, part] - middle)
        assert (at_landmarks(drawn.masks, inward) == CODE[name]).mean() > 0.97
    lips = [CODE["u_lip"], CODE["l_lip"], CODE["mouth"]]
    centre = lines[:, [51, 57]].mean(axis=1, keepdims=True)
    inward = centre + 0.93 * (lines[:, 48:60] - centre)
    assert np.isin(at_landmarks(drawn.masks, inward), lips).mean() > 0.97
    assert (below[:, 28:31] == CODE["nose"]).mean() > 0.9
    inward = lines[:, 33:34] + 0.97 * (lines[:, 2:15] - lines[:, 33:34])
    on_face = np.isin(at_landmarks(drawn.masks, inward), [CODE["skin"], CODE["hair"]])
    assert on_face.mean() > 0.97
    outward = lines[:, 33:34] + 1.12 * (lines[:, 5:12] - lines[:, 33:34])
    in_frame = ((outward > 0) & (outward < 1)).all(axis=-1)
    assert in_frame.mean() > 0.5
    assert (at_landmarks(drawn.masks, outward) != CODE["skin"])[in_frame].mean() > 0.9


def test_landmarks_run_from_left_to_right() -> None:
    lines = synthetic.render(neutral(4), 64, ("landmarks",)).landmarks
    for row in (slice(1, 16), slice(17, 27), slice(31, 36), slice(48, 55)):
        assert (np.diff(lines[:, row, 0], axis=1) > 0).all()
    assert (np.diff(lines[:, 27:31, 1], axis=1) > 0).all()
    eyes = lines[:, 36:48].mean(axis=1)
    np.testing.assert_allclose(eyes, [[0.5, 0.39]] * 4, atol=0.04)


def test_depth_and_normals_agree() -> None:
    table = neutral(6)
    drawn = synthetic.render(table, 128, ("depth", "normals", "masks", "landmarks"))
    surface = drawn.depth > 0
    np.testing.assert_array_equal(surface, (drawn.normals > 0).any(axis=-1))
    assert surface[drawn.masks != 0].mean() > 0.99
    assert not surface[drawn.masks == 0].mean() > 0.02
    normals = drawn.normals / 127.5 - 1
    np.testing.assert_allclose(np.linalg.norm(normals[surface], axis=-1), 1, atol=0.02)
    assert (normals[surface][:, 2] > 0).all()
    depth = drawn.depth.astype(float)
    slope_y, slope_x = np.gradient(depth, axis=(1, 2))
    skin = drawn.masks == CODE["skin"]
    inside = skin.copy()
    for axis in (1, 2):
        for shift in (-2, 2):
            inside &= np.roll(skin, shift, axis=axis)
    assert np.corrcoef(-slope_x[inside], (normals[..., 0] / normals[..., 2])[inside])[0, 1] > 0.9
    # Rows count downwards, the stored normals point upwards.
    assert np.corrcoef(slope_y[inside], (normals[..., 1] / normals[..., 2])[inside])[0, 1] > 0.9


def test_nose_is_nearest_and_the_neck_behind_the_chin() -> None:
    table = neutral(8, yaw=0.0, pitch=0.0)
    drawn = synthetic.render(table, 128, ("depth", "landmarks", "masks"))
    tip = at_landmarks(drawn.depth, drawn.landmarks)[:, 30].astype(int)
    for row, (depth, mask) in enumerate(zip(drawn.depth.astype(int), drawn.masks, strict=True)):
        assert tip[row] >= depth.max() - 6
        assert tip[row] > depth[mask == CODE["skin"]].mean() + 25
        assert depth[mask == CODE["neck"]].max() < tip[row] - 40
        for ear in ("l_ear", "r_ear"):
            if (mask == CODE[ear]).sum() > 5:
                assert depth[mask == CODE[ear]].max() < tip[row] - 60


def landmarks_with(table: pd.DataFrame, **units: float) -> np.ndarray:
    vector = np.array([units.get(name, 0.0) for name in ACTION_UNITS])
    return synthetic.render(synthetic.with_action_units(table, vector), 64, ("landmarks",)).landmarks


@pytest.mark.parametrize(
    ("unit", "measure"),
    [
        ("AU01", lambda p: -p[:, [21, 22], 1].mean(axis=1)),
        ("AU02", lambda p: -p[:, [17, 18, 25, 26], 1].mean(axis=1)),
        ("AU04", lambda p: p[:, [20, 21, 22, 23], 1].mean(axis=1)),
        ("AU05", lambda p: p[:, 41, 1] - p[:, 37, 1]),
        ("AU07", lambda p: p[:, 37, 1] - p[:, 41, 1]),
        ("AU45", lambda p: p[:, 37, 1] - p[:, 41, 1]),
        ("AU10", lambda p: -p[:, 51, 1]),
        ("AU12", lambda p: -p[:, [48, 54], 1].mean(axis=1)),
        ("AU14", lambda p: p[:, 48, 1] - p[:, 54, 1]),
        ("AU15", lambda p: p[:, [48, 54], 1].mean(axis=1)),
        ("AU20", lambda p: p[:, 54, 0] - p[:, 48, 0]),
        ("AU23", lambda p: p[:, 51, 1] - p[:, 57, 1]),
        ("AU25", lambda p: p[:, 66, 1] - p[:, 62, 1]),
        ("AU26", lambda p: p[:, 8, 1] + p[:, 66, 1] - p[:, 62, 1]),
    ],
)
def test_action_units_move_what_they_name(unit: str, measure) -> None:
    table = neutral(4, yaw=5.0, pitch=0.0, roll=0.0)
    steps = [measure(landmarks_with(table, **{unit: value})) for value in (0.0, 0.35, 0.7, 1.0)]
    assert (np.diff(steps, axis=0) > 0.001).all()


def test_eyes_close_and_wrinkles_show() -> None:
    table = bare(neutral(16))
    vector = np.array([float(name == "AU45") for name in ACTION_UNITS])
    closed = synthetic.render(synthetic.with_action_units(table, vector), 64, ("masks",)).masks
    assert not np.isin(closed, [CODE["l_eye"], CODE["r_eye"]]).any()
    still = synthetic.render(table, 64, ("images",)).images.astype(int)
    for unit in ("AU06", "AU09", "AU17"):
        vector = np.array([float(name == unit) for name in ACTION_UNITS])
        moved = synthetic.render(synthetic.with_action_units(table, vector), 64, ("images",)).images
        assert (np.abs(moved - still).max(axis=(1, 2, 3)) > 25).all()


@pytest.mark.parametrize("expression", EXPRESSIONS[1:])
def test_an_edit_leaves_background_and_upper_hair_alone(expression: str) -> None:
    table = neutral(6)
    before = synthetic.render(table, 64)
    after = synthetic.render(synthetic.with_expression(table, expression), 64)
    changed = (before.images != after.images).any(axis=-1)
    assert (changed.mean(axis=(1, 2)) > 0.02).all()
    fixed = (before.masks == CODE["background"]) & (after.masks == CODE["background"])
    # A pixel at the outline holds some skin as well.
    for axis in (1, 2):
        for shift in (-1, 1):
            fixed &= np.roll(before.masks == CODE["background"], shift, axis=axis)
            fixed &= np.roll(after.masks == CODE["background"], shift, axis=axis)
    assert fixed.sum() > 1000
    assert not changed[fixed].any()
    assert not changed[:, :6].any()


def test_noise_belongs_to_the_view() -> None:
    table = neutral(2)
    same = synthetic.render(pd.concat([table, table]), 64).images
    np.testing.assert_array_equal(same[:2], same[2:])
    other = table.copy()
    other["view_seed"] += 1
    assert (synthetic.render(other, 64).images != same[:2]).mean() > 0.5


def test_expressions_tell_themselves_apart() -> None:
    """Nearest class mean in the difference to the person's own mean, other people held out."""
    table = index(24)
    labels = np.array([EXPRESSIONS.index(name) for name in table["expression"]])
    people = table["identity"].factorize()[0]
    # One view for all, so that only the expression differs within a person.
    base = table.copy()
    for column in ("view_seed", "yaw", "pitch", "roll"):
        base[column] = base.groupby("identity")[column].transform("first")
    images = synthetic.render(base, 64, ("images",)).images.astype(np.float32).mean(axis=-1).reshape(len(table), -1)
    for person in np.unique(people):
        images[people == person] -= images[people == person].mean(axis=0)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    train = people < 16
    means = np.stack([images[train & (labels == label)].mean(axis=0) for label in range(8)])
    distance = ((images[~train][:, None] - means) ** 2).sum(axis=-1)
    right = distance.argmin(axis=1) == labels[~train]
    assert right.mean() > 0.7


def test_light_changes_pictures_and_nothing_else() -> None:
    table = synthetic.index(Path("unused"), {"identities": {"train": 1, "val": 1, "test": 1}}, seed=0).table.iloc[:6]
    outputs = ("images", "masks", "depth", "normals", "landmarks")
    day = synthetic.render(table, 32, outputs)
    evening = synthetic.render(table.assign(light="evening"), 32, outputs)
    for name in outputs[1:]:
        assert (getattr(day, name) == getattr(evening, name)).all(), name
    assert day.images is not None and evening.images is not None
    means = [images.reshape(6, -1, 3).mean(1) for images in (day.images, evening.images)]
    assert (means[1].mean(1) < 0.7 * means[0].mean(1)).all()  # darker
    assert (means[1][:, 2] / means[1][:, 0] < 0.8 * means[0][:, 2] / means[0][:, 0]).all()  # warmer
    again = synthetic.render(table.assign(light="day"), 32, ("images",)).images
    assert (again == day.images).all()
    # Whatever stands in a table beside: a row decides alone, and the edited face stays in its light.
    mixed = synthetic.render(table.assign(light=["day", "evening"] * 3), 32, ("images",)).images
    assert mixed is not None
    assert (mixed[::2] == day.images[::2]).all() and (mixed[1::2] == evening.images[1::2]).all()
    assert (synthetic.with_expression(table.assign(light="evening"), "anger")["light"] == "evening").all()
