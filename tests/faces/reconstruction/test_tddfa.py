"""3DDFA_V2's geometry on a made-up model, its files and their faults, and from photographs to the store."""

import re
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mimik.datasets.listing import UnusableError
from mimik.errors import UserError
from mimik.faces import alignment
from mimik.faces.mesh.rasterise import rasterise
from mimik.faces.mesh.topology import vertex_normals
from mimik.faces.prepared.prepare import prepare
from mimik.faces.prepared.store import SPLITS, FaceStore
from mimik.faces.reconstruction import tddfa
from mimik.faces.reconstruction.reconstruct import DEPTH_FAR, DEPTH_NEAR, Face, Reconstructor, Rejected, surface_maps
from mimik.faces.reconstruction.tddfa import Basis, Files, Tddfa, cut, face_box
from mimik.inspection import archives
from mimik.inspection.description import describe
from mimik.storage.files import file_sha256, read_json
from tests.faces.dense import DEEP, FRONTAL, TALL, UNIT, WIDE, dome, heights, supply

ROOT = Path(__file__).parents[3]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turn about the vertical, the sideways and the viewing axis, degrees."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turned: np.ndarray = about_z @ about_x @ about_y
    return turned


@pytest.fixture
def basis(tmp_path: Path) -> Basis:
    np.savez(tmp_path / tddfa.BASIS, **dome())
    return Basis.load(tmp_path / tddfa.BASIS)


# --- geometry --------------------------------------------------------------------------------------------------


def test_parameters_become_vertices_as_the_formula_says(basis: Basis) -> None:
    arrays, rng = dome(), np.random.default_rng(1)
    scale, turn, shift = 0.8 / UNIT, rotation(25, -10, 5), np.array([55.0, 66.0, -3.0])
    shape, expression = rng.normal(0, 1e3, 40), rng.normal(0, 10, 10)
    parameters = np.concatenate([np.column_stack([scale * turn, shift]).ravel(), shape, expression])
    found = basis.surface(parameters)
    assert found.shape == (len(arrays["u"]) // 3, 3)
    for vertex in (0, 67, 68, 900, len(found) - 1):
        place = [
            arrays["u"][3 * vertex + axis, 0]
            + sum(arrays["w_shp"][3 * vertex + axis, k] * shape[k] for k in range(40))
            + sum(arrays["w_exp"][3 * vertex + axis, k] * expression[k] for k in range(10))
            for axis in range(3)
        ]
        x, y, z = (scale * sum(turn[row, k] * place[k] for k in range(3)) + shift[row] for row in range(3))
        # Pixels count from 1, and y from below: column 1, row 1 from below is the centre of the lower left pixel.
        assert found[vertex] == pytest.approx([(x - 1) + 0.5, (120 - y) + 0.5, z], abs=1e-3)
    moved = basis.surface(np.concatenate([np.column_stack([scale * turn, shift]).ravel(), np.zeros(50)]))
    assert np.abs(moved - found).max() > 0.1


def test_face_box_and_what_lies_beyond_the_photograph() -> None:
    points = np.full((68, 2), 50.0)
    points[0], points[1] = (20, 40), (60, 120)  # 40 wide, 80 tall, about (40, 80)
    assert face_box(points) == (-17, 23, 113)  # 80 * sqrt(2) = 113.1
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) + 1
    window = cut(image, (-2, -1, 7))
    assert window.shape == (7, 7, 3)
    assert np.array_equal(window[1:5, 2:], image[:, :5]) and not window[0].any() and not window[:, :2].any()
    assert not window[5:].any()
    assert np.array_equal(cut(image, (1, 2, 2)), image[2:4, 1:3])
    assert not cut(image, (10, 1, 3)).any() and not cut(image, (-5, -5, 3)).any()


