"""Measures of a reconstructed face, the thresholds they must keep, and what becomes of the faces that fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.faces import alignment
from mimik.faces.mesh.rasterise import rasterise
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.settings import MEASURED
from mimik.faces.prepared.store import TRANSFORM, FaceStore
from mimik.faces.reconstruction.quality import Quality, reprojection, visible_shares
from mimik.faces.reconstruction.reconstruct import Face, Reconstructor
from mimik.storage.files import read_json

SOUND = {"yaw": -12.0, "pitch": 5.0, "roll": 3.0, "visible_left": 0.9, "visible_right": 0.7, "reprojection": 0.03}


def test_no_threshold_no_fault() -> None:
    assert not Quality().asked and Quality().fault(dict.fromkeys(SOUND, np.nan)) == ""
    assert Quality.of({}, "here") == Quality() == Quality.of({"yaw": None}, "here")


@pytest.mark.parametrize(
    ("name", "limit", "fault"),
    [
        ("yaw", 10, "yaw -12.0°, limit 10°"),
        ("pitch", 4.5, "pitch +5.0°, limit 4.5°"),
        ("roll", 2, "roll +3.0°, limit 2°"),
        ("visibility", 0.75, "70% of the right half visible, at least 75% required"),
        ("reprojection", 0.02, "reprojection error 0.030, limit 0.02"),
    ],
)
def test_every_threshold_has_its_reason(name: str, limit: float, fault: str) -> None:
    assert Quality.of({name: limit}, "here").fault(SOUND) == fault
    relaxed = 0.7 if name == "visibility" else abs(SOUND[name])
    assert Quality.of({name: relaxed}, "here").fault(SOUND) == ""
    unknown = SOUND | dict.fromkeys(("yaw", "pitch", "roll", "visible_right", "reprojection"), np.nan)
    assert Quality.of({name: limit}, "here").fault(unknown)  # what is not known does not pass


def test_all_faults_are_told() -> None:
    found = Quality(yaw=10, visibility=0.75, reprojection=1).fault(SOUND | {"reprojection": np.inf})
    assert found == (
        "yaw -12.0°, limit 10°; 70% of the right half visible, at least 75% required; "
        "reprojection error unknown because no mesh was found in the aligned face, limit 1"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"yav": 30}, "yav"),
        ({"yaw": -30}, "quality.yaw"),
        ({"yaw": True}, "quality.yaw"),
        ({"pitch": 200}, "at most 180"),
        ({"visibility": 40}, "at most 1"),
        ({"reprojection": "small"}, "small"),
        ([1], "group"),
    ],
)
def test_unusable_thresholds_are_refused(options: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Quality.of(options, "params.yaml, datasets.folder.quality")


def test_reprojection_is_a_distance_in_eye_distances_without_the_jaw() -> None:
    points = np.random.default_rng(0).normal(100, 30, (68, 2))
    points[[36, 45]] = (80, 100), (130, 100)
    moved = points + np.array([3, 4])
    assert reprojection(moved, points) == pytest.approx(0.1)
    moved[:17] += 500
    assert reprojection(moved, points) == pytest.approx(0.1)
    moved[17:] = points[17:]
    moved[40] += (51**0.5 * 5, 0)
    assert reprojection(moved, points) == pytest.approx(0.1)


def bowl(degrees: float, size: int = 128) -> tuple[float, float]:
    """Visible shares of half a ball with the vertices of eyes, temples, forehead and nose, turned about its axis."""
    grid = np.linspace(-1, 1, 41)
    x, y = (axis.ravel() for axis in np.meshgrid(grid, grid))
    points = np.column_stack([x, y, np.sqrt(np.maximum(0.0, 2.1 - x**2 - y**2))])
    corner = np.arange(40 * 41).reshape(40, 41)[:, :-1].ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + 42], 1), np.stack([corner, corner + 42, corner + 41], 1)]
    )
    special = {33: (-0.5, -0.2), 133: (-0.2, -0.2), 362: (0.2, -0.2), 263: (0.5, -0.2), 10: (0, -0.8), 2: (0, 0.3)}
    special |= {127: (-0.9, -0.2), 356: (0.9, -0.2), 234: (-0.9, 0), 454: (0.9, 0)}
    points, triangles = np.concatenate([np.zeros((480, 3)), points]), triangles + 480
    for vertex, (across, down) in special.items():
        points[vertex] = across, down, np.sqrt(2.1 - across**2 - down**2)
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    points = points @ turn.T * 0.3 + 0.5
    raster = rasterise(points * size, triangles, size)
    return visible_shares(points, triangles, raster, np.ones((size, size), bool))


def test_half_a_ball_shows_both_halves_and_loses_the_far_one_as_it_turns() -> None:
    assert bowl(0.0) == pytest.approx((1, 1), abs=0.03)
    left, right = bowl(70.0)
    # The head turns to the right of the image: what was on its right turns away.
    assert left > 0.95 and right < 0.6
    assert bowl(-70.0) == pytest.approx((right, left), abs=0.03)
    assert bowl(70.0, 64) == pytest.approx((left, right), abs=0.04)


def test_a_photograph_shows_both_halves_unless_its_edge_cuts_one_off(
    photograph: np.ndarray, face: Face, reconstructor: Reconstructor
) -> None:
    assert face.visible is not None and min(face.visible) > 0.75
    mirrored = reconstructor(np.ascontiguousarray(photograph[:, ::-1]))
    assert isinstance(mirrored, Face) and mirrored.visible is not None
    assert mirrored.visible == pytest.approx(face.visible[::-1], abs=0.06)
    edge = int(alignment.apply(alignment.inverse(face.transform), np.array([0.7, 0.5]))[0])
    cut = reconstructor(np.ascontiguousarray(photograph[:, :edge]))
    assert isinstance(cut, Face) and cut.visible is not None
    assert cut.visible[1] < 0.65 and cut.visible[0] > 0.85


def test_a_second_look_agrees_on_a_sound_face_and_landmarks_elsewhere_do_not(
    photograph: np.ndarray, face: Face
) -> None:
    assert face.reprojection is None and np.isnan(face.measured["reprojection"])
    seen = Reconstructor([128], annotations=("depth",), second_look=True)(photograph)
    assert isinstance(seen, Face) and seen.reprojection is not None and 0 < seen.reprojection < 0.05
    points = alignment.apply(alignment.inverse(face.transform), face.landmarks)
    reconstruct = Reconstructor([128], "precomputed", annotations=("depth",))
    given = reconstruct(photograph, points)
    assert isinstance(given, Face) and given.reprojection is not None and given.reprojection < 0.05
    unit = np.linalg.norm(points[45] - points[36])
    wrong = reconstruct(photograph, points + np.array([0.15 * unit, 0]))
    assert isinstance(wrong, Face) and wrong.reprojection is not None
    assert wrong.reprojection == pytest.approx(0.15, abs=0.03)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, photograph: np.ndarray) -> Path:
    """The face as it is in four kinds of light, tilted, cut by the edge, and a wall."""
    folder = tmp_path_factory.mktemp("photographs")
    picture = Image.fromarray(photograph)
    picture.save(folder / "sound.png")
    picture.rotate(25, Image.Resampling.BICUBIC).save(folder / "tilted.png")
    Image.fromarray(photograph[:, :250]).save(folder / "cut.png")
    Image.new("RGB", (90, 90)).save(folder / "wall.png")
    listed = [("sound", "neutral", "train"), ("tilted", "sadness", "val"), ("cut", "neutral", "test")]
    for number, split in enumerate(("train", "val", "test")):
        picture.point(lambda value, number=number: value * (9 - number) // 10).save(folder / f"view{number}.png")
        listed.append((f"view{number}", "sadness", split))
    rows = "".join(
        f"{name}.png,{word},{name},{split}\n" for name, word, split in (*listed, ("wall", "sadness", "train"))
    )
    (folder / "list.csv").write_text("path,expression,identity,split\n" + rows)
    return folder


@pytest.fixture
def prepared(photographs: Path, tmp_path: Path) -> Callable[..., FaceStore]:
    pytest.importorskip("mediapipe")

    def make(**options: Any) -> FaceStore:
        chosen = {
            "classes": ["neutral", "sadness"],
            "sizes": [64],
            "csv": "list.csv",
            "annotations": ["depth"],
        } | options
        prepare(
            "folder",
            chosen,
            photographs,
            tmp_path / "store",
            seed=0,
            workers=1,
            mirror=None,
            work=tmp_path / "work",
            progress=False,
        )
        return FaceStore(tmp_path / "store", 64)

    return make


def test_faces_that_fail_are_quarantined_with_their_figures(
    prepared: Callable[..., FaceStore], photographs: Path
) -> None:
    from mimik.inspection.contact_sheets import _rejected

    views = [f"view{number}.png" for number in range(3)]
    everything = prepared()
    assert everything.table["source"].tolist() == ["cut.png", "sound.png", "tilted.png", *views]
    assert everything.refused().empty
    assert "reprojection" not in everything.table
    shares = everything.table[["visible_left", "visible_right"]].to_numpy(float)
    assert shares[1].min() > 0.75 and shares[0, 1] < 0.65

    store = prepared(quality={"roll": 15, "visibility": 0.7, "reprojection": 0.2, "yaw": None})
    assert store.table["source"].tolist() == ["sound.png", *views]
    assert store.table["reprojection"].astype(float).between(0, 0.05).all()
    quarantine = store.quarantine().set_index("path")
    assert quarantine["stage"].to_dict() == {"tilted.png": "quality", "cut.png": "quality", "wall.png": "landmarks"}
    assert quarantine.loc["tilted.png", "reason"].startswith("roll -2") and "limit 15°" in quarantine["reason"].iloc[1]
    assert "of the right half visible, at least 70% required" in quarantine.loc["cut.png", "reason"]
    manifest = read_json(store.directory / "manifest.json")
    assert manifest["quarantined"] == {"landmarks": 1, "quality": 2}
    assert manifest["options"]["quality"]["roll"] == 15

    refused = store.refused()
    assert list(refused.columns) == ["path", *TRANSFORM, *MEASURED] and refused["path"].tolist() == [
        "cut.png",
        "tilted.png",
    ]
    assert all(pd.api.types.is_numeric_dtype(refused[name]) for name in (*TRANSFORM, *MEASURED))
    tilted = everything.table.set_index("source").loc["tilted.png"]
    again = refused.set_index("path").loc["tilted.png"]
    assert again["roll"] == pytest.approx(float(tilted["roll"]), abs=1e-4)
    tiles = {tile.caption.split("\n")[1]: tile for row in _rejected(store, photographs, 0) for tile in row.tiles}
    aligned = everything.images[2].astype(int)
    assert np.abs(tiles["tilted.png"].picture.astype(int) - aligned).mean() < 3


def test_thresholds_without_a_mesh_are_refused(prepared: Callable[..., FaceStore]) -> None:
    with pytest.raises(UserError, match=r"folder\.quality: every threshold needs the face mesh"):
        prepared(quality={"yaw": 30}, landmarks="precomputed", annotations=["landmarks"])
