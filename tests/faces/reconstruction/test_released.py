"""Depth that a dataset brings along, from its archive to the store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mimik.datasets.listing import UnusableError
from mimik.errors import UserError
from mimik.faces import alignment
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.store import FaceStore
from mimik.faces.reconstruction.reconstruct import Face
from mimik.faces.reconstruction.released import released_depth
from mimik.storage.files import read_json

ROW = np.linspace(10, 240, 64).round().astype(np.uint8)
SLOPE = np.tile(ROW, (64, 1))
WHOLE = np.array([[1 / 64, 0, 0], [0, 1 / 64, 0]])


def test_a_map_is_cut_out_like_its_face() -> None:
    doubled = SLOPE.repeat(2, 0).repeat(2, 1)
    made = released_depth(doubled, (64, 64, 3), WHOLE, {64: SLOPE, 32: SLOPE[::2, ::2]}, (64, 32))
    assert np.array_equal(made[64], SLOPE) and made[32].shape == (32, 32)
    shifted = np.array([[1 / 32, 0, -0.5], [0, 1 / 32, -0.5]])
    part = released_depth(SLOPE, (64, 64, 3), shifted, {32: SLOPE[16:48, 16:48]}, (32,))
    assert np.array_equal(part[32], SLOPE[16:48, 16:48])
    beyond = released_depth(
        SLOPE, (64, 64, 3), WHOLE + np.array([[0, 0, 0.25], [0, 0, 0]]), {64: np.roll(SLOPE, 16, 1)}, (64,)
    )
    assert (beyond[64][:, :16] == 0).all() and np.array_equal(beyond[64][:, 16:], SLOPE[:, :48])
    none = released_depth(None, (64, 64, 3), WHOLE, {64: SLOPE}, (64, 32))
    assert not none[64].any() and none[32].shape == (32, 32)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (SLOPE[:32], "64 x 32 px, photograph of 64 x 64: the proportions differ"),
        (255 - SLOPE, r"-1\.00, at least 0\.5"),
        (SLOPE.T, r"\+0\.00, at least 0\.5"),
        (SLOPE * (np.arange(64) < 20), "covers 31% of the face"),
    ],
)
def test_a_map_that_cannot_be_of_this_face_is_refused(given: np.ndarray, told: str) -> None:
    with pytest.raises(UnusableError, match=told):
        released_depth(given.astype(np.uint8), (64, 64, 3), WHOLE, {64: SLOPE}, (64,))


@pytest.fixture
def archive(tmp_path: Path, photograph: np.ndarray, face: Face) -> Path:
    """RaFD-D of one photograph: sound maps; a map with near parts dark; a test face without one."""
    raw = tmp_path / "raw"
    (raw / "depth").mkdir(parents=True)
    size, height, width = 128, *photograph.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    places = np.floor(alignment.apply(face.transform, grid) * size).astype(int)
    inside = ((places >= 0) & (places < size)).all(axis=-1)
    places = places.clip(0, size - 1)
    near = np.where(inside, face.depth[size][places[..., 1], places[..., 0]], 0).astype(np.uint8)
    for person, word, made in (
        ("01", "happy", near),
        ("01", "neutral", np.where(near > 0, 255 - near, 0).astype(np.uint8)),
        ("02", "happy", near),
        ("03", "happy", None),
        ("03", "neutral", near),
        ("04", "neutral", near),
    ):
        name = f"Rafd090_{person}_Caucasian_male_{word}_frontal"
        brightness = 0.7 + 0.06 * int(person) + 0.01 * len(word)
        Image.fromarray((photograph * brightness).clip(0, 255).astype(np.uint8)).save(raw / f"{name}.jpg")
        if made is not None:
            Image.fromarray(made).save(raw / "depth" / f"{name}.png")
    return raw


def run(archive: Path, **options: Any) -> FaceStore:
    chosen: dict[str, Any] = {
        "classes": ["neutral", "happiness"],
        "sizes": [64],
        "annotations": ["depth"],
        "reconstruction": "released",
        "test_identities": [3],
        "val_identities": [2],
    }
    prepare(
        "rafd_d",
        chosen | options,
        archive,
        archive.parent / "store",
        seed=0,
        workers=1,
        mirror=None,
        module_name="rafd",
        work=archive.parent / "work",
        progress=False,
    )
    return FaceStore(archive.parent / "store", 64)


def test_released_maps_are_stored_and_those_that_do_not_fit_quarantined(archive: Path, face: Face) -> None:
    pytest.importorskip("mediapipe")
    store = run(archive)
    assert store.depth is not None
    ids = [name.removeprefix("Rafd090_").replace("_Caucasian_male", "") for name in store.table["id"]]
    assert ids == [f"{name}_frontal" for name in ("01_happy", "02_happy", "03_happy", "03_neutral", "04_neutral")]
    assert not np.asarray(store.depth[2]).any() and store.table["depth_map"].tolist()[2] == ""
    expected = face.depth[64].astype(float)
    for row in (0, 1, 3):
        stored = np.asarray(store.depth[row]).astype(float)
        both = (stored > 0) & (expected > 0)
        assert both.sum() > 0.95 * (expected > 0).sum() and np.abs(stored - expected)[both].mean() < 8
    quarantine = store.quarantine()
    assert quarantine["stage"].tolist() == ["reconstruction"]
    assert "does not fit the face: its correlation with the mesh is -0.9" in quarantine["reason"].item()
    manifest = read_json(store.directory / "manifest.json")
    assert manifest["reconstruction"] == "released" and manifest["depth_range"] is None

    mesh = run(archive, reconstruction="mesh")
    assert len(mesh) == 6 and mesh.depth is not None and np.asarray(mesh.depth[2]).any()
    assert read_json(mesh.directory / "manifest.json")["reconstruction"] == "mesh"

    map_of_first = archive / "depth" / f"{store.table['id'][0]}.png"
    Image.fromarray(np.asarray(Image.open(map_of_first)) // 2).save(map_of_first)
    darker = run(archive)  # a changed map is noticed
    assert darker.depth is not None and store.depth is not None
    assert np.asarray(darker.depth[0]).max() < 135


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reconstruction": "photometric"}, "expected one of mesh, released"),
        ({"annotations": ["masks"]}, "gives depth, but no normals"),
        ({"annotations": ["depth", "normals"]}, "gives depth, but no normals"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(archive: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        run(archive, **options)


def test_a_dataset_without_maps_cannot_be_asked_for_them(tmp_path: Path) -> None:
    options = {"classes": [], "sizes": [64], "reconstruction": "released", "annotations": ["depth"]}
    with pytest.raises(UserError, match="has no depth of its own; choose mesh"):
        prepare("folder", options, tmp_path, tmp_path / "store", seed=0, workers=1, mirror=None, work=tmp_path / "work")