def test_the_network_sees_blue_first_and_the_surface_lies_where_the_box_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Tddfa(supply(tmp_path, monkeypatch, dome()))
    seen: list[torch.Tensor] = []
    inside = find._network.forward

    def watched(faces: torch.Tensor) -> torch.Tensor:
        seen.append(faces.clone())
        return inside(faces)

    monkeypatch.setattr(find._network, "forward", watched)
    image = np.zeros((300, 300, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, np.arange(300) // 2
    landmarks = np.array([[100.0, 80.0], [100 + 240 / np.sqrt(2), 80.0]]).repeat(34, 0)  # a box of 240 px
    left, top, side = face_box(landmarks)
    assert side == 240
    surface = find(image, landmarks)
    (faces,) = seen
    assert faces.shape == (1, 3, 120, 120)
    row = faces[0, :, 80]
    assert row[2, 40].item() == pytest.approx((200 - 127.5) / 128) and row[1, 40].item() == -127.5 / 128
    # Pixel 40 is the mean of the photograph's pixels 80 and 81 of the box.
    assert row[0, 40].item() == pytest.approx((np.mean(image[0, left + 80 : left + 82, 2]) - 127.5) / 128, abs=1 / 128)
    flat = dome()["u"].reshape(-1, 3).astype(float) / UNIT
    assert surface.points[:, 0] == pytest.approx(left + 2 * (60 + flat[:, 0]), abs=1e-3)
    assert surface.points[:, 1] == pytest.approx(top + 2 * (60 - flat[:, 1]), abs=1e-3)
    assert surface.points[:, 2] == pytest.approx(2 * (flat[:, 2] - flat[36:48, 2].mean()), abs=1e-3)
    assert np.array_equal(surface.landmarks, surface.points[:68, :2])


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = Tddfa(supply(tmp_path, monkeypatch, dome()))
    torch.nn.init.constant_(find._network.fc_param.bias, np.nan)
    with pytest.raises(UnusableError, match="not finite"):
        find(np.zeros((99, 99, 3), np.uint8), np.random.default_rng(0).uniform(20, 80, (68, 2)))


@pytest.mark.parametrize("inside_out", [False, True])
def test_an_ellipsoid_is_drawn_right_side_out(tmp_path: Path, inside_out: bool) -> None:
    arrays = dome()
    if inside_out:
        arrays["tri"] = arrays["tri"][:, [0, 2, 1]]
    np.savez(tmp_path / tddfa.BASIS, **arrays)
    basis = Basis.load(tmp_path / tddfa.BASIS)
    points = basis.surface(np.concatenate([FRONTAL.ravel(), np.zeros(50)])) / 120
    points[:, 2] -= 7 / 120
    raster = rasterise(points * 120, basis.triangles, 120)
    maps = surface_maps(
        raster, basis.triangles, points[:, 2], vertex_normals(points, basis.triangles), {"depth", "normals"}
    )
    x, y = np.meshgrid(np.arange(120) - 59.5, np.arange(120) - 59.5)
    truth = heights(x, y)
    well = (truth > 10) & (np.hypot(x, y) > 3)  # the steep edge and the hole in the middle aside
    assert raster.covered[well].all() and not raster.covered[truth == 0].any()
    stored = (maps["depth"].astype(float) - 1) / 254 * (DEPTH_NEAR - DEPTH_FAR) + DEPTH_FAR
    assert np.abs(stored - truth / 120)[well].max() < 0.006
    normals = maps["normals"][well].astype(float) / 127.5 - 1
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    exact = np.stack([x / WIDE**2, -y / TALL**2, truth / DEEP**2], axis=-1)  # gradient of the ellipsoid, y up
    exact = exact[well] / np.linalg.norm(exact[well], axis=-1, keepdims=True)
    angles = np.degrees(np.arccos((normals * exact).sum(axis=-1).clip(-1, 1)))
    assert angles.mean() < 0.5 and angles.max() < 4


# --- files -----------------------------------------------------------------------------------------------------


def test_the_conversion_makes_the_file_and_the_page_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = dome()
    stored: dict[str, Any] = {
        "configs/bfm_noneck_v3.pkl": {name: arrays[name] for name in ("u", "w_shp", "w_exp", "keypoints")},
        "configs/param_mean_std_62d_120x120.pkl": {"mean": arrays["mean"], "std": arrays["std"]},
        "configs/tri.pkl": np.asfortranarray(arrays["tri"].T),  # (3, T) there
    }
    reader = types.ModuleType("utils.io")
    reader._load = stored.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "utils", types.ModuleType("utils"))
    monkeypatch.setitem(sys.modules, "utils.io", reader)
    monkeypatch.chdir(tmp_path)
    exec(tddfa.CONVERSION, {})
    made = Basis.load(tmp_path / tddfa.BASIS)
    assert np.array_equal(made.mean, arrays["u"].ravel()) and np.array_equal(made.landmarks, np.arange(68))
    assert np.array_equal(made.modes, np.hstack([arrays["w_shp"], arrays["w_exp"]]))
    assert np.array_equal(np.sort(made.triangles), np.sort(arrays["tri"]))
    page = (ROOT / "docs" / "face_mesh.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(.*?)```", page.split("## 3ddfa_v2")[1], re.DOTALL)
    assert textwrap.dedent(block) == tddfa.CONVERSION


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"u": np.zeros(10, np.float32)}, r"u: expected \(3 V,\)"),
        ({"w_shp": np.zeros((7884, 199), np.float32)}, r"w_shp: expected \(7884, 40\), as u has 7884 numbers"),
        ({"w_exp": np.zeros((3, 10), np.float32)}, r"w_exp: expected \(7884, 10\)"),
        ({"tri": dome()["tri"].T}, r"tri: expected whole numbers \(T, 3\) from 0 to 2627; found int32 \(3,"),
        ({"tri": dome()["tri"] + 1}, "tri: expected whole numbers"),
        ({"tri": dome()["tri"].astype(float)}, "tri: expected whole numbers"),
        ({"keypoints": np.arange(68)}, "keypoints: expected places of x, y, z of 68 vertices"),
        ({"keypoints": np.arange(204) + 1}, "keypoints: expected places"),
        ({"keypoints": np.arange(204) + 7884}, "keypoints: expected places"),
        ({"mean": np.zeros(102, np.float32)}, r"mean: expected \(62,\)"),
        ({"std": np.full(62, -1.0)}, "std: expected no negative numbers"),
        ({"std": np.full(62, np.nan)}, "std: expected finite numbers"),
        ({"u": np.full((7884, 1), "x")}, "u: expected finite numbers"),
        ({"tri": np.concatenate([dome()["tri"], dome()["tri"][:, ::-1]])}, "tri does not give a surface of a face"),
    ],
)
def test_a_basis_that_is_none_is_refused(tmp_path: Path, changes: dict[str, np.ndarray], told: str) -> None:
    path = tmp_path / tddfa.BASIS
    np.savez(path, **(dome() | changes))
    with pytest.raises(UserError, match=told) as caught:
        Basis.load(path)
    assert str(path) in str(caught.value) and tddfa.CONVERSION in str(caught.value)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / tddfa.BASIS
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (trap,)

    arrays = dome() | {"u": np.array([Trap()], object)}
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=r"expected an \.npz file of plain arrays"):
        Basis.load(path)
    np.save(tmp_path / "lone.npy", np.array([Trap()], object), allow_pickle=True)
    (tmp_path / "lone.npy").replace(path)
    with pytest.raises(UserError, match=r"expected an \.npz file of plain arrays"):
        Basis.load(path)
    assert not trap.exists()
    for content in (b"", b"\x80\x03}q\x00.", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"run there, in its own environment"):
            Basis.load(path)
    arrays = dome()
    del arrays["tri"]
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="tri"):
        Basis.load(path)
    np.save(tmp_path / "lone.npy", np.zeros(3))
    (tmp_path / "lone.npy").replace(path)
    with pytest.raises(UserError, match="plain arrays"):
        Basis.load(path)


def test_files_are_found_checked_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMIK_MIRROR", raising=False)
    with pytest.raises(UserError, match=r"data/weights/mb1_120x120.pth: not found.* or mb05_120x120.pth from"):
        Files.find(None)
    mirror = tmp_path / "mirror"
    files = supply(mirror, monkeypatch, dome())
    assert files.network.name == "mb05_120x120.pth"
    assert files.record() == {
        "network": {"file": "mb05_120x120.pth", "sha256": file_sha256(mirror / "mb05_120x120.pth")},
        "basis": {"file": "3ddfa_v2.npz", "sha256": file_sha256(mirror / "3ddfa_v2.npz")},
    }
    (mirror / "mb1_120x120.pth").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"mb1_120x120.pth: not the file of 3DDFA_V2: its SHA-256 is .*a pointer"):
        Files.find(mirror)
    (mirror / "mb1_120x120.pth").unlink()

    own = tmp_path / "data" / "weights"
    own.mkdir(parents=True)
    (mirror / tddfa.BASIS).rename(own / tddfa.BASIS)
    moved = Files.find(mirror)
    assert moved.basis == Path("data/weights/3ddfa_v2.npz") and moved == files and repr(moved) == repr(files)
    np.savez(own / tddfa.BASIS, **(dome() | {"std": np.ones(62)}))
    assert Files.find(mirror) != files
    (own / tddfa.BASIS).unlink()
    with pytest.raises(UserError, match=r"data/weights/3ddfa_v2.npz: not found") as caught:
        Files.find(mirror)
    assert tddfa.CONVERSION in str(caught.value)


def test_published_digests_are_whole() -> None:
    assert list(tddfa.NETWORKS) == ["mb1_120x120.pth", "mb05_120x120.pth"]
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in tddfa.NETWORKS.values())


# --- photographs -----------------------------------------------------------------------------------------------


def fitted(face: Face) -> dict[str, np.ndarray]:
    """A dome whose landmarks are those of this face in its photograph."""
    points = alignment.apply(alignment.inverse(face.transform), face.landmarks)
    left, top, side = face_box(points)
    return dome((points - (left, top)) * (120 / side))


def test_depth_and_normals_are_the_models_and_the_rest_is_the_meshs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: np.ndarray, face: Face
) -> None:
    files = supply(tmp_path, monkeypatch, fitted(face))
    found = Reconstructor([128, 64], model=files)(photograph)
    assert isinstance(found, Face)
    for size in (128, 64):
        assert np.array_equal(found.masks[size], face.masks[size])
        assert np.array_equal(found.images[size], face.images[size])
    assert found.pose == face.pose and found.visible == face.visible
    assert found.reprojection is not None and found.reprojection < 0.01

    # The dome of the photograph, seen in the crop: eyes at depth 0, what was made of it by hand elsewhere.
    points = alignment.apply(alignment.inverse(face.transform), face.landmarks)
    left, top, side = face_box(points)
    grid = (np.stack(np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5), axis=-1)) / 128
    x, y = np.moveaxis(
        (alignment.apply(alignment.inverse(face.transform), grid) - (left, top)) * (120 / side) - 60, -1, 0
    )
    eyes = (points[36:48] - (left, top)) * (120 / side) - 60
    unit = side / 120 * alignment.scale_of(face.transform)  # a pixel of the network's picture, in crop sides
    truth = heights(x, y)
    stored = (found.depth[128].astype(float) - 1) / 254 * (DEPTH_NEAR - DEPTH_FAR) + DEPTH_FAR
    well = (truth > 8) & (np.hypot(x, y) > 3)
    expected = (truth - heights(*eyes.T).mean()) * unit
    assert np.abs(stored - expected.clip(DEPTH_FAR, DEPTH_NEAR))[well].max() < 0.01
    assert (found.normals[128][well] > 0).any() and not np.array_equal(found.normals[128], face.normals[128])

    only = Reconstructor([64], annotations=("depth",), model=files)(photograph)
    assert isinstance(only, Face) and not only.normals and not only.masks
    assert np.abs(only.depth[64].astype(int) - found.depth[64]).max() == 0


def test_a_surface_that_is_not_of_this_face_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: np.ndarray, face: Face
) -> None:
    hollow = fitted(face)
    hollow["mean"][10] *= -1  # far is near: a mirrored camera
    found = Reconstructor([64], annotations=("depth",), model=supply(tmp_path, monkeypatch, hollow))(photograph)
    assert isinstance(found, Rejected) and found.stage == "reconstruction"
    away = fitted(face)
    away["mean"][3] += 70
    found = Reconstructor([64], annotations=("depth",), model=supply(tmp_path, monkeypatch, away))(photograph)
    assert isinstance(found, Rejected) and "of the face, at least 40% required" in found.reason
    beside = fitted(face)
    beside["mean"][3] += 3
    found = Reconstructor([64], annotations=("depth",), model=supply(tmp_path, monkeypatch, beside))(photograph)
    assert isinstance(found, Face) and found.reprojection is not None
    # All landmarks are 3 pixels of the network's picture off.
    points = alignment.apply(alignment.inverse(face.transform), face.landmarks)
    eyes = np.linalg.norm(points[36] - points[45])
    assert found.reprojection == pytest.approx(3 * face_box(points)[2] / 120 / eyes, rel=0.02)


@pytest.fixture
def archive(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Four variants of a photograph: one for each split, and another to train on, of the other class."""
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = ["path,expression,identity,split"]
    for number, split in enumerate((*SPLITS, "train")):
        Image.fromarray((photograph * (0.7 + 0.1 * number)).astype(np.uint8)).save(raw / f"{number}.png")
        lines.append(f"{number}.png,{OPTIONS['classes'][number % 2]},person{number},{split}")
    (raw / "list.csv").write_text("\n".join(lines))
    return raw


OPTIONS: dict[str, Any] = {
    "classes": ["happiness", "neutral"],
    "sizes": [64],
    "csv": "list.csv",
    "reconstruction": "3ddfa_v2",
}


def run(archive: Path, **options: Any) -> FaceStore:
    root = archive.parent
    arguments: dict[str, Any] = {"seed": 0, "workers": 1, "mirror": root / "mirror", "work": root / "work"}
    prepare("folder", OPTIONS | options, archive, root / "store", progress=False, **arguments)
    return FaceStore(root / "store", 64)


def test_prepared_with_the_files_named_loaded_once_and_made_anew_for_others(
    archive: Path, monkeypatch: pytest.MonkeyPatch, face: Face
) -> None:
    monkeypatch.chdir(archive.parent)
    arrays = fitted(face)
    files = supply(archive.parent / "mirror", monkeypatch, arrays)
    monkeypatch.setattr("mimik.faces.prepared.prepare.SHARD_ROWS", 1)
    loads = []
    load = Basis.load.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(Basis, "load", classmethod(lambda cls, path: loads.append(path) or load(cls, path)))
    store = run(archive)
    assert len(store) == 4 and len(loads) == 1  # four shards, one process
    manifest = read_json(store.directory / "manifest.json")
    assert manifest["reconstruction"] == "3ddfa_v2" and manifest["reconstruction_files"] == files.record()
    assert manifest["depth_range"] == [DEPTH_FAR, DEPTH_NEAR] and manifest["masks"] == "mesh"
    assert (store.table["reprojection"].astype(float) < 0.05).all()
    told = "\n".join(describe(store))
    assert f"3ddfa_v2: network mb05_120x120.pth (sha256 {files.network_sha256}), basis 3ddfa_v2.npz" in told

    shallow = arrays | {"mean": arrays["mean"] * np.where(np.arange(62) == 10, 0.5, 1).astype(np.float32)}
    others = supply(archive.parent / "mirror", monkeypatch, shallow)
    assert store.depth is not None
    before = np.ptp(np.asarray(store.depth[0])[np.asarray(store.depth[0]) > 0].astype(int))
    again = run(archive)
    assert again.depth is not None and again.digest != manifest["digest"]
    after = np.ptp(np.asarray(again.depth[0])[np.asarray(again.depth[0]) > 0].astype(int))
    assert after < 0.7 * before
    assert read_json(again.directory / "manifest.json")["reconstruction_files"] == others.record()
    assert others.network_sha256 == files.network_sha256 and others.basis_sha256 != files.basis_sha256

    mesh = run(archive, reconstruction="mesh")
    assert read_json(mesh.directory / "manifest.json")["reconstruction_files"] is None


def test_what_is_missing_is_told_before_any_work(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive.parent)
    (archive.parent / "mirror").mkdir()
    with pytest.raises(UserError, match=r"mb1_120x120\.pth: not found"):
        run(archive)
    assert not (archive.parent / "work").exists()
    with pytest.raises(UserError, match=r"mb1_120x120\.pth: not found"):
        list(archives.inspect("mine", "folder", archive, OPTIONS, 0, archive.parent / "mirror"))
    supply(archive.parent / "mirror", monkeypatch, dome())
    lines = list(archives.inspect("mine", "folder", archive, OPTIONS, 0, archive.parent / "mirror"))
    assert any(line.startswith("  depth    3DDFA_V2 by ") and "mb05_120x120.pth" in line for line in lines)


def test_settings_that_cannot_be_met_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="depth has to be among the annotations"):
        run(archive, annotations=["normals", "masks"])
    with pytest.raises(UserError, match="rendered faces have their true depth"):
        prepare("synthetic", OPTIONS, tmp_path, tmp_path / "s", seed=0, workers=1, mirror=None, work=tmp_path / "w")
